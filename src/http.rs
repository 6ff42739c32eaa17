//! Plain values for the HTTP exchanges that the core asks its host to make.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::url::{Scheme, Url};

/// Answers above this many bytes are an error: a token is at most 8 KiB.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// A request for the host to send.
///
/// `Debug` shows neither header values nor the body: both can hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Where the host sends it: an Envoy cluster, or empty where the authority is the address.
    pub cluster: String,
    /// What the authority is asked by, where it is the address.
    pub scheme: Scheme,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Host and port, without a scheme.
    pub authority: String,
    /// Path and query, percent-encoded.
    pub path: String,
    /// Lower-case names with their values.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// Empty for `GET`.
    pub body: Vec<u8>,
    /// How long the host waits for the whole answer.
    pub timeout: Duration,
}

/// The content type of a form.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The content type of JSON.
pub const JSON: &str = "application/json";

impl Request {
    /// A `GET` of that URL.
    pub fn get(cluster: &str, url: &Url, timeout: Duration) -> Self {
        Self {
            cluster: cluster.to_owned(),
            scheme: url.scheme(),
            method: "GET",
            authority: url.authority().to_owned(),
            path: url.path(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout,
        }
    }

    /// A `POST` to that URL, still without a body.
    pub fn post(cluster: &str, url: &Url, timeout: Duration) -> Self {
        Self {
            method: "POST",
            ..Self::get(cluster, url, timeout)
        }
    }

    /// With one more header; its name is in lower case.
    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: &str) -> Self {
        self.headers.push((name.into(), value.to_owned()));
        self
    }

    /// With a body.
    pub fn with_body(mut self, content_type: &str, body: String) -> Self {
        self.body = body.into_bytes();
        self.with_header("content-type", content_type)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("cluster", &self.cluster)
            .field("method", &self.method)
            .field("authority", &self.authority)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// A whole answer. `Debug` shows no body: it can be a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names (any case) with their values.
    pub headers: Vec<(String, String)>,
    /// At most [`MAX_RESPONSE_BYTES`].
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalloutError {
    /// A file that is not there, or that this process may not read.
    Unreadable,
    /// The program around the host was asked, and gave nothing.
    NotGiven,
    /// No whole answer within the request's timeout.
    Timeout,
    /// The connection was refused or reset.
    Unreachable,
    /// The host would not send it: no healthy endpoint, or an open circuit breaker.
    Unavailable,
    /// The host has no such cluster.
    UnknownCluster,
    /// The answer is larger than [`MAX_RESPONSE_BYTES`].
    TooLarge,
}
