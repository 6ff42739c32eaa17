//! A WASI 0.3 component (`wit/identity`): another component's outgoing requests pass through it, and get their token.
//!
//! An instance has one thread and serves many calls at once, each a task of its own. The core and its tokens are the
//! instance's; a callout is carried by the task in which it came up, also when that has returned. A task can be cancelled,
//! with all that it carries: what was under way then is sent again by whoever waits for it.

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generated"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "wit/identity",
        world: "client",
        generate_all,
    });
}

mod callout;
mod clock;
mod id_tokens;
mod instance;
mod request;

use self::bindings::exports::invoker::identity::id_tokens as exported_id_tokens;
use self::bindings::exports::wasi::http::client as exported_client;
use self::bindings::wasi::http::types::{ErrorCode, Request, Response};

struct Component;

impl exported_client::Guest for Component {
    async fn send(request: Request) -> Result<Response, ErrorCode> {
        request::send(request).await
    }
}

impl exported_id_tokens::Guest for Component {
    async fn get(audience: String) -> Result<String, exported_id_tokens::Error> {
        id_tokens::get(&audience).await
    }
}

bindings::export!(Component with_types_in bindings);
