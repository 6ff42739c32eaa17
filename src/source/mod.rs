//! Where tokens come from: one module a credential kind.
//!
//! A source turns an audience into HTTP exchanges and their answers into a token. It sees no cache,
//! no waiter, no clock and no retry: those are the authenticator's, the same for every kind.

pub mod metadata;

use std::time::Duration;

use crate::audience::Audience;
use crate::config::Credentials;
use crate::error::{Code, FetchError};
use crate::http::{CalloutError, Request, Response};
use crate::time::Now;
use crate::token::Token;

/// A credential that can be turned into tokens.
#[derive(Debug)]
pub enum Source {
    /// The metadata server of Google Cloud, or one that behaves like it.
    Metadata(metadata::Metadata),
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// The metadata server's `identity`.
    Identity,
}

/// What an exchange needs next.
#[derive(Debug)]
pub enum Step {
    /// This request's answer.
    Call(Request, Leg),
    /// Nothing more.
    Done(Result<Granted, FetchError>),
}

/// A token, and what an operator should know of how it came.
#[derive(Debug)]
pub struct Granted {
    /// The token.
    pub token: Token,
    /// Something that works and may hurt one day.
    pub remark: Option<&'static str>,
}

/// What is known of the credential when a callout fails: early trouble is often only early.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Since the VM started.
    pub age: Duration,
    /// Whether the credential ever brought a token in this VM.
    pub has_succeeded: bool,
}

/// An unknown cluster may still arrive for this long: Envoy gets clusters and listeners from
/// different streams.
const CLUSTERS_MAY_COME: Duration = Duration::from_secs(30);

impl Source {
    /// Of the kind that the configuration names.
    pub fn new(credentials: &Credentials) -> Self {
        match credentials {
            Credentials::Metadata(credentials) => {
                Self::Metadata(metadata::Metadata::new(credentials))
            }
        }
    }

    /// Names the credential and where it is asked, for the key of stored tokens. One credential has
    /// one text, two have two; without line breaks inside a part, so that parts can't run together.
    pub fn identity(&self) -> String {
        match self {
            Self::Metadata(metadata) => metadata.identity(),
        }
    }

    /// The server, as a message to a person names it.
    pub fn server(&self) -> String {
        match self {
            Self::Metadata(metadata) => metadata.server(),
        }
    }

    /// The first step towards a token.
    pub fn begin(&self, audience: &Audience, timeout: Duration) -> Step {
        match self {
            Self::Metadata(metadata) => {
                Step::Call(metadata.request(audience, timeout), Leg::Identity)
            }
        }
    }

    /// The step after an answer.
    pub fn proceed(
        &self,
        leg: Leg,
        answer: Result<Response, CalloutError>,
        audience: &Audience,
        standing: Standing,
        now: Now,
    ) -> Step {
        let result = match (self, leg) {
            (Self::Metadata(metadata), Leg::Identity) => answer
                .map_err(|error| no_answer(error, &metadata.cluster, standing))
                .and_then(|response| metadata.token(&response, audience, standing)),
        };
        Step::Done(result.and_then(|granted| alive(granted, now)))
    }
}

/// A server can hand out dead tokens for a while: that is its trouble, not ours to send on.
fn alive(granted: Granted, now: Now) -> Result<Granted, FetchError> {
    let token = &granted.token;
    if token.is_usable(now.unix) {
        return Ok(granted);
    }
    let left = token.expires_at().since(now.unix).as_secs();
    Err(FetchError::transient(
        Code::ExpiredToken,
        format!("it gave a token with {left} s left; one is used until 30 s before its \"exp\""),
    ))
}

/// What a callout without an answer means.
fn no_answer(error: CalloutError, cluster: &str, standing: Standing) -> FetchError {
    match error {
        CalloutError::Timeout => {
            FetchError::transient(Code::CalloutTimeout, "no answer within callout_timeout")
        }
        CalloutError::Unreachable => {
            FetchError::transient(Code::CalloutUnreachable, "connection refused or reset")
        }
        CalloutError::Unavailable => FetchError::transient(
            Code::CalloutUnavailable,
            format!("cluster {cluster:?} has no healthy endpoint, or its circuit breaker is open"),
        ),
        CalloutError::UnknownCluster => {
            let reason = format!("there is no cluster {cluster:?}");
            if standing.age < CLUSTERS_MAY_COME {
                FetchError::transient(Code::UnknownCluster, reason)
            } else {
                FetchError::permanent(Code::UnknownCluster, reason)
            }
        }
        CalloutError::TooLarge => {
            FetchError::permanent(Code::MalformedAnswer, "an answer of more than 64 KiB")
        }
    }
}
