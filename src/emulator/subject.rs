//! The identity of a workload outside of Google Cloud: where a credential file says that its
//! subject token is to be had, and which one STS takes.
//!
//! As with Azure's metadata service, a header that a tricked client would not send is required.

use std::{convert::Infallible, fmt, str::FromStr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::server::Machine;

/// The header that must come along, and its value.
pub(super) const HEADER: (&str, &str) = ("Metadata", "true");

/// What `/subject` gives out as long as nobody chose a token.
const ANY: &str = "a-subject-token-of-the-emulated-workload";

/// The one subject token that STS takes; its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectToken(String);

impl FromStr for SubjectToken {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SubjectToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[censored]")
    }
}

/// Gives the subject token out, and recognises it.
#[derive(Debug)]
pub(super) struct Workload(Option<SubjectToken>);

impl Workload {
    /// Without a token of their own, any will do.
    pub(super) fn new(token: Option<SubjectToken>) -> Self {
        Self(token)
    }

    /// Whether a text proves who the workload is.
    pub(super) fn is_proven_by(&self, text: &str) -> bool {
        self.0.as_ref().is_none_or(|token| token.0 == text)
    }

    fn token(&self) -> &str {
        self.0.as_ref().map_or(ANY, |token| &token.0)
    }
}

pub(super) fn routes() -> Router<Arc<Machine>> {
    Router::new()
        .route("/subject", get(text))
        .route("/subject.json", get(json))
}

async fn text(State(machine): State<Arc<Machine>>, headers: HeaderMap) -> Response {
    refusal(&headers).unwrap_or_else(|| machine.workload.token().to_owned().into_response())
}

async fn json(State(machine): State<Arc<Machine>>, headers: HeaderMap) -> Response {
    let token = || Json(json!({ "access_token": machine.workload.token() })).into_response();
    refusal(&headers).unwrap_or_else(token)
}

fn refusal(headers: &HeaderMap) -> Option<Response> {
    let (name, expected) = HEADER;
    let value = headers.get(name).map(|value| value.as_bytes());
    if value.is_some_and(|value| value.eq_ignore_ascii_case(expected.as_bytes())) {
        return None;
    }
    let body = json!({
        "error": "invalid_request",
        "error_description": "Required metadata header not specified",
    });
    Some((StatusCode::BAD_REQUEST, Json(body)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_form_hides_the_token() {
        let workload = Workload::new("hush".parse().ok());
        assert_eq!(format!("{workload:?}"), "Workload(Some([censored]))");
    }
}
