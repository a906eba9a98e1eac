//! How the API says no: a status, what is wrong, and what would help.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::body::Malformed;
use crate::api::orders::Refusal;
use crate::respond::Refused;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorView {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub help: String,
}

/// Why a request was not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("there is nothing at {0}")]
    Path(String),
    #[error("this path takes another method")]
    Method,
    #[error("{0:?} is no address")]
    Address(String),
    #[error("{0}")]
    Query(String),
    #[error("the body is not what this path takes: {0}")]
    Body(String),
    #[error("the body has more than {0} bytes, or broke off")]
    TooLong(usize),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{0} may look, but not act")]
    NotPermitted(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("too many orders wait already")]
    Busy,
    #[error("the daemon is stopping")]
    Stopping,
    #[error("the control task did not answer in time")]
    NoAnswer,
    #[error("the answer could not be made")]
    Broken,
}

impl Failure {
    pub(super) fn no_such_path(path: &str) -> Self {
        Failure::Path(path.chars().take(64).collect())
    }

    fn status(&self) -> StatusCode {
        match self {
            Failure::Path(_) => StatusCode::NOT_FOUND,
            Failure::Method => StatusCode::METHOD_NOT_ALLOWED,
            Failure::Address(_) | Failure::Query(_) | Failure::Body(_) | Failure::Malformed(_) => {
                StatusCode::BAD_REQUEST
            }
            Failure::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::NotPermitted(_) => StatusCode::FORBIDDEN,
            Failure::Refused(refusal) => match refusal {
                Refusal::Refused(Refused::NotActedOn(_) | Refused::NotHeld(_))
                | Refusal::NobodyActedOn(_)
                | Refusal::NothingHeld
                | Refusal::NotAdded(_) => StatusCode::NOT_FOUND,
                Refusal::Refused(Refused::Exempt(..)) | Refusal::Reload(_) => StatusCode::CONFLICT,
                Refusal::Refused(Refused::Full) => StatusCode::INSUFFICIENT_STORAGE,
                Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Failure::Busy | Failure::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Failure::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
            Failure::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn help(&self) -> &'static str {
        match self {
            Failure::Path(_) => "the paths are in the manual; /v1/status is one",
            Failure::Method => "GET reads, POST acts",
            Failure::Address(_) => "give an IPv4 or IPv6 address, such as 10.1.2.3",
            Failure::Query(_) => "see the manual for what this path takes",
            Failure::Body(_) => "send one JSON object with the fields named in the manual",
            Failure::TooLong(_) => "name fewer, or shorten the reason",
            Failure::Malformed(malformed) => malformed.help(),
            Failure::NotPermitted(_) => {
                "only root and members of the group in observe.group (firedoor) may act: \
                 `usermod -aG firedoor NAME`, then log in anew"
            }
            Failure::Refused(refusal) => refusal.help(),
            Failure::Busy => "try again in a moment",
            Failure::Stopping => "`systemctl status firedoor` shows whether it comes back",
            Failure::NoAnswer => "it may still be carried out: look at `firedoor status` before trying again",
            Failure::Broken => "see the daemon's log",
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let view = ErrorView { error: self.to_string(), help: self.help().to_owned() };
        (self.status(), Json(view)).into_response()
    }
}
