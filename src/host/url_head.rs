//! A request's head where there is no Envoy: its URL says all that rules can ask for.

use crate::credential_headers::Headers;
use crate::rules::{Annotation, RequestHead};
use crate::url;

/// A request's URL, taken apart, and its headers as the host has them.
pub(crate) struct UrlHead<'a, H> {
    pub(crate) is_secure: bool,
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: H,
}

impl<H> RequestHead for UrlHead<'_, H> {
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

impl<H: Headers> Headers for UrlHead<'_, H> {
    fn value(&self, name: &str) -> Option<String> {
        self.headers.value(name)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.set(name, value);
    }

    fn remove(&mut self, name: &str) {
        self.headers.remove(name);
    }
}
