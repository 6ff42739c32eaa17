//! `/_emulator`: faults are set and calls are read here.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize, de::IntoDeserializer as _};
use serde_json::{Value, json};

use super::{
    clock::ClockOffset, endpoint::Endpoint, faults::Fault, parameters::Parameters, server::Machine,
};

pub(super) fn routes() -> Router<Arc<Machine>> {
    let control = Router::new()
        .route("/access-tokens", delete(revoke_access_tokens))
        .route("/clock", get(show_clock).post(set_clock).delete(reset_clock))
        .route("/endpoints", get(count_calls))
        .route("/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/faults/{id}", delete(remove_fault))
        .route("/keys", get(list_keys))
        .route("/keys/{id}", delete(remove_key))
        .route("/keys/{id}/disable", post(disable_key))
        .route("/keys/{id}/enable", post(enable_key))
        .route("/requests", get(list_requests).delete(clear_requests))
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "no such control call; see the control calls in the README's part on invoker emulate",
            )
        });
    Router::new().nest("/_emulator", control)
}

async fn add_fault(State(machine): State<Arc<Machine>>, body: Bytes) -> Response {
    let fault = match Fault::parse(&body) {
        Ok(fault) => fault,
        Err(message) => return problem(StatusCode::BAD_REQUEST, &message),
    };
    // What parsed as a fault is an object.
    let posted = serde_json::from_slice(&body).unwrap_or_default();
    let id = machine.faults.add(fault, posted);
    (StatusCode::CREATED, Json(json!({ "id": id }))).into_response()
}

async fn list_faults(State(machine): State<Arc<Machine>>) -> Json<Value> {
    Json(Value::Array(machine.faults.list()))
}

async fn clear_faults(State(machine): State<Arc<Machine>>) -> StatusCode {
    machine.faults.clear();
    StatusCode::NO_CONTENT
}

async fn remove_fault(State(machine): State<Arc<Machine>>, Path(id): Path<String>) -> Response {
    if id.parse().is_ok_and(|id| machine.faults.remove(id)) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        problem(StatusCode::NOT_FOUND, &format!("there is no fault {id:?}"))
    }
}

async fn list_requests(State(machine): State<Arc<Machine>>, RawQuery(query): RawQuery) -> Response {
    let query = Parameters::parse(query.as_deref().unwrap_or_default());
    let name = query.value("endpoint");
    match name.map(|name| Endpoint::deserialize(name.into_deserializer())) {
        None => Json(machine.recorder.calls(None)).into_response(),
        Some(Ok(endpoint)) => Json(machine.recorder.calls(Some(endpoint))).into_response(),
        Some(Err(error)) => {
            let error: serde::de::value::Error = error;
            problem(StatusCode::BAD_REQUEST, &format!("endpoint: {error}"))
        }
    }
}

async fn count_calls(State(machine): State<Arc<Machine>>) -> impl IntoResponse {
    Json(machine.recorder.counts())
}

async fn clear_requests(State(machine): State<Arc<Machine>>) -> StatusCode {
    machine.recorder.clear();
    StatusCode::NO_CONTENT
}

/// The clock, as it is shown and set.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockSetting {
    offset: ClockOffset,
}

async fn show_clock(State(machine): State<Arc<Machine>>) -> Json<ClockSetting> {
    let offset = machine.clock.offset();
    Json(ClockSetting { offset })
}

async fn set_clock(State(machine): State<Arc<Machine>>, body: Bytes) -> Response {
    match serde_json::from_slice::<ClockSetting>(&body) {
        Ok(setting) => {
            machine.clock.set(setting.offset);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => problem(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn reset_clock(State(machine): State<Arc<Machine>>) -> StatusCode {
    machine.clock.set(ClockOffset::default());
    StatusCode::NO_CONTENT
}

async fn list_keys(State(machine): State<Arc<Machine>>) -> impl IntoResponse {
    Json(machine.account_keys.list())
}

async fn remove_key(State(machine): State<Arc<Machine>>, Path(id): Path<String>) -> Response {
    key_changed(machine.account_keys.remove(&id), &id)
}

async fn disable_key(State(machine): State<Arc<Machine>>, Path(id): Path<String>) -> Response {
    key_changed(machine.account_keys.set_disabled(&id, true), &id)
}

async fn enable_key(State(machine): State<Arc<Machine>>, Path(id): Path<String>) -> Response {
    key_changed(machine.account_keys.set_disabled(&id, false), &id)
}

fn key_changed(found: bool, id: &str) -> Response {
    if found {
        StatusCode::NO_CONTENT.into_response()
    } else {
        problem(StatusCode::NOT_FOUND, &format!("there is no key {id:?}"))
    }
}

async fn revoke_access_tokens(State(machine): State<Arc<Machine>>) -> StatusCode {
    machine.mint.revoke_access_tokens();
    StatusCode::NO_CONTENT
}

fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
