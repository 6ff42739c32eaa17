//! `wasi:keyvalue`.

use std::cell::{Cell, OnceCell};

use super::bindings::wasi::keyvalue::store::{self, Error};
use crate::host::component::log;
use crate::store::Bucket;

/// The bucket that the configuration names, if it names one. It is opened when it is first needed, and again while it can't be.
#[derive(Debug)]
pub(in crate::host::component) struct KeyValue {
    name: Option<String>,
    bucket: OnceCell<store::Bucket>,
    has_failed: Cell<bool>,
}

impl KeyValue {
    pub(in crate::host::component) fn new(name: Option<String>) -> Self {
        Self {
            name,
            bucket: OnceCell::new(),
            has_failed: Cell::new(false),
        }
    }

    /// Does it with the bucket; `None` if there is none, or it fails. One line says so, and one when it works again.
    fn with<T>(&self, act: impl FnOnce(&store::Bucket) -> Result<T, Error>) -> Option<T> {
        let name = self.name.as_deref()?;
        let done = match self.bucket.get() {
            Some(bucket) => act(bucket),
            None => store::open(name).and_then(|bucket| act(self.bucket.get_or_init(|| bucket))),
        };
        let had_failed = self.has_failed.replace(done.is_err());
        match &done {
            Err(error) if !had_failed => log::line(
                "warning",
                &format!(
                    "store_failed: bucket {name:?}: {}; this instance goes on with its own tokens",
                    reason(error)
                ),
            ),
            Ok(_) if had_failed => {
                log::line("info", &format!("store_recovered: bucket {name:?}"));
            }
            _ => {}
        }
        done.ok()
    }
}

impl Bucket for KeyValue {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.with(|bucket| bucket.get(key)).flatten()
    }

    fn set(&self, key: &str, value: &[u8]) {
        self.with(|bucket| bucket.set(key, value));
    }

    fn delete(&self, key: &str) {
        self.with(|bucket| bucket.delete(key));
    }
}

fn reason(error: &Error) -> &str {
    match error {
        Error::NoSuchStore => {
            "the host has none of that name; INVOKER_BUCKET must be one that it gives this component"
        }
        Error::AccessDenied => "the host doesn't let this component use it",
        Error::Other(problem) => problem,
    }
}
