//! What a call brings in its body.
//!
//! It is read before the endpoint gets the call, so that faults can choose by the audience that
//! stands in it and the recorder can show it.

use std::fmt;

use axum::{
    body::{self, Body},
    http::{HeaderMap, header},
};
use serde_json::{Map, Value};

use super::{assertion::Assertion, endpoint::Endpoint, parameters::Parameters};

/// Far more than any form or JSON of Google's clients, in bytes.
const MAX_SIZE: usize = 1 << 20;

/// Fields that are worth something to whoever reads them.
const SECRETS: [&str; 3] = ["client_secret", "refresh_token", "subject_token"];

/// A body, read by its content type.
#[derive(Default)]
pub(super) enum Posted {
    /// No body is taken, or it is neither a form nor JSON.
    #[default]
    Nothing,
    Form(Parameters),
    Json(Value),
}

impl Posted {
    /// Reads a body to its end.
    pub(super) async fn read(headers: &HeaderMap, body: Body) -> Self {
        let Ok(bytes) = body::to_bytes(body, MAX_SIZE).await else {
            return Self::Nothing;
        };
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let media_type = content_type.unwrap_or_default().split(';').next();
        match media_type.unwrap_or_default().trim() {
            "application/x-www-form-urlencoded" => {
                Self::Form(Parameters::parse(&String::from_utf8_lossy(&bytes)))
            }
            "application/json" => serde_json::from_slice(&bytes).map_or(Self::Nothing, Self::Json),
            _ => Self::Nothing,
        }
    }

    /// The audience of the token that is asked for.
    pub(super) fn audience(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Form(form) => form.value("audience"),
            Self::Json(value) => value.get("audience").and_then(Value::as_str),
        }
    }

    /// The audience that an assertion asks an ID token for.
    pub(super) fn target_audience(&self) -> Option<String> {
        let Self::Form(form) = self else { return None };
        let assertion = Assertion::parse(form.value("assertion")?)?;
        assertion.text("target_audience").map(str::to_owned)
    }

    /// What the recorder may keep of it: an assertion's claims, and no secret.
    pub(super) fn view(&self, endpoint: Option<Endpoint>) -> Option<Value> {
        if !endpoint.is_some_and(Endpoint::takes_body) {
            return None;
        }
        Some(match self {
            Self::Nothing => Value::Null,
            Self::Json(value) => value.clone(),
            Self::Form(form) => {
                let fields = form.all().map(|(name, value)| {
                    let shown = match name {
                        "assertion" => Assertion::parse(value).map(|assertion| assertion.view()),
                        name if SECRETS.contains(&name) => Some(Value::from("[censored]")),
                        _ => Some(Value::from(value)),
                    };
                    (name.to_owned(), shown.unwrap_or_default())
                });
                Value::Object(fields.collect::<Map<_, _>>())
            }
        })
    }
}

impl fmt::Debug for Posted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Form(_) => "Form([censored])",
            Self::Json(_) => "Json([censored])",
        })
    }
}
