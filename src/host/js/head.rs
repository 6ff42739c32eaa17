//! A request of JavaScript's, as the core sees it.

use wasm_bindgen::prelude::*;

use crate::credential_headers;
use crate::rules::{Annotation, RequestHead};
use crate::url;

#[wasm_bindgen]
extern "C" {
    /// The Fetch standard's `Headers`.
    pub type Headers;

    #[wasm_bindgen(method, structural)]
    fn get(this: &Headers, name: &str) -> Option<String>;

    #[wasm_bindgen(method, structural)]
    fn set(this: &Headers, name: &str, value: &str);

    #[wasm_bindgen(method, structural)]
    fn delete(this: &Headers, name: &str);
}

/// A request's URL, taken apart, and its headers.
pub(super) struct Head<'a> {
    pub(super) is_secure: bool,
    pub(super) authority: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a Headers,
}

impl RequestHead for Head<'_> {
    fn cluster(&self) -> Option<String> {
        None
    }

    fn authority(&self) -> Option<String> {
        Some(self.authority.to_owned())
    }

    fn path(&self) -> Option<String> {
        Some(self.path.to_owned())
    }

    fn annotation(&self, _: Annotation) -> Option<Vec<u8>> {
        None
    }

    fn is_in_the_clear(&self) -> bool {
        !self.is_secure && !url::is_loopback(self.authority)
    }
}

impl credential_headers::Headers for Head<'_> {
    fn value(&self, name: &str) -> Option<String> {
        self.headers.get(name)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.set(name, value);
    }

    fn remove(&mut self, name: &str) {
        self.headers.delete(name);
    }
}
