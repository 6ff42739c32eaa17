//! Faults: what the server does wrong because somebody asked for it.
//!
//! A fault is chosen when a call arrives, before anything else is looked at, so it also strikes
//! calls that would be refused. A control call (`/_emulator`) never sees one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value, json};

use super::{
    endpoint::Endpoint,
    fault_values::{Headers, PathPattern, signed_seconds, status, wait},
    lock,
    tokens::{Token, TokenError},
};

/// The largest filler body: 64 MiB.
const MAX_BODY: usize = 64 << 20;

/// One fault, as its JSON describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    path: Option<PathPattern>,
    endpoint: Option<Endpoint>,
    audience: Option<String>,
    times: Option<u64>,
    #[serde(default, deserialize_with = "wait")]
    pub(super) delay: Duration,
    #[serde(default)]
    pub(super) hang: bool,
    #[serde(default)]
    pub(super) close: bool,
    #[serde(default, deserialize_with = "status")]
    pub(super) status: Option<axum::http::StatusCode>,
    #[serde(default)]
    pub(super) headers: Headers,
    pub(super) body: Option<String>,
    #[serde(default, deserialize_with = "body_size")]
    pub(super) body_size: Option<usize>,
    #[serde(default, deserialize_with = "shared")]
    pub(super) token: Arc<TokenChange>,
}

/// What faults choose calls by.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) path: &'a str,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) audience: Option<&'a str>,
}

/// How a fault changes the tokens that are minted under it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenChange {
    /// Seconds from now to `exp`; negative: over already.
    #[serde(default, deserialize_with = "signed_seconds")]
    pub(super) lifetime: Option<i64>,
    pub(super) aud: Option<String>,
    #[serde(default)]
    pub(super) omit: BTreeSet<String>,
    #[serde(default)]
    same: bool,
    pub(super) suffix: Option<String>,
    /// The first token for each account and audience (or scopes), for `same`.
    #[serde(skip)]
    first: Mutex<BTreeMap<(String, String), Token>>,
}

impl TokenChange {
    /// Whether tokens are left as they are.
    pub(super) fn is_default(&self) -> bool {
        let Self {
            lifetime,
            aud,
            omit,
            same,
            suffix,
            first: _,
        } = self;
        lifetime.is_none() && aud.is_none() && omit.is_empty() && !same && suffix.is_none()
    }

    /// A new token, or under `same` the first one that was minted for this identity.
    pub(super) fn keep_first(
        &self,
        (account, purpose): (&str, &str),
        mint: impl FnOnce() -> Result<Token, TokenError>,
    ) -> Result<Token, TokenError> {
        if !self.same {
            return mint();
        }
        let mut first = lock(&self.first);
        let identity = (account.to_owned(), purpose.to_owned());
        if let Some(token) = first.get(&identity) {
            return Ok(token.clone());
        }
        let token = mint()?;
        first.insert(identity, token.clone());
        Ok(token)
    }
}

impl Fault {
    /// Reads a fault from JSON; the error is for the person who wrote it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let fault: Self =
            serde_path_to_error::deserialize(&mut json).map_err(|error| {
                match error.path().to_string().as_str() {
                    "." => error.inner().to_string(),
                    path => format!("{path}: {}", error.inner()),
                }
            })?;
        fault
            .contradiction()
            .map_or(Ok(fault), |problem| Err(problem.to_owned()))
    }

    /// Whether it replaces the answer, where it would otherwise only change headers or tokens.
    pub(super) fn replaces_answer(&self) -> bool {
        self.status.is_some() || self.body.is_some() || self.body_size.is_some()
    }

    fn contradiction(&self) -> Option<&'static str> {
        let answers = self.replaces_answer() || !self.headers.is_empty();
        if self.path.is_none() && self.endpoint.is_none() {
            Some(
                "missing field `path` (or `endpoint`); to strike every call, write \"path\": \"*\"",
            )
        } else if self.times == Some(0) {
            Some("times: 0 would never apply; leave it out for a fault without an end")
        } else if self.hang && self.close {
            Some("hang and close contradict each other")
        } else if (self.hang || self.close) && (answers || !self.token.is_default()) {
            Some("a call that hangs or is closed has no answer to change; leave the rest out")
        } else if self.body.is_some() && self.body_size.is_some() {
            Some("body and body_size contradict each other")
        } else if self.replaces_answer() && !self.token.is_default() {
            Some("status, body and body_size replace the answer, so there is no token to change")
        } else {
            None
        }
    }

    fn matches(&self, target: &Target<'_>) -> bool {
        let audience = self.audience.as_deref();
        let path = self.path.as_ref();
        (audience.is_none() || audience == target.audience)
            && (self.endpoint.is_none() || self.endpoint == target.endpoint)
            && path.is_none_or(|pattern| pattern.matches(target.path))
    }
}

fn shared<'de, D: Deserializer<'de>>(input: D) -> Result<Arc<TokenChange>, D::Error> {
    TokenChange::deserialize(input).map(Arc::new)
}

fn body_size<'de, D: Deserializer<'de>>(input: D) -> Result<Option<usize>, D::Error> {
    let size = Option::<usize>::deserialize(input)?;
    match size {
        Some(size) if size > MAX_BODY => Err(D::Error::custom(format!(
            "{size} bytes are too many; at most {MAX_BODY} (64 MiB)"
        ))),
        size => Ok(size),
    }
}

/// The faults that are set.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    last_id: u64,
    /// The oldest first.
    set: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    fault: Arc<Fault>,
    /// As it was posted, for the list.
    posted: Map<String, Value>,
    /// How many calls it has applied to.
    calls: u64,
}

impl Faults {
    /// Sets a fault and gives its number.
    pub(super) fn add(&self, fault: Fault, posted: Map<String, Value>) -> u64 {
        let mut entries = lock(&self.0);
        entries.last_id += 1;
        let id = entries.last_id;
        let fault = Arc::new(fault);
        entries.set.push(Entry {
            id,
            fault,
            posted,
            calls: 0,
        });
        id
    }

    /// The newest fault that is for this call and not used up, which thereby counts as applied.
    pub(super) fn strike(&self, target: &Target<'_>) -> Option<Arc<Fault>> {
        let mut entries = lock(&self.0);
        let entry = entries.set.iter_mut().rev().find(|entry| {
            let left = entry.fault.times.is_none_or(|times| entry.calls < times);
            left && entry.fault.matches(target)
        })?;
        entry.calls += 1;
        Some(Arc::clone(&entry.fault))
    }

    /// The faults as they were posted, each with its number and the calls it has applied to.
    pub(super) fn list(&self) -> Vec<Value> {
        let entries = lock(&self.0);
        let view = |entry: &Entry| {
            let mut fields = entry.posted.clone();
            fields.insert("id".to_owned(), json!(entry.id));
            fields.insert("calls".to_owned(), json!(entry.calls));
            Value::Object(fields)
        };
        entries.set.iter().map(view).collect()
    }

    /// Lifts one fault; false if there is none with that number.
    pub(super) fn remove(&self, id: u64) -> bool {
        let mut entries = lock(&self.0);
        let before = entries.set.len();
        entries.set.retain(|entry| entry.id != id);
        entries.set.len() < before
    }

    /// Lifts all faults.
    pub(super) fn clear(&self) {
        lock(&self.0).set.clear();
    }
}
