//! The effective context's request, as the core sees it.

use super::abi::{self, Map};
use crate::credential_headers::Headers;
use crate::rules::{Annotation, RequestHead};

/// The request that host calls act on. It holds no value: each look is a host call.
#[derive(Debug, Default)]
pub(super) struct Stream {
    has_refused: bool,
}

impl Stream {
    /// Whether Envoy refused to change a header: the request is not what it should be, and must not
    /// go on.
    pub(super) fn has_refused(&self) -> bool {
        self.has_refused
    }
}

impl RequestHead for Stream {
    fn cluster(&self) -> Option<String> {
        text(abi::property("xds\0cluster_name")?)
    }

    fn authority(&self) -> Option<String> {
        abi::header(Map::Request, ":authority")
    }

    fn path(&self) -> Option<String> {
        abi::header(Map::Request, ":path")
    }

    fn annotation(&self, annotation: Annotation) -> Option<Vec<u8>> {
        abi::property(&annotation.property().join("\0")).filter(|value| !value.is_empty())
    }
}

impl Headers for Stream {
    fn value(&self, name: &str) -> Option<String> {
        abi::header(Map::Request, name)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.has_refused |= abi::set_header(Map::Request, name, value).is_err();
    }

    fn remove(&mut self, name: &str) {
        self.has_refused |= abi::remove_header(Map::Request, name).is_err();
    }
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}
