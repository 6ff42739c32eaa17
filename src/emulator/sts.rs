//! `POST /v1/token`: what `https://sts.googleapis.com/v1/token` gives for another identity
//! provider's token (RFC 8693).

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::post};
use serde_json::json;

use super::{
    oauth::{OAuthError, are_scopes, tokens},
    parameters::Parameters,
    policy::Principal,
    posted::Posted,
    server::{Call, Machine},
    tokens::Authorization,
};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The types of subject tokens that Google takes.
const SUBJECT_TOKEN_TYPES: [&str; 6] = [
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
    ACCESS_TOKEN,
    "urn:ietf:params:oauth:token-type:saml2",
    "urn:ietf:params:oauth:token-type:mtls",
    "urn:ietf:params:aws:token-type:aws4_request",
];

pub(super) fn routes() -> Router<Arc<Machine>> {
    Router::new().route("/v1/token", post(exchange))
}

async fn exchange(State(machine): State<Arc<Machine>>, call: Call) -> Result<Response, OAuthError> {
    let Posted::Form(form) = call.posted.as_ref() else {
        return Err(OAuthError::no_form());
    };
    let scope = checked(&machine, form)?;
    let authorization = Authorization::new(Principal::Federated, scope);
    let minted = machine
        .mint
        .new_access_token(authorization, None, &call.token_change)?;
    Ok(tokens(json!({
        "access_token": minted.text,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": machine.mint.remaining(&minted),
    })))
}

/// The scope of a form in which all is right.
fn checked<'a>(machine: &Machine, form: &'a Parameters) -> Result<&'a str, OAuthError> {
    let field = |name: &str| form.value(name).ok_or_else(|| OAuthError::missing(name));
    let invalid = |name: &str, value: &str| {
        OAuthError::new(
            "invalid_request",
            format!("Invalid value for {name:?}: {value}"),
        )
    };
    let grant_type = field("grant_type")?;
    if grant_type != TOKEN_EXCHANGE {
        let message = format!("Unsupported grant_type: {grant_type}");
        return Err(OAuthError::new("unsupported_grant_type", message));
    }
    if !is_provider(field("audience")?) {
        let message = "The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.";
        return Err(OAuthError::new("invalid_target", message));
    }
    let requested = field("requested_token_type")?;
    if requested != ACCESS_TOKEN {
        return Err(invalid("requested_token_type", requested));
    }
    let subject_token_type = field("subject_token_type")?;
    if !SUBJECT_TOKEN_TYPES.contains(&subject_token_type) {
        return Err(invalid("subject_token_type", subject_token_type));
    }
    if !machine.workload.is_proven_by(field("subject_token")?) {
        let message = "The given credential is rejected by the identity provider's configuration.";
        return Err(OAuthError::new("invalid_grant", message));
    }
    let scope = field("scope")?;
    if !are_scopes(scope) {
        return Err(OAuthError::new(
            "invalid_scope",
            format!("Invalid scope: {scope}"),
        ));
    }
    Ok(scope)
}

/// Whether an audience is the full name of a provider in a pool, as an `external_account` file
/// has it.
fn is_provider(audience: &str) -> bool {
    let Some(name) = audience.strip_prefix("//iam.googleapis.com/") else {
        return false;
    };
    let segments: Vec<_> = name.split('/').collect();
    let location = match segments.as_slice() {
        ["projects", number, rest @ ..]
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            rest
        }
        rest => rest,
    };
    matches!(
        location,
        ["locations", location, "workloadIdentityPools" | "workforcePools", pool, "providers", provider]
            if !(location.is_empty() || pool.is_empty() || provider.is_empty())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_is_a_provider_of_a_pool() {
        let pool = "locations/global/workloadIdentityPools/p";
        for (audience, is_one) in [
            (
                format!("//iam.googleapis.com/projects/12/{pool}/providers/q"),
                true,
            ),
            (
                "//iam.googleapis.com/locations/global/workforcePools/p/providers/q".to_owned(),
                true,
            ),
            (
                format!("https://iam.googleapis.com/projects/12/{pool}/providers/q"),
                false,
            ),
            (
                format!("//iam.googleapis.com/projects/x/{pool}/providers/q"),
                false,
            ),
            (format!("//iam.googleapis.com/projects/12/{pool}"), false),
            (
                format!("//iam.googleapis.com/projects/12/{pool}/providers/"),
                false,
            ),
        ] {
            assert_eq!(is_provider(&audience), is_one, "{audience}");
        }
    }
}
