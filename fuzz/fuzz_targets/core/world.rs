//! Two virtual machines over one store, their servers and their clocks; and what must hold after each step.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use invoker::Invoker;
use invoker::authenticator::{CalloutId, MAX_IN_FLIGHT, Output, RequestId, SignatureId};
use invoker::config::Config;
use invoker::http::{CalloutError, Response};
use invoker::invoker::Verdict;
use invoker::source::Source;
use invoker::store::{MemoryStore, PeerId};
use invoker::time::{Monotonic, Now, UnixTime};
use serde_json::json;

use crate::Input;
use crate::head::{Head, Host};
use crate::kinds::{Asked, Kind};
use crate::server::{Mood, Server};

pub(crate) const VMS: usize = 2;
const TIMEOUT: u64 = 5000;
const CALLOUT_TIMEOUT: u64 = 4000;
/// How late a host may notice that something is due.
const LATENESS: u64 = 100;
const MAX_WAITING: usize = 16;
/// What the longest backoff and the last bad token can cost once the servers are well again.
const CONVALESCENCE: u64 = 150_000;
/// How long tokens live, in seconds: Google's, and some that end while an input is played.
const LIFETIMES: [u64; 2] = [90, 3600];

pub(crate) struct Vm {
    pub(crate) core: Invoker,
    pub(crate) waiting: BTreeMap<RequestId, Waiting>,
    pub(crate) callouts: VecDeque<(CalloutId, Asked)>,
    pub(crate) signatures: VecDeque<SignatureId>,
    /// Callouts that the core counts still: a host answers each within its timeout.
    pub(crate) sent: BTreeMap<CalloutId, u64>,
}

pub(crate) struct Waiting {
    pub(crate) head: Head,
    pub(crate) since: u64,
}

pub(crate) struct World {
    config: Config,
    pub(crate) store: MemoryStore,
    pub(crate) server: Server,
    rng: Rng,
    pub(crate) monotonic: u64,
    pub(crate) unix: u64,
    pub(crate) vms: Vec<Vm>,
    next_request: u64,
}

impl World {
    pub(crate) fn new(input: &Input<'_>) -> Self {
        let kind = Kind::draw(&mut Rng::with_seed(input.kind.into()));
        let config = json!({
            "credentials": {"type": "metadata", "cluster": "metadata"},
            "audiences": [
                {"authority": "profiles.example.com", "audience": "https://profiles.example.com"},
                {"authority": "open.a.run.app", "bypass": true},
                {"authority": "*.a.run.app", "audience": "https://{authority}"},
            ],
            "timeout": format!("{TIMEOUT}ms"),
            "callout_timeout": format!("{CALLOUT_TIMEOUT}ms"),
            "max_waiting_requests": MAX_WAITING,
            "prefetch": input.prefetch,
        });
        let mut config = Config::from_value(config).expect("it is one");
        config.credentials = kind.credentials();
        let mut world = Self {
            config,
            store: MemoryStore::default(),
            server: Server::new(LIFETIMES[usize::from(input.lives_long)]),
            rng: Rng::with_seed(input.seed),
            monotonic: 1_000_000,
            unix: 1_790_000_000_000,
            vms: Vec::new(),
            next_request: 0,
        };
        for vm in 0..VMS {
            let core = world.core(vm);
            world.vms.push(core);
            world.tick(vm);
        }
        world
    }

    pub(crate) fn core(&mut self, vm: usize) -> Vm {
        let source = Source::new(&self.config.credentials, &|_| None).expect("it is good");
        let (seed, lateness) = (self.rng.u64(..), Duration::from_millis(LATENESS));
        let mut core = Invoker::new(
            self.config.clone(),
            source,
            seed,
            Monotonic::from_millis(self.monotonic),
            lateness,
        );
        core.set_peer(Some(PeerId(vm as u32)));
        Vm {
            core,
            waiting: BTreeMap::new(),
            callouts: VecDeque::new(),
            signatures: VecDeque::new(),
            sent: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            monotonic: Monotonic::from_millis(self.monotonic),
            unix: UnixTime::from_millis(self.unix),
        }
    }

    /// Whether it went on at once.
    pub(crate) fn request(&mut self, vm: usize, host: &Host) -> bool {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let (now, mut head) = (self.now(), Head::of(host));
        let state = &mut self.vms[vm];
        let verdict = state.core.authorize(id, &mut head, &self.store, now);
        let is_sent = matches!(verdict, Verdict::Continue);
        match verdict {
            Verdict::Continue => head.check_sent(now),
            Verdict::Reject(denial) => {
                assert!(
                    head.audience.is_some(),
                    "{} needs no token: {}",
                    head.host,
                    denial.message
                );
            }
            Verdict::Pause => {
                state.waiting.insert(
                    id,
                    Waiting {
                        head,
                        since: self.monotonic,
                    },
                );
            }
        }
        self.drain(vm);
        is_sent
    }

    /// Time goes by, and each VM is called when it wants to be; a callout that nobody answers ends with its timeout.
    pub(crate) fn advance(&mut self, milliseconds: u64) {
        let end = self.monotonic + milliseconds;
        loop {
            let now = self.now();
            let due = |vm: &Vm| {
                vm.core
                    .poll_timeout(now)
                    .map(Monotonic::as_millis)
                    .into_iter()
                    .chain(vm.sent.values().map(|at| at + CALLOUT_TIMEOUT))
                    .min()
            };
            let next = self.vms.iter().filter_map(due).min().unwrap_or(u64::MAX);
            // A host looks once in LATENESS, however soon it is wanted.
            let next = next.max(self.monotonic + LATENESS);
            if next > end {
                break;
            }
            self.unix += next - self.monotonic;
            self.monotonic = next;
            for vm in 0..VMS {
                self.end_late_callouts(vm);
                self.tick(vm);
            }
            self.check();
        }
        self.unix += end - self.monotonic;
        self.monotonic = end;
        for vm in 0..VMS {
            self.end_late_callouts(vm);
            self.tick(vm);
        }
    }

    fn end_late_callouts(&mut self, vm: usize) {
        let late: Vec<_> = self.vms[vm]
            .sent
            .iter()
            .filter(|(_, at)| **at + CALLOUT_TIMEOUT <= self.monotonic)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let now = self.now();
            let state = &mut self.vms[vm];
            state.callouts.retain(|(other, _)| *other != id);
            state.sent.remove(&id);
            state
                .core
                .handle_response(id, Err(CalloutError::Timeout), &self.store, now);
            self.drain(vm);
        }
    }

    pub(crate) fn tick(&mut self, vm: usize) {
        let now = self.now();
        self.vms[vm].core.handle_timeout(&self.store, now);
        self.drain(vm);
    }

    pub(crate) fn wake(&mut self, vm: usize) {
        let now = self.now();
        self.vms[vm].core.handle_wake(&self.store, now);
        self.drain(vm);
    }

    pub(crate) fn answer(&mut self, which: u8) {
        let (unix, monotonic) = (self.unix / 1000, self.monotonic / 1000);
        self.reply(which, |world, asked| {
            world
                .server
                .reply(asked, unix, monotonic, CALLOUT_TIMEOUT, &mut world.rng)
                .answer
        });
    }

    pub(crate) fn reply(
        &mut self,
        which: u8,
        answer: impl FnOnce(&mut Self, &Asked) -> Result<Response, CalloutError>,
    ) {
        let vm = usize::from(which) % VMS;
        let state = &mut self.vms[vm];
        if state.callouts.is_empty() {
            return;
        }
        let at = usize::from(which) / VMS % state.callouts.len();
        let Some((id, asked)) = state.callouts.remove(at) else {
            return;
        };
        state.sent.remove(&id);
        let answer = answer(self, &asked);
        let now = self.now();
        self.vms[vm]
            .core
            .handle_response(id, answer, &self.store, now);
        self.drain(vm);
    }

    pub(crate) fn sign(&mut self, vm: usize, signature: Option<&[u8]>) {
        let now = self.now();
        let state = &mut self.vms[vm];
        let Some(id) = state.signatures.pop_front() else {
            return;
        };
        let signature = signature
            .map(<[u8]>::to_vec)
            .ok_or(invoker::source::key::SignError);
        state.core.handle_signature(id, signature, &self.store, now);
        self.drain(vm);
    }

    /// Does what the VM wants done.
    fn drain(&mut self, vm: usize) {
        let now = self.now();
        let mut wakes = 0;
        let mut outputs = 0;
        while let Some(output) = self.vms[vm].core.poll_output() {
            outputs += 1;
            assert!(outputs < 10_000, "it never ends");
            let state = &mut self.vms[vm];
            match output {
                Output::Callout(id, request) => {
                    state.callouts.push_back((id, Asked::callout(&request)));
                    state.sent.insert(id, self.monotonic);
                }
                Output::Sign(id, _) => state.signatures.push_back(id),
                Output::Resume(id, result) => {
                    let Some(Waiting { mut head, .. }) = state.waiting.remove(&id) else {
                        continue;
                    };
                    if state.core.finish(id, result, &mut head).is_none() {
                        head.check_sent(now);
                    }
                }
                Output::Wake(_) => wakes += 1,
                Output::Event(event) => {
                    let line = event.to_string();
                    assert!(!line.contains(char::is_control), "{line:?}");
                }
                Output::Subject(..) => unreachable!("a proxy's credentials have no such source"),
            }
        }
        assert!(wakes <= 64 * VMS, "{wakes} wake-ups");
    }

    pub(crate) fn check(&self) {
        for vm in &self.vms {
            assert!(
                vm.waiting.len() <= MAX_WAITING,
                "{} requests wait",
                vm.waiting.len()
            );
            assert!(
                vm.sent.len() <= MAX_IN_FLIGHT,
                "{} callouts in flight",
                vm.sent.len()
            );
            assert_eq!(
                vm.core.pending_requests(),
                vm.waiting.keys().copied().collect::<Vec<_>>(),
                "somebody is forgotten"
            );
            for waiting in vm.waiting.values() {
                let waited = self.monotonic - waiting.since;
                assert!(
                    waited <= TIMEOUT,
                    "a request for {} waits for {waited} ms",
                    waiting.head.host
                );
            }
        }
    }

    /// The servers are well again: after the longest pause everybody is served.
    pub(crate) fn recover(&mut self) {
        self.server.mood = Mood::Well;
        let end = self.monotonic + CONVALESCENCE;
        while self.monotonic < end {
            self.answer_all();
            self.advance(1000);
            self.check();
        }
        for vm in 0..VMS {
            let is_served = self.request(vm, &Host::Literal) || {
                self.answer_all();
                self.vms[vm].waiting.is_empty() && self.request(vm, &Host::Literal)
            };
            assert!(is_served, "the server is well, and VM {vm} has no token");
        }
    }

    fn answer_all(&mut self) {
        // A token can take some legs.
        for _ in 0..8 {
            for vm in 0..VMS {
                while !self.vms[vm].signatures.is_empty() {
                    self.sign(vm, Some(b"signature"));
                }
                let which = u8::try_from(vm).expect("there are few");
                while !self.vms[vm].callouts.is_empty() {
                    self.answer(which);
                }
            }
        }
    }
}
