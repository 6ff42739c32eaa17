//! The metadata server's tokens, when they are real ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::metadata::error;
use crate::{
    audience::Audience,
    error::{Class, Denial},
    host::native::TokenBroker,
    wanted::{Scopes, Wanted},
};

const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// An ID token, with the account's email whatever `format` says.
pub(super) async fn identity(broker: &TokenBroker, audience: &str) -> Response {
    let audience = match Audience::custom(audience) {
        Ok(audience) => audience,
        Err(problem) => return error(StatusCode::BAD_REQUEST, &format!("audience {problem}")),
    };
    match broker.token(Wanted::from(audience)).await {
        Ok(token) => {
            let content_type = (header::CONTENT_TYPE, "text/html");
            ([content_type], token.secret.expose().to_owned()).into_response()
        }
        Err(denial) => denied(&denial),
    }
}

/// An access token; `scopes` are separated by commas.
pub(super) async fn access_token(broker: &TokenBroker, scopes: &str) -> Response {
    let scopes = match scopes {
        "" => CLOUD_PLATFORM,
        scopes => scopes,
    };
    let scopes = match Scopes::new(scopes.split(',')) {
        Ok(scopes) => scopes,
        Err(problem) => return error(StatusCode::BAD_REQUEST, &format!("scopes {problem}")),
    };
    match broker.token(Wanted::AccessToken(scopes)).await {
        Ok(token) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.unwrap_or(Duration::ZERO).as_secs();
            Json(json!({
                "access_token": token.secret.expose(),
                "expires_in": token.expires_at.as_secs().saturating_sub(now),
                "token_type": "Bearer",
            }))
            .into_response()
        }
        Err(denial) => denied(&denial),
    }
}

/// Clients ask again after a 503, and give up after a 403: as the denial means it.
fn denied(denial: &Denial) -> Response {
    let status = match denial.class {
        Class::Transient => StatusCode::SERVICE_UNAVAILABLE,
        Class::Permanent => StatusCode::FORBIDDEN,
    };
    error(status, &denial.message)
}
