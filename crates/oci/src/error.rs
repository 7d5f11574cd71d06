//! Why something of a registry cannot be shipped.

use airboss_targets::process::artifact::ArtifactError;
use oci_client::errors::{OciDistributionError, OciErrorCode};

/// Why something of a registry cannot be shipped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// The text is no reference.
    #[error(
        "`{text}` is no reference to an image: {why}\n  \
         write oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:DIGEST"
    )]
    Reference {
        /// What was written.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The registry does not answer.
    #[error("cannot reach the registry {registry}: {why}")]
    Unreachable {
        /// Its host.
        registry: String,
        /// What was noticed, and what to do.
        why: String,
    },
    /// The registry does not let this person in.
    #[error(
        "the registry {registry} refuses access to {repository} {as_whom}\n  \
         log in with `docker login {registry}` (or skopeo, podman), or name a secret that holds \
         user:password with --registry-auth env:NAME or file:PATH"
    )]
    Unauthorized {
        /// Its host.
        registry: String,
        /// What was asked for.
        repository: String,
        /// Which credentials were shown.
        as_whom: String,
    },
    /// There is no such repository, tag or digest.
    #[error("{reference} does not exist in the registry{hint}")]
    NotFound {
        /// What was asked for.
        reference: String,
        /// What there is.
        hint: String,
    },
    /// Credentials could not be read.
    #[error("cannot read the credentials for {registry}: {why}")]
    Credentials {
        /// Its host.
        registry: String,
        /// What went wrong, without a secret.
        why: String,
    },
    /// The image is not made for the platform.
    #[error(
        "{reference} is not made for {wanted}; it is made for {offered}\n  \
         choose one of them with --platform, or build the image for {wanted}"
    )]
    Platform {
        /// What was asked for.
        reference: String,
        /// The platform that is wanted.
        wanted: String,
        /// Those that there are.
        offered: String,
    },
    /// The registry handed out other bytes than those that the digest names.
    #[error(
        "what the registry holds is not what was pinned: {what} should have {expected}, has {found}; \
         nothing was shipped"
    )]
    Mismatch {
        /// Which part.
        what: String,
        /// The digest, or the size, that names it.
        expected: String,
        /// What arrived.
        found: String,
    },
    /// It holds something that is not accepted.
    #[error("{reference} is refused: {why}")]
    Refused {
        /// What was asked for.
        reference: String,
        /// The rule that it breaks.
        why: String,
    },
    /// A part of it is an archive that is not accepted, or the disk refused.
    #[error("{what}: {source}")]
    Archive {
        /// Which part.
        what: String,
        /// Why.
        source: Box<ArtifactError>,
    },
    /// The registry answered with an error.
    #[error("the registry {registry} answered with an error: {why}")]
    Registry {
        /// Its host.
        registry: String,
        /// What it said.
        why: String,
    },
    /// The disk refused.
    #[error("cannot write {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What an error of the client library means to a person.
pub(crate) enum Meaning {
    NotFound,
    Unauthorized,
    Unreachable(String),
    Mismatch { expected: String, found: String },
    Other(String),
}

pub(crate) fn meaning(error: &OciDistributionError) -> Meaning {
    use OciDistributionError as E;
    match error {
        E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => Meaning::Unauthorized,
        E::ImageManifestNotFoundError(_) | E::ServerError { code: 404, .. } => Meaning::NotFound,
        E::ServerError {
            code: 401 | 403, ..
        } => Meaning::Unauthorized,
        E::ServerError { code, message, .. } => {
            let said: String = message.chars().take(200).collect();
            Meaning::Other(format!("status {code} {}", said.trim()))
        }
        E::RegistryError { envelope, .. } => {
            let has = |wanted: &[OciErrorCode]| {
                envelope
                    .errors
                    .iter()
                    .any(|error| wanted.contains(&error.code))
            };
            if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                Meaning::Unauthorized
            } else if has(&[
                OciErrorCode::ManifestUnknown,
                OciErrorCode::NameUnknown,
                OciErrorCode::NotFound,
                OciErrorCode::BlobUnknown,
            ]) {
                Meaning::NotFound
            } else {
                Meaning::Other(envelope.to_string())
            }
        }
        E::DigestError(oci_client::errors::DigestError::VerificationError { expected, actual }) => {
            Meaning::Mismatch {
                expected: expected.clone(),
                found: actual.clone(),
            }
        }
        E::RequestError(error) => Meaning::Unreachable(innermost(error)),
        other => Meaning::Other(other.to_string()),
    }
}

/// The cause at the bottom: `connection refused` rather than that a request was not sent.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
