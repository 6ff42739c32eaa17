//! The metadata server's paths, with the answers and refusals of the real one.
//!
//! As there, a directory without its closing slash redirects, `?recursive=true` makes JSON of a
//! directory, single values are `application/text`, and an identity token is `text/html`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{
    account::{ServiceAccount, digits},
    query::Query,
    server::{Call, Machine},
    tokens::{IdTokenRequest, TokenError},
};

const FLAVOR: &str = "metadata-flavor";
const ROOT: &str = "/computeMetadata";
const HTML: (header::HeaderName, &str) = (header::CONTENT_TYPE, "text/html");

/// Scopes that a machine has unless its owner narrowed them.
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
];

pub(super) fn routes() -> Router<Arc<Machine>> {
    let files = Router::new()
        .route(
            &v1("/instance/service-accounts/{account}/aliases"),
            get(aliases),
        )
        .route(
            &v1("/instance/service-accounts/{account}/email"),
            get(email),
        )
        .route(
            &v1("/instance/service-accounts/{account}/identity"),
            get(identity),
        )
        .route(
            &v1("/instance/service-accounts/{account}/scopes"),
            get(scopes),
        )
        .route(
            &v1("/instance/service-accounts/{account}/token"),
            get(token),
        )
        .route(&v1("/project/numeric-project-id"), get(numeric_project_id))
        .route(&v1("/project/project-id"), get(project_id))
        .route(
            &v1("/universe/universe-domain"),
            get(|| async { text("googleapis.com") }),
        );
    let directories = Router::new()
        .route(
            &v1("/"),
            get(|| async { listing(&["instance/", "project/", "universe/"]) }),
        )
        .route(&v1("/instance/"), get(instance))
        .route(&v1("/instance/service-accounts/"), get(all_accounts))
        .route(
            &v1("/instance/service-accounts/{account}/"),
            get(one_account),
        )
        .route(
            &v1("/project/"),
            get(|| async { listing(&["numeric-project-id", "project-id"]) }),
        )
        .route(
            &v1("/universe/"),
            get(|| async { listing(&["universe-domain"]) }),
        )
        .route(&v1("/instance"), get(with_slash))
        .route(&v1("/instance/service-accounts"), get(with_slash))
        .route(&v1("/instance/service-accounts/{account}"), get(with_slash))
        .route(&v1("/project"), get(with_slash))
        .route(&v1("/universe"), get(with_slash));
    Router::new()
        .route("/", get(|| async { listing(&["computeMetadata/"]) }))
        .route(ROOT, get(with_slash))
        .route("/computeMetadata/", get(|| async { listing(&["v1/"]) }))
        .route("/computeMetadata/v1", get(with_slash))
        .merge(files)
        .merge(directories)
}

/// Whether the metadata server answers for this path, and so with its headers.
pub(super) fn owns(path: &str) -> bool {
    path == "/"
        || path
            .strip_prefix(ROOT)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What every call below `/computeMetadata` must fulfil: it comes from somebody who knows that
/// this is a metadata server (a browser or a tricked client does not send the header), and not
/// through a proxy.
pub(super) fn refusal(request: &Parts) -> Option<Response> {
    let path = request.uri.path();
    if path == "/" || !owns(path) {
        return None;
    }
    let flavor = request.headers.get(FLAVOR).map(HeaderValue::as_bytes);
    if request.headers.contains_key("x-forwarded-for") {
        Some(error(
            StatusCode::FORBIDDEN,
            "a request with X-Forwarded-For is refused",
        ))
    } else if flavor.is_none_or(|flavor| !flavor.eq_ignore_ascii_case(b"Google")) {
        Some(error(
            StatusCode::FORBIDDEN,
            "the header Metadata-Flavor: Google is missing",
        ))
    } else {
        None
    }
}

/// Adds what the real server writes into each answer.
pub(super) fn sign_headers(headers: &mut HeaderMap) {
    let google = HeaderValue::from_static("Google");
    headers.insert(FLAVOR, google);
    let server = HeaderValue::from_static("Metadata Server for VM");
    headers.insert(header::SERVER, server);
    headers.insert(header::X_XSS_PROTECTION, HeaderValue::from_static("0"));
    headers.insert(
        header::X_FRAME_OPTIONS,
        HeaderValue::from_static("SAMEORIGIN"),
    );
}

async fn identity(
    State(machine): State<Arc<Machine>>,
    Path(name): Path<String>,
    call: Call,
) -> Response {
    let Some(account) = machine.accounts.find(&name) else {
        return no_account(&name);
    };
    let Some(audience) = call.query.value("audience") else {
        return error(
            StatusCode::BAD_REQUEST,
            "non-empty audience parameter required",
        );
    };
    let with_email = call.query.value("format") == Some("full");
    let request = IdTokenRequest {
        account,
        audience,
        with_email,
    };
    match machine
        .mint
        .id_token(&machine.key, &request, &call.token_change)
    {
        Ok(token) => ([HTML], token.text).into_response(),
        Err(problem) => failed(&problem),
    }
}

async fn token(
    State(machine): State<Arc<Machine>>,
    Path(name): Path<String>,
    call: Call,
) -> Response {
    let Some(account) = machine.accounts.find(&name) else {
        return no_account(&name);
    };
    let scopes = call.query.value("scopes").unwrap_or_default();
    match machine
        .mint
        .access_token(account, scopes, &call.token_change)
    {
        Ok(token) => Json(json!({
            "access_token": token.text,
            "expires_in": token.remaining(),
            "token_type": "Bearer",
        }))
        .into_response(),
        Err(problem) => failed(&problem),
    }
}

async fn email(State(machine): State<Arc<Machine>>, Path(name): Path<String>) -> Response {
    match machine.accounts.find(&name) {
        Some(account) => text(account.email()),
        None => no_account(&name),
    }
}

async fn scopes(State(machine): State<Arc<Machine>>, Path(name): Path<String>) -> Response {
    match machine.accounts.find(&name) {
        Some(_) => listing(&SCOPES),
        None => no_account(&name),
    }
}

async fn aliases(State(machine): State<Arc<Machine>>, Path(name): Path<String>) -> Response {
    match machine.accounts.find(&name) {
        Some(account) => listing(machine.aliases(account)),
        None => no_account(&name),
    }
}

async fn one_account(
    State(machine): State<Arc<Machine>>,
    Path(name): Path<String>,
    call: Call,
) -> Response {
    match machine.accounts.find(&name) {
        None => no_account(&name),
        Some(account) if recursive(&call.query) => Json(machine.describe(account)).into_response(),
        Some(_) => listing(&["aliases", "email", "identity", "scopes", "token"]),
    }
}

async fn all_accounts(State(machine): State<Arc<Machine>>, call: Call) -> Response {
    if recursive(&call.query) {
        return Json(machine.describe_all()).into_response();
    }
    let emails = machine.accounts.all().map(ServiceAccount::email);
    let names: Vec<String> = std::iter::once("default")
        .chain(emails)
        .map(|name| format!("{name}/"))
        .collect();
    listing(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

async fn instance(State(machine): State<Arc<Machine>>, call: Call) -> Response {
    if recursive(&call.query) {
        return Json(json!({ "serviceAccounts": machine.describe_all() })).into_response();
    }
    listing(&["service-accounts/"])
}

async fn project_id(State(machine): State<Arc<Machine>>) -> Response {
    text(machine.accounts.default().project_id())
}

async fn numeric_project_id(State(machine): State<Arc<Machine>>) -> Response {
    let number = digits(machine.accounts.default().project_id()) % 10_u64.pow(12);
    text(&number.to_string())
}

async fn with_slash(uri: Uri) -> Response {
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let location = format!("{}/{query}", uri.path());
    (
        StatusCode::MOVED_PERMANENTLY,
        [(header::LOCATION, location)],
    )
        .into_response()
}

/// Any path that nothing answers for.
pub(super) async fn not_found(uri: Uri) -> Response {
    error(
        StatusCode::NOT_FOUND,
        &format!("nothing is at {}", uri.path()),
    )
}

impl Machine {
    fn aliases(&self, account: &ServiceAccount) -> &'static [&'static str] {
        if account == self.accounts.default() {
            &["default"]
        } else {
            &[]
        }
    }

    fn describe(&self, account: &ServiceAccount) -> Value {
        json!({ "aliases": self.aliases(account), "email": account.email(), "scopes": SCOPES })
    }

    fn describe_all(&self) -> Value {
        let by_email = self
            .accounts
            .all()
            .map(|account| (account.email(), account));
        let names = std::iter::once(("default", self.accounts.default())).chain(by_email);
        names
            .map(|(name, account)| (name.to_owned(), self.describe(account)))
            .collect()
    }
}

fn v1(path: &str) -> String {
    format!("/computeMetadata/v1{path}")
}

fn recursive(query: &Query) -> bool {
    query
        .value("recursive")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn text(value: &str) -> Response {
    (
        [(header::CONTENT_TYPE, "application/text")],
        value.to_owned(),
    )
        .into_response()
}

fn listing(lines: &[&str]) -> Response {
    text(
        &lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    )
}

fn no_account(name: &str) -> Response {
    error(
        StatusCode::NOT_FOUND,
        &format!(
            "this machine has no service account {name}; invoker emulate --service-account adds one"
        ),
    )
}

fn failed(problem: &TokenError) -> Response {
    error(StatusCode::INTERNAL_SERVER_ERROR, &problem.to_string())
}

/// A refusal, as `text/html` as the real server's; the words are for whoever reads the log.
fn error(status: StatusCode, message: &str) -> Response {
    let content_type = (header::CONTENT_TYPE, "text/html; charset=UTF-8");
    let escaped = message.replace('&', "&amp;").replace('<', "&lt;");
    (status, [content_type], format!("{escaped}\n")).into_response()
}
