//! Answers that are not the wanted one.

use airboss_engine::Refusal;
use airboss_model::id::InvalidId;
use airboss_runtime::{HubError, SubmitError};
use airboss_store::StoreError;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::views::Problem;
use crate::blobs::BlobError;

/// A problem with the status that it is answered with.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    problem: Problem,
}

/// The result of a handler.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A problem without details.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            problem: Problem {
                code: code.to_owned(),
                message: message.into(),
                details: Vec::new(),
            },
        }
    }
    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
    /// 422.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }
    /// 429.
    pub fn too_many(what: &str) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            format!("too many {what} within a second; ask again in a second"),
        )
    }
    /// With further lines.
    #[must_use]
    pub fn details(mut self, details: Vec<String>) -> Self {
        self.problem.details = details;
        self
    }
    /// What the engine refused.
    pub fn refused(refusal: Refusal, message: String) -> Self {
        let code = match refusal {
            Refusal::Busy => "busy",
            Refusal::NotInProgress => "not_in_progress",
            Refusal::WrongPhase => "wrong_phase",
            Refusal::NothingToReturnTo => "nothing_to_return_to",
            Refusal::Evidence => "evidence",
        };
        Self::new(StatusCode::CONFLICT, code, message)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.problem)).into_response();
        let passes = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if passes.contains(&self.status) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The most of a refusal's text that is handed on.
const REFUSAL_MAX: usize = 4 << 10;

/// A refusal that the framework words as plain text, as a problem like all others.
pub async fn in_json(response: Response) -> Response {
    let status = response.status();
    let type_of_body = response.headers().get(header::CONTENT_TYPE);
    let is_json = type_of_body.is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
    if !status.is_client_error() || is_json {
        return response;
    }
    let (head, body) = response.into_parts();
    let text = axum::body::to_bytes(body, REFUSAL_MAX)
        .await
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let (code, message) = match status {
        StatusCode::METHOD_NOT_ALLOWED => (
            "invalid",
            "this address does not take that method; `/api/v1/openapi.json` lists what it takes"
                .to_owned(),
        ),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", text.into_owned()),
        _ => ("invalid", text.into_owned()),
    };
    let mut told = Failure::new(status, code, message).into_response();
    if let Some(allow) = head.headers.get(header::ALLOW) {
        told.headers_mut().insert(header::ALLOW, allow.clone());
    }
    told
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (status, code) = match &error {
            StoreError::VersionPinned { .. } => (StatusCode::CONFLICT, "version_pinned"),
            StoreError::Conflict { .. } => (StatusCode::CONFLICT, "invalid"),
            StoreError::DiskFull { .. } => (StatusCode::INSUFFICIENT_STORAGE, "unavailable"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!(%error, "the store did not do what a request needs");
        }
        Self::new(status, code, error.to_string())
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Store(error) => error.into(),
            undecided @ SubmitError::Undecided(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                undecided.to_string(),
            ),
        }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        let status = match error {
            HubError::OtherAgent { .. } => StatusCode::CONFLICT,
            HubError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            HubError::NoAnswer(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        Self::new(status, "unavailable", error.to_string())
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        let (status, code) = match &error {
            BlobError::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            BlobError::Broken { .. } | BlobError::Empty | BlobError::NotAccepted(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid")
            }
            full if full.is_disk_full() => {
                let message = format!("the disk is full: {full}");
                return Self::new(StatusCode::INSUFFICIENT_STORAGE, "unavailable", message);
            }
            BlobError::Io { .. } | BlobError::Place { .. } => {
                tracing::error!(%error, "an artifact's content cannot be kept or had");
                (StatusCode::INTERNAL_SERVER_ERROR, "unavailable")
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<InvalidId> for Failure {
    fn from(error: InvalidId) -> Self {
        Self::invalid(error.to_string())
    }
}
