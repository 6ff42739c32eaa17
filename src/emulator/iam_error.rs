//! Refusals of Google's REST APIs: `{"error": {"code", "message", "status"}}`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::tokens::TokenError;

/// Why IAM refuses a call.
#[derive(Debug, thiserror::Error)]
pub(super) enum IamError {
    /// No bearer at all.
    #[error(
        "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )]
    NoCredential,
    /// A bearer that nobody issued, or that is over.
    #[error(
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )]
    BadCredential,
    /// A bearer that is good for other things.
    #[error("Request had insufficient authentication scopes.")]
    Scopes,
    /// The caller, or one in the chain of delegates, lacks the role on the next account.
    #[error("Permission '{0}' denied on resource (or it may not exist).")]
    Denied(&'static str),
    #[error("Not found; Gaia id not found for email {0}")]
    UnknownAccount(String),
    /// What is asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A failure of the emulator itself.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl IamError {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoCredential | Self::BadCredential => {
                (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED")
            }
            Self::Scopes | Self::Denied(_) => (StatusCode::FORBIDDEN, "PERMISSION_DENIED"),
            Self::UnknownAccount(_) => (StatusCode::NOT_FOUND, "NOT_FOUND"),
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
            Self::Token(_) => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        }
    }
}

impl IntoResponse for IamError {
    fn into_response(self) -> Response {
        let (code, status) = self.status();
        let error = json!({ "code": code.as_u16(), "message": self.to_string(), "status": status });
        let mut response = (code, Json(json!({ "error": error }))).into_response();
        if code == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"https://accounts.google.com/\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
