//! What goes out to the host, and the numbers by which it comes back.

use std::rc::Rc;
#[cfg(not(target_family = "wasm"))]
use std::sync::Arc;

use super::Event;
use crate::error::Denial;
use crate::http::Request;
use crate::source::key::SigningInput;
#[cfg(not(target_family = "wasm"))]
use crate::source::local_subject::LocalSubject;
use crate::store::PeerId;
use crate::token::Token;

/// A request that the host knows by this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A callout, by the number under which its answer comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalloutId(pub u64);

/// A signature, by the number under which it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignatureId(pub u64);

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Attach this.
    Token(Rc<Token>),
    /// There is none, and there won't be one in time.
    Denied(Denial),
    /// Wait: [`Output::Resume`] comes.
    Pending,
}

/// What the host is to do.
#[derive(Debug)]
pub enum Output {
    /// Send this request and bring the answer back to `handle_response`.
    Callout(CalloutId, Request),
    /// Sign this and bring the signature to `handle_signature`. It takes long, by the measure of an event
    /// loop: one at a time.
    Sign(SignatureId, SigningInput),
    /// Get this subject token and bring it to `handle_subject`.
    #[cfg(not(target_family = "wasm"))]
    Subject(CalloutId, Arc<LocalSubject>),
    /// A pending request's answer, which is never `Pending` again.
    Resume(RequestId, Result<Rc<Token>, Denial>),
    /// Wake this VM.
    Wake(PeerId),
    /// Tell the operator.
    Event(Event),
}
