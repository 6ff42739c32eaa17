//! `/_emulator`: faults are set and calls are read here.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use serde_json::{Value, json};

use super::{faults::Fault, server::Machine};

pub(super) fn routes() -> Router<Arc<Machine>> {
    let control = Router::new()
        .route("/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/faults/{id}", delete(remove_fault))
        .route("/requests", get(list_requests).delete(clear_requests))
        .fallback(|| async {
            problem(
                StatusCode::NOT_FOUND,
                "no such control call; there are /_emulator/faults, /_emulator/faults/N and /_emulator/requests",
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

async fn list_requests(State(machine): State<Arc<Machine>>) -> impl IntoResponse {
    Json(machine.recorder.calls())
}

async fn clear_requests(State(machine): State<Arc<Machine>>) -> StatusCode {
    machine.recorder.clear();
    StatusCode::NO_CONTENT
}

fn problem(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}
