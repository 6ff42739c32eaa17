//! `POST /token`: what `https://oauth2.googleapis.com/token` gives for a service account's signed
//! assertion, or for a person's refresh token.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::post,
};
use serde_json::json;

use super::{
    account::ServiceAccount,
    assertion::Assertion,
    oauth::{OAuthError, are_scopes, tokens},
    parameters::Parameters,
    policy::Principal,
    posted::Posted,
    server::{Call, Machine},
    tokens::{Authorization, CLOUD_PLATFORM, IdTokenRequest},
};

/// What real key files name as their token endpoint.
const GOOGLE: &str = "https://oauth2.googleapis.com/token";

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

const TIMES: &str = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.";

pub(super) fn routes() -> Router<Arc<Machine>> {
    Router::new().route("/token", post(token))
}

async fn token(
    State(machine): State<Arc<Machine>>,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, OAuthError> {
    let Posted::Form(form) = call.posted.as_ref() else {
        return Err(OAuthError::no_form());
    };
    match form.value("grant_type") {
        Some(JWT_BEARER) => for_assertion(&machine, &headers, form, &call),
        Some("refresh_token") => for_refresh_token(&machine, form, &call),
        Some(other) => Err(OAuthError::new(
            "unsupported_grant_type",
            format!("Invalid grant_type: {other}"),
        )),
        None => Err(OAuthError::missing("grant_type")),
    }
}

fn for_assertion(
    machine: &Machine,
    headers: &HeaderMap,
    form: &Parameters,
    call: &Call,
) -> Result<Response, OAuthError> {
    let text = form
        .value("assertion")
        .ok_or_else(|| OAuthError::missing("assertion"))?;
    let assertion =
        Assertion::parse(text).ok_or_else(|| invalid_grant("Invalid JWT: it cannot be read."))?;
    let account = signer(machine, &assertion)?;
    if !is_for_us(machine, headers, assertion.text("aud")) {
        return Err(invalid_grant("Invalid JWT: Failed audience check."));
    }
    let target_audience = assertion.text("target_audience");
    let scope = assertion.text("scope").filter(|scope| are_scopes(scope));
    // Node's client sends its default scopes along with the audience, and gets an ID token.
    match (
        target_audience.filter(|audience| !audience.is_empty()),
        scope,
    ) {
        (Some(audience), _) => {
            let request = IdTokenRequest {
                account: &account,
                audience,
                with_email: true,
                email_as_azp: true,
            };
            let minted = machine
                .mint
                .id_token(&machine.key, &request, &call.token_change)?;
            Ok(tokens(json!({ "id_token": minted.text })))
        }
        (None, Some(scope)) => bearer(machine, &Principal::Account(account), scope, call),
        (None, None) => Err(OAuthError::new(
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.",
        )),
    }
}

/// The account that made an assertion.
fn signer(machine: &Machine, assertion: &Assertion<'_>) -> Result<ServiceAccount, OAuthError> {
    let account = assertion
        .text("iss")
        .and_then(|email| machine.accounts.known(email))
        .ok_or_else(|| invalid_grant("Invalid grant: account not found"))?;
    if !machine.account_keys.verify(account, assertion) {
        return Err(invalid_grant("Invalid JWT Signature."));
    }
    if !assertion.is_about_issuer() {
        // Somebody else's tokens take domain-wide delegation.
        let message = "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.";
        let error = OAuthError::new("unauthorized_client", message);
        return Err(error.with_status(StatusCode::UNAUTHORIZED));
    }
    if !assertion.in_time(machine.clock.now()) {
        return Err(invalid_grant(TIMES));
    }
    Ok(account.clone())
}

/// Whether an assertion was made for this endpoint: under the address it listens on, the name it
/// was called by, or Google's.
fn is_for_us(machine: &Machine, headers: &HeaderMap, audience: Option<&str>) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let known = [
        Some(GOOGLE.to_owned()),
        Some(machine.url("/token")),
        host.map(|host| format!("http://{host}/token")),
        // Behind somebody who ends TLS.
        host.map(|host| format!("https://{host}/token")),
    ];
    audience.is_some_and(|audience| known.iter().flatten().any(|url| url == audience))
}

fn for_refresh_token(
    machine: &Machine,
    form: &Parameters,
    call: &Call,
) -> Result<Response, OAuthError> {
    let refresh_token = form
        .value("refresh_token")
        .ok_or_else(|| OAuthError::missing("refresh_token"))?;
    if !machine.user.is_client(form) {
        let error = OAuthError::new("invalid_client", "The OAuth client was not found.");
        return Err(error.with_status(StatusCode::UNAUTHORIZED));
    }
    if refresh_token != machine.user.refresh_token {
        return Err(invalid_grant("Bad Request"));
    }
    let scope = form.value("scope").unwrap_or(CLOUD_PLATFORM);
    if !are_scopes(scope) {
        return Err(OAuthError::new("invalid_scope", "Bad Request"));
    }
    bearer(machine, &Principal::User, scope, call)
}

fn bearer(
    machine: &Machine,
    principal: &Principal,
    scope: &str,
    call: &Call,
) -> Result<Response, OAuthError> {
    let authorization = Authorization::new(principal.clone(), scope);
    let minted = machine
        .mint
        .new_access_token(authorization, None, &call.token_change)?;
    Ok(tokens(json!({
        "access_token": minted.text,
        "expires_in": machine.mint.remaining(&minted),
        "scope": scope,
        "token_type": "Bearer",
    })))
}

fn invalid_grant(description: &str) -> OAuthError {
    OAuthError::new("invalid_grant", description)
}
