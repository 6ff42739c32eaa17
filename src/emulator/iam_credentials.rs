//! `…/serviceAccounts/{EMAIL}:generateIdToken` and `:generateAccessToken`, as
//! `https://iamcredentials.googleapis.com` has them: tokens of an account for those who may
//! impersonate it, through others (`delegates`) if need be.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
    routing::post,
};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    account::ServiceAccount,
    assertion::Assertion,
    endpoint::{ACCOUNTS, Endpoint},
    iam_error::IamError,
    metadata,
    oauth::are_scopes,
    policy::Principal,
    posted::Posted,
    server::{Call, Machine},
    tokens::{Authorization, IdTokenRequest},
};

/// In seconds; more takes a policy of the organization.
const LONGEST_LIFETIME: i64 = 3600;

pub(super) fn routes() -> Router<Arc<Machine>> {
    Router::new().route(&format!("{ACCOUNTS}{{method}}"), post(generate))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct IdTokenBody {
    audience: Option<String>,
    #[serde(default)]
    include_email: bool,
    #[serde(default)]
    use_email_azp: bool,
    delegates: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct AccessTokenBody {
    scope: Option<Vec<String>>,
    lifetime: Option<String>,
    delegates: Option<Vec<String>>,
}

async fn generate(
    State(machine): State<Arc<Machine>>,
    headers: HeaderMap,
    uri: Uri,
    call: Call,
) -> Response {
    // One route for both, as a path's parameter is a whole segment.
    let email = uri.path().strip_prefix(ACCOUNTS);
    let email = email
        .and_then(|rest| rest.rsplit_once(':'))
        .map(|(email, _)| email);
    let email = percent_decode_str(email.unwrap_or_default()).decode_utf8_lossy();
    let answer = match call.endpoint {
        Some(Endpoint::GenerateIdToken) => id_token(&machine, &headers, &email, &call),
        Some(Endpoint::GenerateAccessToken) => access_token(&machine, &headers, &email, &call),
        _ => return metadata::not_found(uri).await,
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

fn id_token(
    machine: &Machine,
    headers: &HeaderMap,
    email: &str,
    call: &Call,
) -> Result<Response, IamError> {
    let caller = caller(machine, headers)?;
    let body: IdTokenBody = body(&call.posted)?;
    let audience = body.audience.filter(|audience| !audience.is_empty());
    let audience = audience.ok_or_else(|| invalid("audience must be specified."))?;
    let delegates = body.delegates.unwrap_or_default();
    let permission = "iam.serviceAccounts.getOpenIdToken";
    let account = impersonated(machine, caller, &delegates, email, permission)?;
    let request = IdTokenRequest {
        account,
        audience: &audience,
        with_email: body.include_email,
        email_as_azp: body.use_email_azp,
    };
    let minted = machine
        .mint
        .id_token(&machine.key, &request, &call.token_change)?;
    Ok(Json(json!({ "token": minted.text })).into_response())
}

fn access_token(
    machine: &Machine,
    headers: &HeaderMap,
    email: &str,
    call: &Call,
) -> Result<Response, IamError> {
    let caller = caller(machine, headers)?;
    let body: AccessTokenBody = body(&call.posted)?;
    let scopes = body.scope.unwrap_or_default().join(" ");
    if !are_scopes(&scopes) {
        return Err(invalid("Invalid or missing scope."));
    }
    let lifetime = body.lifetime.as_deref().map(lifetime).transpose()?;
    let delegates = body.delegates.unwrap_or_default();
    let permission = "iam.serviceAccounts.getAccessToken";
    let account = impersonated(machine, caller, &delegates, email, permission)?;
    let authorization = Authorization::new(Principal::Account(account.clone()), &scopes);
    let minted = machine
        .mint
        .new_access_token(authorization, lifetime, &call.token_change)?;
    let end = UNIX_EPOCH + Duration::from_secs(minted.expires.try_into().unwrap_or_default());
    Ok(Json(json!({
        "accessToken": minted.text,
        "expireTime": humantime::format_rfc3339_seconds(end).to_string(),
    }))
    .into_response())
}

/// Who calls: whoever holds an access token of ours, or signs with a registered key.
fn caller(machine: &Machine, headers: &HeaderMap) -> Result<Principal, IamError> {
    let credential = headers
        .get(header::AUTHORIZATION)
        .ok_or(IamError::NoCredential)?;
    let bearer = credential
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, bearer)| bearer)
        .ok_or(IamError::BadCredential)?;
    let authorization = machine
        .mint
        .authorization(bearer)
        .or_else(|| self_signed(machine, bearer))
        .ok_or(IamError::BadCredential)?;
    if authorization.covers_iam() {
        Ok(authorization.principal)
    } else {
        Err(IamError::Scopes)
    }
}

/// A JWT with a scope that an account signed itself, as outside of the default universe.
fn self_signed(machine: &Machine, bearer: &str) -> Option<Authorization> {
    let assertion = Assertion::parse(bearer)?;
    let account = machine.accounts.known(assertion.text("iss")?)?;
    let holds = machine.account_keys.verify(account, &assertion)
        && assertion.is_about_issuer()
        && assertion.in_time(machine.clock.now());
    let scope = assertion.text("scope").unwrap_or_default();
    holds.then(|| Authorization::new(Principal::Account(account.clone()), scope))
}

/// The account to impersonate, if each one in the chain may act as the next.
fn impersonated<'a>(
    machine: &'a Machine,
    caller: Principal,
    delegates: &[String],
    email: &str,
    permission: &'static str,
) -> Result<&'a ServiceAccount, IamError> {
    let unknown = |email: &str| IamError::UnknownAccount(email.to_owned());
    let target = machine
        .accounts
        .known(email)
        .ok_or_else(|| unknown(email))?;
    let mut actor = caller;
    for name in delegates {
        let email = name
            .strip_prefix("projects/-/serviceAccounts/")
            .unwrap_or(name);
        let delegate = machine
            .accounts
            .known(email)
            .ok_or_else(|| unknown(email))?;
        if !machine.policy.allows(&actor, delegate) {
            return Err(IamError::Denied("iam.serviceAccounts.implicitDelegation"));
        }
        actor = Principal::Account(delegate.clone());
    }
    if machine.policy.allows(&actor, target) {
        Ok(target)
    } else {
        Err(IamError::Denied(permission))
    }
}

fn body<T: DeserializeOwned>(posted: &Posted) -> Result<T, IamError> {
    let Posted::Json(value) = posted else {
        return Err(invalid("Invalid JSON payload received."));
    };
    T::deserialize(value)
        .map_err(|error| IamError::Invalid(format!("Invalid JSON payload received. {error}")))
}

/// Whole seconds, as protocol buffers write them in JSON: `3600s`.
fn lifetime(text: &str) -> Result<i64, IamError> {
    let seconds = text
        .strip_suffix('s')
        .and_then(|number| number.parse().ok());
    seconds
        .filter(|seconds| (1..=LONGEST_LIFETIME).contains(seconds))
        .ok_or_else(|| invalid("lifetime must be from 1s to 3600s."))
}

fn invalid(message: &str) -> IamError {
    IamError::Invalid(message.to_owned())
}
