//! Why there is no token, and what that means for a request.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whether trouble can end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It may pass: requests wait through retries, and are answered with 503 when their time is up.
    Transient,
    /// It needs a person: requests are answered with 500 at once.
    Permanent,
}

/// The stable name of a reason, for response code details, logs and the troubleshooting table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request's time was up while a fetch was still under way.
    Timeout,
    /// One callout got no answer in time.
    CalloutTimeout,
    /// The connection was refused or reset.
    CalloutUnreachable,
    /// No healthy endpoint, or an open circuit breaker.
    CalloutUnavailable,
    /// The callout's cluster does not exist.
    UnknownCluster,
    /// 408, 429 or 5xx.
    ServerError,
    /// 404: there is no such service account, or not yet.
    NotFound,
    /// Any other status.
    Refused,
    /// An answer that is no token for the audience.
    MalformedAnswer,
    /// A token past its usable end.
    ExpiredToken,
    /// More requests wait than `max_waiting_requests`, or tokens for as many derived audiences as are remembered are on their way.
    TooManyWaiting,
    /// Route or cluster metadata that holds no usable audience.
    InvalidAnnotation,
    /// The proxy would not change a header.
    RefusedHeader,
    /// The request would go over the network in the clear.
    InsecureUrl,
}

impl Code {
    /// As it appears to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::CalloutTimeout => "callout_timeout",
            Self::CalloutUnreachable => "callout_unreachable",
            Self::CalloutUnavailable => "callout_unavailable",
            Self::UnknownCluster => "unknown_cluster",
            Self::ServerError => "server_error",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::MalformedAnswer => "malformed_answer",
            Self::ExpiredToken => "expired_token",
            Self::TooManyWaiting => "too_many_waiting",
            Self::InvalidAnnotation => "invalid_annotation",
            Self::RefusedHeader => "refused_header",
            Self::InsecureUrl => "insecure_url",
        }
    }
}

/// A fetch that brought no token. The reason never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct FetchError {
    /// Whether it may pass.
    pub class: Class,
    /// Its stable name.
    pub code: Code,
    /// One sentence for a person, without the audience and the server.
    pub reason: String,
    /// What the server asked for.
    pub retry_after: Option<Duration>,
    /// Whether it was the access token that the server refused, and not what was asked for.
    pub is_bearer_refused: bool,
}

impl FetchError {
    /// Trouble that may pass.
    pub fn transient(code: Code, reason: impl Into<String>) -> Self {
        Self {
            class: Class::Transient,
            code,
            reason: reason.into(),
            retry_after: None,
            is_bearer_refused: false,
        }
    }

    /// Trouble that needs a person.
    pub fn permanent(code: Code, reason: impl Into<String>) -> Self {
        Self {
            class: Class::Permanent,
            code,
            reason: reason.into(),
            retry_after: None,
            is_bearer_refused: false,
        }
    }
}

impl FetchError {
    /// The same, with the leg of the exchange that failed.
    pub fn at(mut self, leg: &str) -> Self {
        self.reason = format!("{leg}: {}", self.reason);
        self
    }
}

/// The answer that a request gets in place of its upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Whether it may pass.
    pub class: Class,
    /// Its stable name.
    pub code: Code,
    /// Which audience, which server and why: one sentence, never a secret.
    pub message: String,
}

impl Denial {
    /// 503 for what may pass, else 500.
    pub const fn status(&self) -> u16 {
        match self.class {
            Class::Transient => 503,
            Class::Permanent => 500,
        }
    }

    /// The same for gRPC: 14 (UNAVAILABLE) or 16 (UNAUTHENTICATED), as gRPC A83 has it.
    pub const fn grpc_status(&self) -> u32 {
        match self.class {
            Class::Transient => 14,
            Class::Permanent => 16,
        }
    }

    /// Envoy's response code details.
    pub fn details(&self) -> String {
        format!("invoker_{}", self.code.as_str())
    }
}
