//! The Fetch standard's `Headers`, as the core writes them.

use wasm_bindgen::prelude::*;

use crate::credential_headers;

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

impl credential_headers::Headers for &Headers {
    fn value(&self, name: &str) -> Option<String> {
        self.get(name)
    }

    fn set(&mut self, name: &str, value: &str) {
        (**self).set(name, value);
    }

    fn remove(&mut self, name: &str) {
        self.delete(name);
    }
}
