//! A plugin that does what its requests say to the data that all plugins of a `vm_id` share.
//!
//! - `x-neighbour-get: KEY` answers with the value
//! - `x-neighbour-set: KEY` and `x-neighbour-value: VALUE` write it over what is there; KEY can end in
//!   `{0..N}` for that many keys
//! - `x-neighbour-wake: NAME` puts a hundred messages into that queue
//!
//! Keys, names and values are percent-encoded.

use percent_encoding::percent_decode_str;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Http))
    }
}

struct Http;

impl Context for Http {}

impl HttpContext for Http {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let header = |name| {
            self.get_http_request_header(name)
                .map(|text| percent_decode_str(&text).collect::<Vec<u8>>())
        };
        let text = |name| header(name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if let Some(key) = text("x-neighbour-get") {
            match hostcalls::get_shared_data(&key) {
                Ok((Some(value), _)) => self.send_http_response(200, Vec::new(), Some(&value)),
                _ => self.send_http_response(404, Vec::new(), None),
            }
        } else if let Some(key) = text("x-neighbour-set") {
            let value = header("x-neighbour-value").unwrap_or_default();
            let wrote = keys(&key)
                .iter()
                .all(|key| hostcalls::set_shared_data(key, Some(&value), None).is_ok());
            self.send_http_response(if wrote { 200 } else { 500 }, Vec::new(), None);
        } else if let Some(name) = text("x-neighbour-wake") {
            match hostcalls::resolve_shared_queue("invoker", &name) {
                Ok(Some(queue)) => {
                    let woke = (0..100)
                        .all(|_| hostcalls::enqueue_shared_queue(queue, Some(b"boo")).is_ok());
                    self.send_http_response(if woke { 200 } else { 500 }, Vec::new(), None);
                }
                _ => self.send_http_response(404, Vec::new(), None),
            }
        } else {
            return Action::Continue;
        }
        Action::Pause
    }
}

/// `slot/{0..3}` is `slot/0`, `slot/1` and `slot/2`.
fn keys(key: &str) -> Vec<String> {
    let range = key
        .strip_suffix('}')
        .and_then(|key| key.split_once("{0.."))
        .and_then(|(prefix, end)| Some((prefix, end.parse::<u32>().ok()?)));
    match range {
        Some((prefix, end)) => (0..end).map(|n| format!("{prefix}{n}")).collect(),
        None => vec![key.to_owned()],
    }
}
