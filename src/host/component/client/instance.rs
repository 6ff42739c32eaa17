//! What an instance keeps from one call to the next: the core, its tokens, and who waits.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::bindings::wasi::random::random;
use super::callout::{self, Callout, Outcome};
use super::clock;
use crate::authenticator::{CalloutId, Output, RequestId};
use crate::config::Host;
use crate::error::Denial;
use crate::host::component::configuration::{self, Configured, Misconfigured};
use crate::host::component::log;
use crate::invoker::Invoker;
use crate::store::MemoryStore;
use crate::time::Monotonic;
use crate::token::Token;

type Found = Result<Rc<Token>, Denial>;

pub(super) struct Instance {
    pub(super) invoker: Invoker,
    pub(super) store: MemoryStore,
    pub(super) metadata_host: Option<String>,
    /// Those that no task carries.
    callouts: Vec<Callout>,
    waiting: BTreeMap<RequestId, Waiting>,
    requests: u64,
}

/// A call that waits for a token.
#[derive(Default)]
struct Waiting {
    found: Option<Found>,
    /// Whether something happened since it looked.
    is_woken: bool,
    waker: Option<Waker>,
}

thread_local! {
    static INSTANCE: RefCell<Option<Result<Instance, Misconfigured>>> = const { RefCell::new(None) };
}

/// Lends the instance, which the first call makes. Nothing may await meanwhile.
///
/// # Errors
///
/// The configuration can't be used.
pub(super) fn with<T>(act: impl FnOnce(&mut Instance) -> T) -> Result<T, Misconfigured> {
    INSTANCE.with_borrow_mut(|made| {
        let made = made.get_or_insert_with(Instance::new);
        made.as_mut()
            .map(act)
            .map_err(|misconfigured| *misconfigured)
    })
}

impl Instance {
    fn new() -> Result<Self, Misconfigured> {
        let (seed, started) = (random::get_random_u64(), clock::now().monotonic);
        let Configured {
            invoker,
            metadata_host,
            ..
        } = configuration::read(Host::WasiClient, seed, started)?;
        Ok(Self {
            invoker,
            store: MemoryStore::default(),
            metadata_host,
            callouts: Vec::new(),
            waiting: BTreeMap::new(),
            requests: 0,
        })
    }

    pub(super) fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    /// A callout's outcome.
    pub(super) fn answer(&mut self, id: CalloutId, outcome: Outcome) {
        self.invoker
            .handle_response(id, outcome, &self.store, clock::now());
    }

    /// A callout whose task was cancelled: another one carries it.
    pub(super) fn give_back(&mut self, callout: Callout) {
        self.callouts.push(callout);
        self.wake_all();
    }

    /// Does what is due, and what the core asks for.
    fn step(&mut self) {
        let now = clock::now();
        let due = self.invoker.poll_timeout(now);
        if due.is_some_and(|due| now.monotonic >= due) {
            self.invoker.handle_timeout(&self.store, now);
        }
        let mut has_news = false;
        while let Some(output) = self.invoker.poll_output() {
            has_news = true;
            match output {
                Output::Callout(id, request) => {
                    let deadline = clock::now().monotonic + request.timeout;
                    self.callouts.push(Callout {
                        id,
                        request,
                        deadline,
                    });
                }
                Output::Sign(id, input) => {
                    let (signature, now) = (input.sign(), clock::now());
                    self.invoker
                        .handle_signature(id, signature, &self.store, now);
                }
                Output::Resume(request, found) => {
                    if let Some(waiting) = self.waiting.get_mut(&request) {
                        waiting.found = Some(found);
                    }
                }
                // There is no other instance that it could reach.
                Output::Wake(_) => {}
                Output::Event(event) => log::tell(&event),
            }
        }
        // Nobody asks what was counted here, and it would grow.
        self.invoker.take_counts();
        if has_news {
            self.wake_all();
        }
    }

    /// There may be another time to wait for, or a callout to carry.
    fn wake_all(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.is_woken = true;
            if let Some(waker) = waiting.waker.take() {
                waker.wake();
            }
        }
    }

    /// What the call waits for. Who has it is no longer waiting, and leaves without cancelling anything.
    fn take_found(&mut self, request: RequestId) -> Option<Found> {
        let found = self.waiting.get_mut(&request)?.found.take()?;
        self.waiting.remove(&request);
        Some(found)
    }

    fn is_woken(&mut self, request: RequestId, context: &Context<'_>) -> bool {
        let Some(waiting) = self.waiting.get_mut(&request) else {
            return true;
        };
        waiting.waker = Some(context.waker().clone());
        std::mem::take(&mut waiting.is_woken)
    }
}

/// Does what there is to do. The calling task carries the callouts that are new, or that nobody carries any more.
pub(super) fn step() {
    let callouts = with(|instance| {
        instance.step();
        std::mem::take(&mut instance.callouts)
    });
    for callout in callouts.into_iter().flatten() {
        wit_bindgen::spawn_local(callout::carry(callout));
    }
}

/// Waits for the token of that request, which the core said is pending.
///
/// # Errors
///
/// Why there is none.
pub(super) async fn wait(request: RequestId) -> Result<Found, Misconfigured> {
    with(|instance| instance.waiting.insert(request, Waiting::default()))?;
    let _leaves = Leaves(request);
    loop {
        step();
        if let Some(found) = with(|instance| instance.take_found(request))? {
            return Ok(found);
        }
        let due = with(|instance| instance.invoker.poll_timeout(clock::now()))?;
        news(request, due).await;
    }
}

/// Something happened, or it is time.
async fn news(request: RequestId, due: Option<Monotonic>) {
    let mut due = pin!(async {
        match due {
            Some(due) => clock::until(due).await,
            None => std::future::pending().await,
        }
    });
    poll_fn(
        |context| match with(|instance| instance.is_woken(request, context)) {
            Ok(false) => due.as_mut().poll(context),
            Ok(true) | Err(_) => Poll::Ready(()),
        },
    )
    .await;
}

/// A call that ends, or that its caller has given up.
struct Leaves(RequestId);

impl Drop for Leaves {
    fn drop(&mut self) {
        let _ = with(|instance| {
            if instance.waiting.remove(&self.0).is_some() {
                instance.invoker.handle_cancel(self.0);
            }
        });
    }
}
