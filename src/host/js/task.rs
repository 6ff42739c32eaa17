//! What JavaScript is to do, a task at a time.

use wasm_bindgen::prelude::*;

use crate::authenticator::{CalloutId, Event, Level, RequestId, SignatureId};
use crate::http::Request;
use crate::source::key::SigningInput;
use crate::source::metadata;
use crate::url::Scheme;

/// One thing to do. `kind` says which of the other properties mean something.
#[wasm_bindgen]
pub struct Task {
    kind: Kind,
}

pub(super) enum Kind {
    Resume(RequestId),
    Callout(CalloutId, Request),
    Sign(SignatureId, SigningInput),
    Event(Event),
}

impl From<Kind> for Task {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

#[wasm_bindgen]
impl Task {
    /// `resume` a request, send a `callout`, ask the `program` for a subject token, `sign`, or tell an `event`.
    #[wasm_bindgen(getter)]
    pub fn kind(&self) -> String {
        let kind = match &self.kind {
            Kind::Resume(_) => "resume",
            Kind::Callout(_, request) if request.scheme == Scheme::Program => "program",
            Kind::Callout(..) => "callout",
            Kind::Sign(..) => "sign",
            Kind::Event(_) => "event",
        };
        kind.to_owned()
    }

    /// The number by which its outcome comes back, or the request's.
    #[wasm_bindgen(getter)]
    #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53")]
    pub fn id(&self) -> f64 {
        let id = match &self.kind {
            Kind::Resume(RequestId(id))
            | Kind::Callout(CalloutId(id), _)
            | Kind::Sign(SignatureId(id), _) => *id,
            Kind::Event(_) => 0,
        };
        id as f64
    }

    /// Whether a callout goes to Google's metadata server, wherever that is.
    #[wasm_bindgen(getter, js_name = isForMetadataServer)]
    pub fn is_for_metadata_server(&self) -> bool {
        matches!(&self.kind, Kind::Callout(_, request) if request.authority == metadata::AUTHORITY)
    }

    /// A callout's URL.
    #[wasm_bindgen(getter)]
    pub fn url(&self) -> Option<String> {
        let Kind::Callout(_, request) = &self.kind else {
            return None;
        };
        let scheme = request.scheme.as_str();
        Some(format!("{scheme}://{}{}", request.authority, request.path))
    }

    /// A callout's method.
    #[wasm_bindgen(getter)]
    pub fn method(&self) -> Option<String> {
        let Kind::Callout(_, request) = &self.kind else {
            return None;
        };
        Some(request.method.to_owned())
    }

    /// A callout's headers: names and values in turn.
    #[wasm_bindgen(getter)]
    pub fn headers(&self) -> Vec<String> {
        let Kind::Callout(_, request) = &self.kind else {
            return Vec::new();
        };
        let headers = request.headers.iter();
        headers
            .flat_map(|(name, value)| [name.to_string(), value.clone()])
            .collect()
    }

    /// A callout's body, or the text that is to be signed.
    #[wasm_bindgen(getter)]
    pub fn body(&self) -> Vec<u8> {
        match &self.kind {
            Kind::Callout(_, request) => request.body.clone(),
            Kind::Sign(_, input) => input.text().to_vec(),
            Kind::Resume(_) | Kind::Event(_) => Vec::new(),
        }
    }

    /// How many milliseconds a callout may take.
    #[wasm_bindgen(getter)]
    pub fn timeout(&self) -> f64 {
        match &self.kind {
            Kind::Callout(_, request) => request.timeout.as_secs_f64() * 1000.0,
            _ => 0.0,
        }
    }

    /// The key to sign with (PKCS#8). Whoever takes it wipes it.
    #[wasm_bindgen(js_name = takeKey)]
    pub fn take_key(&self) -> Vec<u8> {
        match &self.kind {
            Kind::Sign(_, input) => input.key().der().to_vec(),
            _ => Vec::new(),
        }
    }

    /// How loud an event is.
    #[wasm_bindgen(getter)]
    pub fn level(&self) -> Option<String> {
        let Kind::Event(event) = &self.kind else {
            return None;
        };
        let level = match event.level() {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        Some(level.to_owned())
    }

    /// An event in words.
    #[wasm_bindgen(getter)]
    pub fn message(&self) -> Option<String> {
        match &self.kind {
            Kind::Event(event) => Some(event.to_string()),
            _ => None,
        }
    }
}
