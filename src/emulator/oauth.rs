//! Answers of Google's OAuth endpoints (RFC 6749, sections 5.1 and 5.2).

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::tokens::TokenError;

/// A refusal, by the code that clients decide by and a text for people.
#[derive(Debug)]
pub(super) struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: String,
}

impl OAuthError {
    /// A refusal with status 400, as nearly all of Google's have.
    pub(super) fn new(code: &'static str, description: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            description: description.into(),
        }
    }

    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// A parameter that must be there and is not.
    pub(super) fn missing(parameter: &str) -> Self {
        Self::new(
            "invalid_request",
            format!("Missing required parameter: {parameter}"),
        )
    }

    /// What was posted is no form.
    pub(super) fn no_form() -> Self {
        Self::new(
            "invalid_request",
            "The request's body is no application/x-www-form-urlencoded form.",
        )
    }
}

impl From<TokenError> for OAuthError {
    fn from(problem: TokenError) -> Self {
        Self::new("server_error", problem.to_string())
            .with_status(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.code, "error_description": self.description });
        (self.status, Json(body)).into_response()
    }
}

/// An answer with tokens, which nobody on the way may keep.
pub(super) fn tokens(body: Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Whether a text names one scope or more, separated by spaces.
pub(super) fn are_scopes(text: &str) -> bool {
    let known = |scope: &str| {
        ["openid", "email", "profile"].contains(&scope)
            || scope.starts_with("https://www.googleapis.com/auth/")
    };
    !text.trim().is_empty() && text.split_whitespace().all(known)
}
