//! The world: VMs, the scheduler, and everything that happens to them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::AddAssign;
use std::time::Duration;

use fastrand::Rng;
use invoker::audience::Audience;
use invoker::authenticator::{
    Answer, Authenticator, CalloutId, Event as Line, MAX_IN_FLIGHT, Output, RequestId, Settings,
    SignatureId,
};
use invoker::config::Timing;
use invoker::http::{CalloutError, Request, Response};
use invoker::rules::Target;
use invoker::source::Source;
use invoker::source::key::SigningInput;
use invoker::store::{DERIVED_SLOTS, PeerId};
use invoker::time::{Monotonic, Now, UnixTime};

use crate::chance::Chances;
use crate::kinds::{Asked, BEARER};
use crate::promises::Promises;
use crate::server::{Mood, Server};
use crate::store::SimulatedStore;

const TIMEOUT: u64 = 5000;
const CALLOUT_TIMEOUT: u64 = 4000;
const LEASE: u64 = CALLOUT_TIMEOUT + 1000;
const MAX_WAITING: usize = 20;
/// The host's ticks: how late it may notice that something is due.
const LATENESS: u64 = 100;
const IDLE_TICK: u64 = 1000;
/// The longest that a host takes to sign, with the others that it signs before.
const SIGNING: u64 = 200;
/// The longest that a wake-up takes.
const WAKE_DELAY: u64 = 20;
/// What the longest backoff and the last bad token can cost once the server is well again.
const CONVALESCENCE: u64 = 120_000;

const LITERALS: [&str; 3] = [
    "https://profiles.example.com",
    "https://search.example.com",
    "client.apps.googleusercontent.com",
];
/// They don't share slots: who does has a fetch of its own now and then.
pub(crate) const DERIVED: [&str; 3] = [
    "https://a.run.app",
    "https://b.run.app",
    "https://c.run.app",
];

/// What came of it all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) served: u64,
    pub(crate) waited: u64,
    pub(crate) denied: u64,
    pub(crate) callouts: u64,
    pub(crate) wakes: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.served += other.served;
        self.waited += other.waited;
        self.denied += other.denied;
        self.callouts += other.callouts;
        self.wakes += other.wakes;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Request {
        vm: usize,
    },
    Tick {
        vm: usize,
        root: u64,
        at: u64,
    },
    Answer {
        root: u64,
        callout: u64,
        reply: usize,
    },
    Signature {
        root: u64,
        signature: u64,
        sent: usize,
    },
    Wake {
        peer: u32,
    },
    Leave {
        root: u64,
        request: u64,
    },
    Trouble,
}

/// One root context: an authenticator and the requests that wait in it.
#[derive(Debug)]
struct Root {
    authenticator: Authenticator,
    waiting: BTreeMap<RequestId, Waiting>,
    flights: BTreeMap<CalloutId, usize>,
    in_flight: usize,
    next_tick: u64,
}

#[derive(Debug)]
struct Waiting {
    audience: String,
    since: u64,
    /// When its token came to some VM, if it did.
    could_be_served_at: Option<u64>,
}

pub(crate) struct World {
    rng: Rng,
    chances: Chances,
    is_loud: bool,
    monotonic: u64,
    unix: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    store: SimulatedStore,
    server: Server,
    /// The current root of each VM; older ones drain.
    current: Vec<u64>,
    roots: BTreeMap<u64, Root>,
    next_root: u64,
    next_request: u64,
    replies: Vec<(Result<Response, CalloutError>, usize)>,
    promises: Promises,
    totals: Totals,
    started: u64,
    is_ending: bool,
}

impl World {
    pub(crate) fn new(seed: u64, is_loud: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let chances = Chances::draw(&mut rng);
        if is_loud {
            println!("{chances:?}");
        }
        let monotonic = rng.u64(1_000..10_000_000);
        let mut world = Self {
            store: SimulatedStore::new(rng.u64(..), chances.lost_swaps),
            server: Server::new(chances.token_lifetime),
            is_loud,
            monotonic,
            unix: 1_790_000_000_000 + rng.u64(..1000),
            events: BinaryHeap::new(),
            sequence: 0,
            current: Vec::new(),
            roots: BTreeMap::new(),
            next_root: 0,
            next_request: 0,
            replies: Vec::new(),
            promises: Promises::default(),
            totals: Totals::default(),
            started: monotonic,
            is_ending: false,
            chances,
            rng,
        };
        if world.chances.server_turns_bad && world.rng.bool() {
            world.server.fall_ill(&mut world.rng);
        }
        for vm in 0..world.chances.workers {
            let root = world.add_root(vm);
            world.current.push(root);
            let at = world.rng.u64(..200);
            world.schedule(at, Event::Request { vm });
        }
        world.schedule(1000, Event::Trouble);
        world
    }

    /// Plays a few minutes of trouble, then a well server, under which everybody must be served.
    pub(crate) fn play(mut self) -> Totals {
        let trouble_ends = self.monotonic + self.rng.u64(20_000..240_000);
        self.run_until(trouble_ends);
        self.is_ending = true;
        self.server.mood = Mood::Well;
        self.chances.lost_callouts = 0;
        self.run_until(self.monotonic + CONVALESCENCE);
        self.everybody_is_served();
        self.totals
    }

    fn run_until(&mut self, end: u64) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > end {
                self.events.push(Reverse((at, 0, event)));
                self.advance_to(end);
                return;
            }
            self.advance_to(at);
            self.step(event);
            self.check();
        }
    }

    fn advance_to(&mut self, at: u64) {
        self.unix += at.saturating_sub(self.monotonic);
        self.monotonic = at.max(self.monotonic);
    }

    fn step(&mut self, event: Event) {
        if self.is_loud && !matches!(event, Event::Tick { .. }) {
            println!("{:>9} {event:?}", self.monotonic - self.started);
        }
        match event {
            Event::Request { vm } => {
                let target = self.draw_target();
                self.request(vm, &target);
                let pause = self.rng.u64(..if self.chances.flood { 100 } else { 1500 });
                self.schedule(pause, Event::Request { vm });
            }
            Event::Tick { vm, root, at } => self.tick(vm, root, at),
            Event::Answer {
                root,
                callout,
                reply,
            } => {
                let (answer, sent) = self.replies[reply].clone();
                if !self.roots.contains_key(&root) {
                    return;
                }
                self.promises.on_answer(sent);
                let now = self.now();
                let root_state = self.roots.get_mut(&root).unwrap();
                if root_state.flights.remove(&CalloutId(callout)).is_some() {
                    root_state.in_flight -= 1;
                }
                root_state.authenticator.handle_response(
                    CalloutId(callout),
                    answer,
                    &self.store,
                    now,
                );
                self.drain(root);
            }
            Event::Signature {
                root,
                signature,
                sent,
            } => {
                let now = self.now();
                if let Some(state) = self.roots.get_mut(&root) {
                    self.promises.on_answer(sent);
                    let signed = Ok(b"signature".to_vec());
                    let id = SignatureId(signature);
                    state
                        .authenticator
                        .handle_signature(id, signed, &self.store, now);
                    self.drain(root);
                }
            }
            Event::Wake { peer } => {
                if let Some(root) = self.roots.get_mut(&u64::from(peer)) {
                    let now = now(self.monotonic, self.unix);
                    root.authenticator.handle_wake(&self.store, now);
                    self.drain(peer.into());
                }
            }
            Event::Leave { root, request } => {
                if let Some(root) = self.roots.get_mut(&root) {
                    root.waiting.remove(&RequestId(request));
                    root.authenticator.handle_cancel(RequestId(request));
                }
            }
            Event::Trouble => {
                if !self.is_ending {
                    self.trouble();
                    let pause = self.rng.u64(500..15_000);
                    self.schedule(pause, Event::Trouble);
                }
            }
        }
    }

    fn trouble(&mut self) {
        let vm = self.rng.usize(..self.current.len());
        match self.rng.u8(..8) {
            0 if self.chances.kills => {
                self.say("a VM dies");
                self.roots.remove(&self.current[vm]);
                self.current[vm] = self.add_root(vm);
            }
            1 if self.chances.updates => {
                self.say("the configuration is updated");
                self.current[vm] = self.add_root(vm);
            }
            2 if self.chances.freezes => {
                let frozen = self.rng.u64(1000..7_200_000);
                self.say("the process is frozen");
                self.advance_to(self.monotonic + frozen);
                for waiting in self
                    .roots
                    .values_mut()
                    .flat_map(|root| root.waiting.values_mut())
                {
                    // Nobody can be answered by a process that does not run.
                    waiting.since += frozen;
                }
            }
            3 if self.chances.clock_is_set => {
                self.say("the wall clock is set");
                let by = self.rng.u64(..600_000);
                self.unix = if self.rng.bool() {
                    self.unix + by
                } else {
                    self.unix - by
                };
            }
            4 if self.chances.hostile => {
                self.say("a neighbour writes into our records");
                self.store.vandalise();
            }
            5 if self.chances.server_turns_bad => self.server.mood = Mood::Well,
            6 | 7 if self.chances.server_turns_bad => self.server.fall_ill(&mut self.rng),
            _ => {}
        }
    }

    fn draw_target(&mut self) -> Target {
        if self.chances.flood && self.rng.bool() {
            let host = format!("https://made-up-{}.run.app", self.rng.u32(..3000));
            return Target::Derived(Audience::parse(&host).unwrap().into());
        }
        match self.rng.usize(..LITERALS.len() + DERIVED.len()) {
            literal if literal < LITERALS.len() => Target::Literal(literal),
            derived => Target::Derived(
                Audience::parse(DERIVED[derived - LITERALS.len()])
                    .unwrap()
                    .into(),
            ),
        }
    }

    fn request(&mut self, vm: usize, target: &Target) -> bool {
        let root = self.current[vm];
        let audience = match target {
            Target::Literal(index) => LITERALS[*index].to_owned(),
            Target::Derived(wanted) => wanted.as_str().to_owned(),
        };
        let id = RequestId(self.next_request);
        self.next_request += 1;
        let now = self.now();
        let state = self.roots.get_mut(&root).unwrap();
        // The hit path first, as a host does it.
        if let Some(token) = state.authenticator.cached(target, now.unix) {
            self.promises.on_attach(token, &audience, now.unix);
            self.totals.served += 1;
            return true;
        }
        state
            .authenticator
            .set_peer(Some(PeerId(u32::try_from(root).unwrap())));
        let answer = state
            .authenticator
            .handle_request(id, target, &self.store, now);
        let is_exact = matches!(target, Target::Literal(_)) && self.chances.records_are_ours();
        if is_exact && self.promises.must_be_served_at_once(&audience, now.unix) {
            assert!(
                matches!(answer, Answer::Token(_)),
                "{audience} has a token, but: {answer:?}"
            );
        }
        let is_served = matches!(answer, Answer::Token(_));
        match answer {
            Answer::Token(token) => {
                self.promises.on_attach(&token, &audience, now.unix);
                self.totals.served += 1;
            }
            Answer::Denied(_) => self.totals.denied += 1,
            Answer::Pending => {
                self.totals.waited += 1;
                let since = self.monotonic;
                let waiting = Waiting {
                    audience,
                    since,
                    could_be_served_at: None,
                };
                self.roots
                    .get_mut(&root)
                    .unwrap()
                    .waiting
                    .insert(id, waiting);
                if self.chances.clients_leave && self.rng.u8(..4) == 0 {
                    let after = self.rng.u64(..TIMEOUT);
                    self.schedule(
                        after,
                        Event::Leave {
                            root,
                            request: id.0,
                        },
                    );
                }
            }
        }
        self.drain(root);
        is_served
    }

    fn tick(&mut self, vm: usize, root: u64, at: u64) {
        let now = self.now();
        let is_current = self.current[vm] == root;
        let Some(state) = self.roots.get_mut(&root) else {
            return;
        };
        if state.next_tick != at {
            // Brought forward in the meantime.
            return;
        }
        state
            .authenticator
            .set_peer(Some(PeerId(u32::try_from(root).unwrap())));
        state.authenticator.handle_timeout(&self.store, now);
        self.drain(root);
        let state = self.roots.get_mut(&root).unwrap();
        if !is_current && state.waiting.is_empty() {
            self.roots.remove(&root);
            return;
        }
        self.schedule_tick(vm, root);
    }

    /// As the Envoy host ticks: every 100 ms while something is due soon, else every second.
    fn schedule_tick(&mut self, vm: usize, root: u64) {
        let now = self.now();
        let Some(state) = self.roots.get_mut(&root) else {
            return;
        };
        let due = state
            .authenticator
            .poll_timeout(now)
            .map(Monotonic::as_millis);
        let is_soon = due.is_some_and(|at| at < self.monotonic + IDLE_TICK);
        let after = if is_soon || !state.waiting.is_empty() {
            LATENESS
        } else {
            IDLE_TICK
        };
        state.next_tick = self.monotonic + after;
        self.schedule(
            after,
            Event::Tick {
                vm,
                root,
                at: self.monotonic + after,
            },
        );
    }

    fn drain(&mut self, root: u64) {
        let now = self.now();
        loop {
            let Some(state) = self.roots.get_mut(&root) else {
                return;
            };
            let Some(output) = state.authenticator.poll_output() else {
                break;
            };
            match output {
                Output::Callout(id, request) => self.callout(root, id, &request),
                Output::Resume(id, result) => {
                    let waiting = state.waiting.remove(&id);
                    let waiting = waiting.unwrap_or_else(|| {
                        panic!("{id:?} is resumed, which does not wait, or whose client has left")
                    });
                    match result {
                        Ok(token) => {
                            self.promises.on_attach(&token, &waiting.audience, now.unix);
                            self.totals.served += 1;
                        }
                        Err(denial) => {
                            if self.is_loud {
                                println!("          {}", denial.message);
                            }
                            self.totals.denied += 1;
                        }
                    }
                }
                Output::Sign(id, input) => self.sign(root, id, &input),
                Output::Subject(..) => unreachable!("a proxy's credentials have no such source"),
                Output::Wake(peer) => {
                    self.totals.wakes += 1;
                    if self.rng.u32(..100) >= self.chances.dropped_wakes {
                        let after = self.rng.u64(..WAKE_DELAY);
                        self.schedule(after, Event::Wake { peer: peer.0 });
                    }
                }
                Output::Event(line) => self.line(&line),
            }
        }
        if let Some(state) = self.roots.get(&root) {
            let deadlines = state
                .waiting
                .values()
                .map(|waiting| waiting.since + TIMEOUT);
            let deadline = deadlines.min().map(Monotonic::from_millis);
            let due = state.authenticator.poll_timeout(now);
            assert!(
                deadline.is_none_or(|deadline| due.is_some_and(|due| due <= deadline)),
                "a host that sleeps until {due:?} lets a request wait beyond {deadline:?}"
            );
        }
        // A request that waits makes the host tick fast.
        let vm = self.current.iter().position(|current| *current == root);
        if let (Some(vm), Some(state)) = (vm, self.roots.get(&root))
            && !state.waiting.is_empty()
            && state.next_tick > self.monotonic + LATENESS
        {
            self.schedule_tick(vm, root);
        }
    }

    fn line(&mut self, line: &Line) {
        if self.is_loud {
            println!("          {line}");
        }
        if let Line::Fetched {
            wanted, expires_at, ..
        } = line
        {
            let usable_until = *expires_at - Duration::from_secs(30);
            self.promises.on_token(wanted.as_str(), usable_until);
            if usable_until < self.now().unix + Duration::from_secs(1) {
                // Dead before the news of it is around.
                return;
            }
            let now = self.monotonic;
            for waiting in self
                .roots
                .values_mut()
                .flat_map(|root| root.waiting.values_mut())
            {
                if waiting.audience == wanted.as_str() {
                    waiting.could_be_served_at.get_or_insert(now);
                }
            }
        }
    }

    fn callout(&mut self, root: u64, id: CalloutId, request: &Request) {
        self.totals.callouts += 1;
        let asked = Asked::callout(request);
        let sent = self.sent(&asked);
        let state = self.roots.get_mut(&root).unwrap();
        state.flights.insert(id, sent);
        state.in_flight += 1;
        let reply = self.server.reply(
            &asked,
            self.unix / 1000,
            self.monotonic / 1000,
            CALLOUT_TIMEOUT,
            &mut self.rng,
        );
        let event = Event::Answer {
            root,
            callout: id.0,
            reply: self.replies.len(),
        };
        self.replies.push((reply.answer, sent));
        if self.rng.u32(..100) < self.chances.lost_callouts {
            return;
        }
        if self.rng.u32(..100) < self.chances.doubled_answers {
            let after = reply.after + self.rng.u64(..10_000);
            self.schedule(after, event.clone());
        }
        self.schedule(reply.after, event);
    }

    fn sign(&mut self, root: u64, id: SignatureId, input: &SigningInput) {
        let sent = self.sent(&Asked::signature(input));
        let after = self.rng.u64(1..SIGNING);
        let signature = id.0;
        self.schedule(
            after,
            Event::Signature {
                root,
                signature,
                sent,
            },
        );
    }

    fn sent(&mut self, asked: &Asked) -> usize {
        // Made-up hosts push derived audiences out of their slots, and then each VM fetches its own.
        let is_derived = self.chances.flood && !LITERALS.contains(&asked.what.as_str());
        let has_own_record = !is_derived || asked.what == BEARER;
        let exact = self.chances.records_are_ours() && has_own_record;
        let (now, is_first) = (self.monotonic, asked.leg.is_first());
        self.promises
            .on_callout(&asked.what, now, now + LEASE, is_first, exact)
    }

    /// What must hold after every step.
    fn check(&self) {
        for root in self.roots.values() {
            for waiting in root.waiting.values() {
                let waited = self.monotonic.saturating_sub(waiting.since);
                assert!(
                    waited <= TIMEOUT,
                    "a request waits for {waited} ms: {waiting:?}"
                );
                if self.chances.wakes_are_sure()
                    && let Some(came) = waiting.could_be_served_at
                {
                    let late = self.monotonic - came;
                    assert!(
                        late <= WAKE_DELAY + LATENESS,
                        "nobody woke {waiting:?} for {late} ms"
                    );
                }
            }
            assert!(
                root.waiting.len() <= MAX_WAITING,
                "{} requests wait",
                root.waiting.len()
            );
            assert!(root.authenticator.derived_audiences() <= 1000);
            if self.chances.lost_callouts == 0 && !self.chances.freezes && !self.is_ending {
                assert!(
                    root.in_flight <= MAX_IN_FLIGHT,
                    "{} callouts in flight",
                    root.in_flight
                );
            }
        }
        // The last two: that the credential works, and the bearer.
        let most = DERIVED_SLOTS as usize + LITERALS.len() + 2;
        assert!(
            self.store.len() <= most,
            "{} keys in the store",
            self.store.len()
        );
    }

    fn everybody_is_served(&mut self) {
        let audiences: Vec<_> = (0..LITERALS.len()).map(Target::Literal).collect();
        for vm in 0..self.current.len() {
            for target in &audiences {
                // Tokens that live for seconds can be in between two fetches.
                let is_served = self.request(vm, target) || self.chances.token_lifetime < 60;
                assert!(
                    is_served,
                    "the server is well, but VM {vm} has no token for {target:?}"
                );
            }
        }
    }

    fn add_root(&mut self, vm: usize) -> u64 {
        let id = self.next_root;
        self.next_root += 1;
        let credentials = self.chances.kind.credentials();
        let settings = Settings {
            timing: Timing {
                timeout: Duration::from_millis(TIMEOUT),
                callout_timeout: Duration::from_millis(CALLOUT_TIMEOUT),
                refresh_margin: Duration::from_secs(300),
            },
            max_waiting_requests: MAX_WAITING,
            prefetch: self.chances.prefetch,
            lateness: Duration::from_millis(LATENESS),
            joins_fetches: true,
        };
        let literals: Vec<_> = LITERALS
            .iter()
            .map(|text| Audience::parse(text).unwrap().into())
            .collect();
        let (seed, started) = (self.rng.u64(..), Monotonic::from_millis(self.monotonic));
        let root = Root {
            authenticator: Authenticator::new(
                Source::new(&credentials, &|_| None).unwrap(),
                settings,
                &literals,
                seed,
                started,
            ),
            waiting: BTreeMap::new(),
            flights: BTreeMap::new(),
            in_flight: 0,
            next_tick: 0,
        };
        self.roots.insert(id, root);
        let first = self.rng.u64(1..=LATENESS);
        self.roots.get_mut(&id).unwrap().next_tick = self.monotonic + first;
        self.schedule(
            first,
            Event::Tick {
                vm,
                root: id,
                at: self.monotonic + first,
            },
        );
        id
    }

    fn schedule(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events
            .push(Reverse((self.monotonic + after, self.sequence, event)));
    }

    fn now(&self) -> Now {
        now(self.monotonic, self.unix)
    }

    fn say(&self, what: &str) {
        if self.is_loud {
            println!("{:>9} {what}", self.monotonic - self.started);
        }
    }
}

fn now(monotonic: u64, unix: u64) -> Now {
    Now {
        monotonic: Monotonic::from_millis(monotonic),
        unix: UnixTime::from_millis(unix),
    }
}
