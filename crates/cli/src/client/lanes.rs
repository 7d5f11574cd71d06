//! What is asked of one service in one environment beyond how it is: promises, traffic, past.

use airboss_server::api::report::ReportView;
use airboss_server::api::views::SloList;
use futures_util::Stream;
use tokio_util::bytes::Bytes;

use super::{ANSWER_TIMEOUT, Client, ClientError, segment};

impl Client {
    /// What a service's history says of its SLOs.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn slos(&self, service: &str, environment: &str) -> Result<SloList, ClientError> {
        let (service, environment) = (segment(service), segment(environment));
        self.json(self.get(&format!("/api/v1/lanes/{service}/{environment}/slos")))
            .await
    }

    /// How a service's releases went through their gates, and what they changed.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn report(
        &self,
        service: &str,
        environment: &str,
    ) -> Result<ReportView, ClientError> {
        let (service, environment) = (segment(service), segment(environment));
        self.json(self.get(&format!("/api/v1/lanes/{service}/{environment}/report")))
            .await
    }

    /// Rollouts of the past that are kept second by second, as a recording.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn past(
        &self,
        service: &str,
        environment: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<>, ClientError> {
        let (service, environment) = (segment(service), segment(environment));
        self.lines(&format!("/api/v1/lanes/{service}/{environment}/past"))
            .await
    }

    /// Live traffic as a recording, until the server ends it or the stream is dropped.
    ///
    /// # Errors
    /// As [`ClientError`].
    pub async fn record(
        &self,
        service: &str,
        environment: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<>, ClientError> {
        let (service, environment) = (segment(service), segment(environment));
        self.lines(&format!("/api/v1/lanes/{service}/{environment}/record"))
            .await
    }

    /// An answer as it comes in.
    async fn lines(
        &self,
        path: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<>, ClientError> {
        use futures_util::StreamExt as _;
        let request = self.authorised(self.http.get(self.at(path)));
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, request.send())
            .await
            .map_err(|_| self.slow())?
            .map_err(|error| self.failed(&error))?;
        let answer = self.checked(answer).await?;
        let client = self.clone();
        let parts = answer
            .bytes_stream()
            .map(move |part| part.map_err(|error| client.failed(&error)));
        Ok(Box::pin(parts))
    }
}
