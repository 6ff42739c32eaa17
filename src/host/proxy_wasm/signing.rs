//! Signatures, which take longer than everything else that a worker does at a time.
//!
//! Envoy signs in native code where it has the foreign function `sign`; elsewhere it is done here, in some
//! tens of milliseconds. Either way there is never more than one in a turn of the worker's event loop: jobs
//! queue up, and a tick of [`TICK`] takes one. Not the root's own shared queue: what a callback posts to the
//! dispatcher runs in the same turn, before Envoy looks at its sockets again.

use std::collections::VecDeque;
use std::time::Duration;

use super::abi;
use crate::authenticator::SignatureId;
use crate::host::proxy_wasm_wire::sign;
use crate::source::key::{SignError, SigningInput};
use crate::time::Monotonic;

/// The shortest that a timer can have: the next turn.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The jobs of one root.
#[derive(Debug, Default)]
pub(super) struct Jobs(VecDeque<(SignatureId, SigningInput)>);

/// When this VM last signed, whichever root it was for.
#[derive(Debug)]
pub(super) struct LastSignature(Monotonic);

impl LastSignature {
    pub(super) fn never() -> Self {
        Self(Monotonic::from_millis(0))
    }
}

impl Jobs {
    pub(super) fn push(&mut self, id: SignatureId, input: SigningInput) {
        self.0.push_back((id, input));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Signs the oldest one, unless another root has signed in this turn.
    pub(super) fn sign_one(
        &mut self,
        last: &mut LastSignature,
        clock: impl Fn() -> Monotonic,
    ) -> Option<(SignatureId, Result<Vec<u8>, SignError>)> {
        if clock() <= last.0 {
            return None;
        }
        let (id, input) = self.0.pop_front()?;
        let signature = sign(&input);
        last.0 = clock();
        Some((id, signature))
    }
}

fn sign(input: &SigningInput) -> Result<Vec<u8>, SignError> {
    let arguments = sign::arguments(input.key().der(), input.text());
    let result = abi::call_foreign_function("sign", &arguments).ok();
    match result.and_then(|message| sign::signature(&message)) {
        Some(signature) => Ok(signature),
        None => input.sign(),
    }
}
