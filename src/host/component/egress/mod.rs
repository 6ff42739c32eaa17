//! A WASI 0.2 component (`wit/egress`): requests come in, get their token, and go on to the host that they name.
//!
//! An instance has one thread. Where its host calls it again for the next request, its tokens are still there, and so are
//! callouts that nobody waits for any more: whichever call comes next takes their answers. It waits in one
//! place, [`Instance::wait`], for whatever comes first.

mod body;
mod callout;
mod clock;
mod fields;
mod instance;
mod pipe;
mod request;
mod store;
mod upstream;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Component;

impl Guest for Component {
    fn handle(incoming: IncomingRequest, answer: ResponseOutparam) {
        request::handle(&incoming, answer);
    }
}

wasip2::http::proxy::export!(Component);
