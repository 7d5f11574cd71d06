//! What is known of artifacts and releases: kept, told and asked.

use std::path::Path;

use airboss_model::evidence::Requirement;
use airboss_server::api::artifacts::{ArtifactDetail, ArtifactList, ArtifactView, RetentionReport};
use airboss_server::api::evidence::{
    AttestationList, AttestationQuery, ReleaseList, ReleaseNeeds, ReleaseQuery, ReleaseRequest,
    ReleaseView,
};
use airboss_server::api::requests::{ArtifactQuery, OriginRequest, RetentionRequest, TagRequest};
use reqwest::header;
use tokio_util::bytes::Bytes;
use tokio_util::io::ReaderStream;

use super::{ANSWER_TIMEOUT, Client, ClientError, RETENTION_TIMEOUT, segment};

impl Client {
    /// Registers a version.
    ///
    /// # Errors
    /// As [`ClientError`]; code `version_pinned` where it stands for other content.
    pub async fn register(&self, request: &ReleaseRequest) -> Result<ReleaseView, ClientError> {
        self.json(self.post("/api/v1/releases").json(request)).await
    }

    /// A release with everything that is known of it.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where there is none.
    pub async fn release(&self, id: &str) -> Result<ReleaseView, ClientError> {
        self.release_for(id, None).await
    }

    /// As [`Self::release`], with how it stands to these requirements instead of those of the
    /// manifest that the server has.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where there is none.
    pub async fn release_for(
        &self,
        id: &str,
        require: Option<&Vec<Requirement>>,
    ) -> Result<ReleaseView, ClientError> {
        let query = ReleaseNeeds {
            require: require.and_then(|it| serde_json::to_string(it).ok()),
        };
        let path = format!("/api/v1/releases/{}", segment(id));
        self.json(self.get(&path).query(&query)).await
    }

    /// Releases, newest first.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn releases(&self, query: &ReleaseQuery) -> Result<ReleaseList, ClientError> {
        self.json(self.get("/api/v1/releases").query(query)).await
    }

    /// Hands documents about an artifact in.
    ///
    /// # Errors
    /// As [`ClientError`]; code `invalid` where they cannot be taken.
    pub async fn attest(
        &self,
        digest: &str,
        query: &AttestationQuery,
        bytes: Vec<u8>,
    ) -> Result<AttestationList, ClientError> {
        let path = format!("/api/v1/artifacts/{}/attestations", segment(digest));
        self.json(self.post(&path).query(query).body(bytes)).await
    }

    /// One artifact, by its whole digest.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where it is not kept.
    pub async fn artifact(&self, digest: &str) -> Result<ArtifactDetail, ClientError> {
        let path = format!("/api/v1/artifacts/{}", segment(digest));
        self.json(self.get(&path)).await
    }

    /// The documents about an artifact.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn attestations(&self, digest: &str) -> Result<AttestationList, ClientError> {
        let path = format!("/api/v1/artifacts/{}/attestations", segment(digest));
        self.json(self.get(&path)).await
    }

    /// A document about an artifact as it was received, or the envelope that Airboss signed.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where there is none.
    pub async fn document(
        &self,
        digest: &str,
        id: &str,
        envelope: bool,
    ) -> Result<Bytes, ClientError> {
        let (digest, id) = (segment(digest), segment(id));
        let path = format!("/api/v1/artifacts/{digest}/attestations/{id}");
        self.bytes(self.get(&path).query(&[("envelope", envelope)]))
            .await
    }

    /// Sends an archive of `size` bytes; `sent` is told the bytes gone so far. The server knows it
    /// by its content, so sending it twice keeps it once.
    ///
    /// # Errors
    /// As [`ClientError`]; code `too_large` above the server's limit.
    pub async fn upload(
        &self,
        archive: &Path,
        size: u64,
        source: &str,
        sent: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<ArtifactView, ClientError> {
        use futures_util::StreamExt as _;
        let file = tokio::fs::File::open(archive)
            .await
            .map_err(|error| ClientError::Setup {
                why: format!("cannot read {}: {error}", archive.display()),
            })?;
        let mut gone = 0;
        let body = ReaderStream::with_capacity(file, 128 << 10).inspect(move |part| {
            gone += part.as_ref().map_or(0, |bytes| bytes.len() as u64);
            sent(gone);
        });
        let request = self
            .authorised(self.http.post(self.at("/api/v1/artifacts")))
            .query(&[("source", source)])
            .header(header::CONTENT_TYPE, "application/x-tar")
            .header(header::CONTENT_LENGTH, size)
            .body(reqwest::Body::wrap_stream(body));
        self.json(request).await
    }

    /// Artifacts, those kept last first.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn artifacts(&self, query: &ArtifactQuery) -> Result<ArtifactList, ClientError> {
        self.json(self.get("/api/v1/artifacts").query(query)).await
    }

    /// Notes where an artifact was taken from.
    ///
    /// # Errors
    /// As [`ClientError`]; code `not_found` where its content is not kept.
    pub async fn put_origin(
        &self,
        digest: &str,
        origin: &OriginRequest,
    ) -> Result<ArtifactDetail, ClientError> {
        let path = format!("/api/v1/artifacts/{}/origins", segment(digest));
        let request = self.authorised(self.http.put(self.at(&path)));
        self.json(request.timeout(ANSWER_TIMEOUT).json(origin))
            .await
    }

    /// Notes what a registry's tag points to.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn put_tag(&self, tag: &TagRequest) -> Result<(), ClientError> {
        self.bytes(self.post("/api/v1/tags").json(tag)).await?;
        Ok(())
    }

    /// Removes what retention does not keep, or says what that would be.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn retain(&self, request: &RetentionRequest) -> Result<RetentionReport, ClientError> {
        let send = self.authorised(self.http.post(self.at("/api/v1/retention")));
        self.json(send.timeout(RETENTION_TIMEOUT).json(request))
            .await
    }
}
