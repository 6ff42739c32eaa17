//! The metadata server: one GET, and the body is the token.
//!
//! Wire format: "Fetching identity and access tokens" in Google Cloud's documentation, and what its
//! own client libraries do.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Standing;
use crate::audience::Audience;
use crate::config::MetadataCredentials;
use crate::error::{Code, FetchError};
use crate::http::{Request, Response};
use crate::token::Token;

/// The name by which every client knows the server; it refuses requests for other hosts.
pub const AUTHORITY: &str = "metadata.google.internal";

/// A new GKE Pod's server answers 404 for some seconds: 132 of 485 Pods met it in
/// googleapis/google-cloud-go#14349.
const WARMING_UP: Duration = Duration::from_secs(60);

/// RFC 3986's unreserved characters stay; the rest of an audience is data, `&` and `#` included.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What marks an answer as the server's own, and a request as not one that a browser was led to make.
const FLAVOR: &str = "metadata-flavor";

/// The credential of the machine that the proxy runs on.
#[derive(Debug)]
pub struct Metadata {
    pub(super) cluster: String,
    service_account: String,
}

impl Metadata {
    pub(super) fn new(credentials: &MetadataCredentials) -> Self {
        Self {
            cluster: credentials.cluster.clone().unwrap_or_default(),
            service_account: credentials.service_account.clone(),
        }
    }

    pub(super) fn identity(&self) -> String {
        format!("metadata\n{}\n{}", self.cluster, self.service_account)
    }

    pub(super) fn server(&self) -> String {
        if self.cluster.is_empty() {
            format!("the metadata server ({AUTHORITY})")
        } else {
            format!("the metadata server (cluster {:?})", self.cluster)
        }
    }

    /// `format=full` adds `email`, without which policies on the caller's name fail.
    pub(super) fn request(&self, audience: &Audience, timeout: Duration) -> Request {
        let audience = utf8_percent_encode(audience.as_str(), QUERY_VALUE);
        let account = &self.service_account;
        Request {
            cluster: self.cluster.clone(),
            method: "GET",
            authority: AUTHORITY.to_owned(),
            path: format!(
                "/computeMetadata/v1/instance/service-accounts/{account}/identity?audience={audience}&format=full"
            ),
            headers: vec![(FLAVOR, "Google".to_owned())],
            body: Vec::new(),
            timeout,
        }
    }

    pub(super) fn token(
        &self,
        response: &Response,
        audience: &Audience,
        standing: Standing,
    ) -> Result<Token, FetchError> {
        if response.status != 200 {
            return Err(self.refusal(response, standing));
        }
        // GKE has left the flavour out of good answers (googleapis/gcp-metadata#215): a valid token
        // for this audience speaks for itself. Some servers end it with a line break.
        let body = std::str::from_utf8(&response.body)
            .unwrap_or_default()
            .trim_ascii_end();
        let problem = if body.is_empty() {
            "an empty answer".to_owned()
        } else {
            match Token::id_token(body, audience) {
                Ok(token) => return Ok(token),
                Err(error) => error.to_string(),
            }
        };
        let whose = if is_google(response) {
            ""
        } else {
            " (and no Metadata-Flavor: is this the metadata server?)"
        };
        Err(FetchError::permanent(
            Code::MalformedAnswer,
            format!("{problem}{whose}"),
        ))
    }

    /// What a status other than 200 means.
    fn refusal(&self, response: &Response, standing: Standing) -> FetchError {
        let status = response.status;
        match status {
            // Envoy itself answers so when a callout times out or can't connect.
            504 if !is_google(response) => {
                FetchError::transient(Code::CalloutTimeout, "no answer within callout_timeout")
            }
            503 if !is_google(response) => {
                FetchError::transient(Code::CalloutUnreachable, "connection refused or reset")
            }
            408 | 429 | 500.. => FetchError {
                retry_after: retry_after(response),
                ..FetchError::transient(Code::ServerError, format!("status {status}"))
            },
            404 => {
                let reason = format!(
                    "status 404: no service account {:?} here (on GKE: the Kubernetes service account has no IAM binding)",
                    self.service_account
                );
                if !standing.has_succeeded && standing.age < WARMING_UP {
                    FetchError::transient(Code::NotFound, reason)
                } else {
                    FetchError::permanent(Code::NotFound, reason)
                }
            }
            _ => FetchError::permanent(Code::Refused, format!("status {status}")),
        }
    }
}

fn is_google(response: &Response) -> bool {
    response.header(FLAVOR) == Some("Google")
}

/// Seconds only; the other form, a date, needs a clock that agrees with the server's.
fn retry_after(response: &Response) -> Option<Duration> {
    response
        .header("retry-after")?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}
