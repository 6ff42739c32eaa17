//! The calls that arrived, for those who want to see what their mesh asks for.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::http::{HeaderMap, StatusCode, request::Parts};
use serde::Serialize;
use serde_json::Value;

use super::{assertion, endpoint::Endpoint, faults::Target, lock};

/// The oldest calls are forgotten beyond this number: some 100 MB.
const MAX_CALLS: usize = 200_000;

/// Names one recorded call until it is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallId(u64);

/// One call, as `GET /_emulator/requests` shows it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Call {
    #[serde(skip)]
    id: u64,
    #[serde(skip)]
    endpoint: Option<Endpoint>,
    /// Seconds since the Unix epoch.
    at: f64,
    method: String,
    path: String,
    query: String,
    audience: Option<String>,
    /// None until it is answered, and for ever if it never is.
    status: Option<u16>,
    /// Values of one name are joined by a comma, as RFC 9110 allows.
    headers: BTreeMap<String, String>,
    /// What was posted, if the endpoint takes a body; without secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

/// The calls of one endpoint.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count {
    calls: u64,
    /// How many were answered with which status.
    answers: BTreeMap<u16, u64>,
}

/// The calls in the order in which they arrived.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    last_id: u64,
    kept: VecDeque<Call>,
}

impl Recorder {
    /// Records a call that has just arrived.
    pub(super) fn arrived(
        &self,
        request: &Parts,
        target: &Target<'_>,
        body: Option<Value>,
    ) -> CallId {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut calls = lock(&self.0);
        calls.last_id += 1;
        let id = calls.last_id;
        if calls.kept.len() == MAX_CALLS {
            calls.kept.pop_front();
        }
        calls.kept.push_back(Call {
            id,
            endpoint: target.endpoint,
            at: now.as_secs_f64(),
            method: request.method.to_string(),
            path: request.uri.path().to_owned(),
            query: request.uri.query().unwrap_or_default().to_owned(),
            audience: target.audience.map(str::to_owned),
            status: None,
            headers: readable(&request.headers),
            body,
        });
        CallId(id)
    }

    /// Notes how a call was answered, unless it has been forgotten since.
    pub(super) fn answered(&self, CallId(id): CallId, status: StatusCode) {
        let mut calls = lock(&self.0);
        if let Ok(position) = calls.kept.binary_search_by_key(&id, |call| call.id)
            && let Some(call) = calls.kept.get_mut(position)
        {
            call.status = Some(status.as_u16());
        }
    }

    /// The calls, the oldest first: all, or those of one endpoint.
    pub(super) fn calls(&self, endpoint: Option<Endpoint>) -> Vec<Call> {
        let calls = lock(&self.0);
        let wanted = |call: &&Call| endpoint.is_none() || call.endpoint == endpoint;
        calls.kept.iter().filter(wanted).cloned().collect()
    }

    /// How often each endpoint was called.
    pub(super) fn counts(&self) -> BTreeMap<Endpoint, Count> {
        let mut counts: BTreeMap<Endpoint, Count> = BTreeMap::new();
        for call in &lock(&self.0).kept {
            let Some(endpoint) = call.endpoint else {
                continue;
            };
            let count = counts.entry(endpoint).or_default();
            count.calls += 1;
            if let Some(status) = call.status {
                *count.answers.entry(status).or_default() += 1;
            }
        }
        counts
    }

    /// Forgets all calls.
    pub(super) fn clear(&self) {
        lock(&self.0).kept.clear();
    }
}

fn readable(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        // Who signs with a key of theirs shows a token that is good for Google, too.
        let value = assertion::without_signature(&value);
        all.entry(name.to_string())
            .and_modify(|joined| {
                joined.push_str(", ");
                joined.push_str(&value);
            })
            .or_insert(value);
    }
    all
}
