//! The metadata server's paths, with the answers and refusals of the real one.
//!
//! As there, a directory without its closing slash redirects, `?recursive=true` makes JSON of a
//! directory, single values are `application/text`, and an identity token is `text/html`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::{
    account::digits,
    parameters::Parameters,
    server::{Call, Machine},
    service_accounts,
};

const FLAVOR: &str = "metadata-flavor";
const ROOT: &str = "/computeMetadata";

pub(super) fn routes() -> Router<Arc<Machine>> {
    Router::new()
        .route("/", get(|| async { listing(["computeMetadata/"]) }))
        .route(ROOT, get(with_slash))
        .route("/computeMetadata/", get(|| async { listing(["v1/"]) }))
        .route(&v1(""), get(with_slash))
        .route(
            &v1("/"),
            get(|| async { listing(["instance/", "project/", "universe/"]) }),
        )
        .route(&v1("/instance"), get(with_slash))
        .route(&v1("/instance/"), get(instance))
        .route(&v1("/project"), get(with_slash))
        .route(
            &v1("/project/"),
            get(|| async { listing(["numeric-project-id", "project-id"]) }),
        )
        .route(&v1("/project/numeric-project-id"), get(numeric_project_id))
        .route(&v1("/project/project-id"), get(project_id))
        .route(&v1("/universe"), get(with_slash))
        .route(
            &v1("/universe/"),
            get(|| async { listing(["universe-domain"]) }),
        )
        .route(
            &v1("/universe/universe-domain"),
            get(|| async { text("googleapis.com") }),
        )
        .merge(service_accounts::routes())
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

async fn instance(State(machine): State<Arc<Machine>>, call: Call) -> Response {
    if recursive(&call.query) {
        let accounts = machine.describe_accounts();
        return Json(json!({ "serviceAccounts": accounts })).into_response();
    }
    listing(["service-accounts/"])
}

async fn project_id(State(machine): State<Arc<Machine>>) -> Response {
    text(machine.accounts.default().project_id())
}

async fn numeric_project_id(State(machine): State<Arc<Machine>>) -> Response {
    let number = digits(machine.accounts.default().project_id()) % 10_u64.pow(12);
    text(&number.to_string())
}

/// Any path that nothing answers for.
pub(super) async fn not_found(uri: Uri) -> Response {
    let message = format!("nothing is at {}", uri.path());
    error(StatusCode::NOT_FOUND, &message)
}

/// A directory that was asked for without its slash.
pub(super) async fn with_slash(uri: Uri) -> Response {
    let query = uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let location = [(header::LOCATION, format!("{}/{query}", uri.path()))];
    (StatusCode::MOVED_PERMANENTLY, location).into_response()
}

/// A path of the metadata API.
pub(super) fn v1(path: &str) -> String {
    format!("{ROOT}/v1{path}")
}

/// Whether JSON of all that is below is wanted instead of a list of names.
pub(super) fn recursive(query: &Parameters) -> bool {
    query
        .value("recursive")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// A single value.
pub(super) fn text(value: &str) -> Response {
    (
        [(header::CONTENT_TYPE, "application/text")],
        value.to_owned(),
    )
        .into_response()
}

/// One name or value a line.
pub(super) fn listing<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Response {
    let lines = lines.into_iter().map(|line| format!("{}\n", line.as_ref()));
    text(&lines.collect::<String>())
}

/// A refusal, as `text/html` as the real server's; the words are for whoever reads the log.
pub(super) fn error(status: StatusCode, message: &str) -> Response {
    let content_type = (header::CONTENT_TYPE, "text/html; charset=UTF-8");
    let escaped = message.replace('&', "&amp;").replace('<', "&lt;");
    (status, [content_type], format!("{escaped}\n")).into_response()
}
