//! The whole core behind one type: rules decide, the authenticator brings tokens, headers are written.
//!
//! A host asks in up to three steps, the cheapest first, so that a request that is served from the
//! cache costs one look-up and one header:
//!
//! 1. [`Invoker::begin`]: what do the rules say? Needs no clock.
//! 2. [`Invoker::authorize_cached`]: is there a token at hand? Needs the wall clock.
//! 3. [`Invoker::handle_request`]: everything else.
//!
//! Where a clock costs nothing, [`Invoker::authorize`] takes all three.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::authenticator::{
    Answer, Authenticator, CalloutId, Event, Output, RequestId, Settings, SignatureId,
};
use crate::config::{Config, ErrorDetails, FailureMode};
use crate::credential_headers::{HeaderPolicy, Headers};
use crate::error::{Class, Code, Denial};
use crate::http::{CalloutError, Response};
use crate::rules::{Decision, RequestHead, RuleSource, Rules, Target};
use crate::source::key::SignError;
use crate::source::{NO_ACCOUNT, Source};
use crate::store::{PeerId, SharedStore};
use crate::time::{Monotonic, Now, UnixTime};
use crate::token::Token;
use crate::wanted::Wanted;

/// What the rules say about a request.
#[derive(Debug)]
pub enum Plan {
    /// It goes on; its headers are as they should be.
    Continue(Passed),
    /// It needs a token.
    Attach(Attachment),
    /// It can't have one: answer it with this.
    Deny(Denial),
}

/// Why a request goes on without a token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// No rule covers it.
    NoRule,
    /// A rule or an annotation excepts it.
    Bypass(RuleSource),
    /// `existing_credential: keep`, and it brings its own.
    Kept,
    /// It can't have a token, and `failure_mode: allow` sends it on.
    Allowed,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("no rule matches"),
            Self::Bypass(source) => write!(f, "{source} excepts it"),
            Self::Kept => f.write_str("it brings its own credential"),
            Self::Allowed => f.write_str("there is none, and failure_mode sends it on"),
        }
    }
}

/// A token for whom, and how it is written.
#[derive(Debug)]
pub struct Attachment {
    /// Who decided so.
    pub source: RuleSource,
    target: Target,
    policy: Arc<HeaderPolicy>,
}

/// What happens to a request that needs a token.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on; its headers are as they should be.
    Continue,
    /// It waits; [`Output::Resume`] names it later, for [`Invoker::finish`].
    Pause,
    /// Answer it with this.
    Reject(Denial),
}

/// What was counted since the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that got a token, or kept their own.
    pub authorized: u64,
    /// Requests that no rule covers, or that one excepts.
    pub bypassed: u64,
    /// Requests that should have had a token and got none, also those that `allow` sent on.
    pub denied: u64,
    /// Requests that had to wait, whatever came of it.
    pub waited: u64,
    /// Fetches that brought a token.
    pub fetches_succeeded: u64,
    /// Fetches that brought none.
    pub fetches_failed: u64,
    /// How long each fetch took.
    pub fetch_durations: Vec<Duration>,
}

/// The core, configured.
#[derive(Debug)]
pub struct Invoker {
    rules: Rules,
    authenticator: Authenticator,
    failure_mode: FailureMode,
    error_details: ErrorDetails,
    allow_insecure: bool,
    /// How the requests that wait get their token.
    pending: BTreeMap<RequestId, Arc<HeaderPolicy>>,
    counts: Counts,
}

impl Invoker {
    /// `source` is the configuration's own ([`Config::source`]); `seed`, `started` and `lateness` as [`Authenticator::new`] and [`Settings`] want them.
    pub fn new(
        config: Config,
        source: Source,
        seed: u64,
        started: Monotonic,
        lateness: Duration,
    ) -> Self {
        let settings = Settings {
            timing: config.timing,
            max_waiting_requests: config.max_waiting_requests,
            prefetch: config.prefetch,
            lateness: lateness.min(config.timing.timeout / 2),
            joins_fetches: true,
        };
        let literals = config.rules.literals();
        Self {
            authenticator: Authenticator::new(source, settings, literals, seed, started),
            rules: config.rules,
            failure_mode: config.failure_mode,
            error_details: config.error_details,
            allow_insecure: config.allow_insecure,
            pending: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Decides by the rules, and does to the headers what needs no token.
    pub fn begin(
        &mut self,
        request: &mut (impl RequestHead + Headers),
        now: impl Fn() -> Now,
    ) -> Plan {
        let decision = self.rules.decide(request);
        let written = self.rules.headers_written();
        match decision {
            Decision::NoRule => {
                written.remove_after_redirect(None, request);
                self.counts.bypassed += 1;
                Plan::Continue(Passed::NoRule)
            }
            Decision::Bypass { source } => {
                written.remove_after_redirect(None, request);
                self.counts.bypassed += 1;
                Plan::Continue(Passed::Bypass(source))
            }
            Decision::Attach {
                source,
                target,
                policy,
            } => {
                written.remove_after_redirect(Some(&policy), request);
                if policy.keeps(request) {
                    self.counts.authorized += 1;
                    return Plan::Continue(Passed::Kept);
                }
                if !self.allow_insecure && request.is_in_the_clear() {
                    return Plan::Deny(self.insecure(source, now()));
                }
                Plan::Attach(Attachment {
                    source,
                    target,
                    policy,
                })
            }
            Decision::InvalidAnnotation {
                source,
                problem,
                policy,
            } => {
                written.remove_after_redirect(Some(&policy), request);
                let message = format!("no ID token: {source} {problem}");
                let denial = Denial {
                    class: Class::Permanent,
                    code: Code::InvalidAnnotation,
                    message,
                };
                self.authenticator.note_denial(&denial, now());
                match self.withhold(&policy, denial, request) {
                    Some(denial) => Plan::Deny(denial),
                    None => Plan::Continue(Passed::Allowed),
                }
            }
        }
    }

    /// The hit path: attaches a token that is at hand and not due for a refresh. `false` if there is
    /// more to do; [`Self::handle_request`] does it.
    pub fn authorize_cached(
        &mut self,
        attachment: &Attachment,
        now: UnixTime,
        headers: &mut impl Headers,
    ) -> bool {
        let Some(token) = self.authenticator.cached(&attachment.target, now) else {
            return false;
        };
        attachment
            .policy
            .authorize(headers, token.authorization(), token.replaced());
        self.counts.authorized += 1;
        true
    }

    /// A request that needs a token which may have to be fetched.
    pub fn handle_request(
        &mut self,
        request: RequestId,
        attachment: Attachment,
        headers: &mut impl Headers,
        store: &dyn SharedStore,
        now: Now,
    ) -> Verdict {
        match self
            .authenticator
            .handle_request(request, &attachment.target, store, now)
        {
            Answer::Token(token) => {
                attachment
                    .policy
                    .authorize(headers, token.authorization(), token.replaced());
                self.counts.authorized += 1;
                Verdict::Continue
            }
            Answer::Denied(denial) => match self.withhold(&attachment.policy, denial, headers) {
                Some(denial) => Verdict::Reject(denial),
                None => Verdict::Continue,
            },
            Answer::Pending => {
                self.counts.waited += 1;
                self.pending.insert(request, attachment.policy);
                Verdict::Pause
            }
        }
    }

    /// All three steps in one.
    pub fn authorize(
        &mut self,
        request: RequestId,
        head: &mut (impl RequestHead + Headers),
        store: &dyn SharedStore,
        now: Now,
    ) -> Verdict {
        match self.begin(head, || now) {
            Plan::Continue(_) => Verdict::Continue,
            Plan::Deny(denial) => Verdict::Reject(denial),
            Plan::Attach(attachment) if self.authorize_cached(&attachment, now.unix, head) => {
                Verdict::Continue
            }
            Plan::Attach(attachment) => self.handle_request(request, attachment, head, store, now),
        }
    }

    /// Carries out an [`Output::Resume`] on the request's headers. With a denial, answer the request
    /// with it; else send it on.
    pub fn finish(
        &mut self,
        request: RequestId,
        result: Result<Rc<Token>, Denial>,
        headers: &mut impl Headers,
    ) -> Option<Denial> {
        let policy = self.pending.remove(&request)?;
        match result {
            Ok(token) => {
                policy.authorize(headers, token.authorization(), token.replaced());
                self.counts.authorized += 1;
                None
            }
            Err(denial) => self.withhold(&policy, denial, headers),
        }
    }

    /// Asks for a token itself, whatever the rules say of requests. While it is pending,
    /// [`Output::Resume`] brings it, and [`Self::handle_cancel`] takes the question back.
    pub fn request_token(
        &mut self,
        request: RequestId,
        wanted: Wanted,
        store: &dyn SharedStore,
        now: Now,
    ) -> Answer {
        if let (Wanted::IdToken(_), false) = (&wanted, self.authenticator.gives_id_tokens()) {
            return Answer::Denied(Denial {
                class: Class::Permanent,
                code: Code::Refused,
                message: format!("no {wanted}: the credential file {NO_ACCOUNT}"),
            });
        }
        let target = self.rules.target(wanted);
        self.authenticator
            .handle_request(request, &target, store, now)
    }

    /// Whether this request waits here.
    pub fn is_pending(&self, request: RequestId) -> bool {
        self.pending.contains_key(&request)
    }

    /// A pending request whose client left, also when its [`Output::Resume`] is on the way.
    pub fn handle_cancel(&mut self, request: RequestId) {
        self.pending.remove(&request);
        self.authenticator.handle_cancel(request);
    }

    /// See [`Authenticator::handle_response`].
    pub fn handle_response(
        &mut self,
        callout: CalloutId,
        answer: Result<Response, CalloutError>,
        store: &dyn SharedStore,
        now: Now,
    ) {
        self.authenticator
            .handle_response(callout, answer, store, now);
    }

    /// See [`Authenticator::handle_signature`].
    pub fn handle_signature(
        &mut self,
        signature: SignatureId,
        answer: Result<Vec<u8>, SignError>,
        store: &dyn SharedStore,
        now: Now,
    ) {
        self.authenticator
            .handle_signature(signature, answer, store, now);
    }

    /// See [`Authenticator::handle_wake`].
    pub fn handle_wake(&mut self, store: &dyn SharedStore, now: Now) {
        self.authenticator.handle_wake(store, now);
    }

    /// See [`Authenticator::handle_timeout`].
    pub fn handle_timeout(&mut self, store: &dyn SharedStore, now: Now) {
        self.authenticator.handle_timeout(store, now);
    }

    /// See [`Authenticator::poll_timeout`].
    pub fn poll_timeout(&self, now: Now) -> Option<Monotonic> {
        self.authenticator.poll_timeout(now)
    }

    /// See [`Authenticator::poll_output`].
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.authenticator.poll_output()?;
        if let Output::Event(event) = &output {
            self.count(event);
        }
        Some(output)
    }

    /// See [`Authenticator::set_peer`].
    pub fn set_peer(&mut self, peer: Option<PeerId>) {
        self.authenticator.set_peer(peer);
    }

    /// See [`Settings::joins_fetches`].
    pub fn set_joins_fetches(&mut self, joins_fetches: bool) {
        self.authenticator.set_joins_fetches(joins_fetches);
    }

    /// See [`Authenticator::tokens`].
    pub fn tokens(&self, now: UnixTime) -> (usize, Option<UnixTime>) {
        self.authenticator.tokens(now)
    }

    /// Whether any request waits here.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The requests that wait here, for a host that must find out by itself who left.
    pub fn pending_requests(&self) -> Vec<RequestId> {
        self.pending.keys().copied().collect()
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// The body of a denial: what the configuration lets callers know. Without a line break at its end,
    /// as Envoy's own, since gRPC clients get it as their message.
    pub fn body(&self, denial: &Denial) -> String {
        match self.error_details {
            ErrorDetails::Body => {
                format!("invoker: {}: {}", denial.code.as_str(), denial.message)
            }
            ErrorDetails::Log => format!("invoker: {}", denial.code.as_str()),
        }
    }

    /// Whatever `failure_mode` says: without its token the request would go on as if nothing were wrong.
    fn insecure(&mut self, source: RuleSource, now: Now) -> Denial {
        let denial = Denial {
            class: Class::Permanent,
            code: Code::InsecureUrl,
            message: format!(
                "no token: {source} covers a URL that begins with \"http://\", and its token would be read on the way; \
                 write \"https://\", or set allow_insecure: true"
            ),
        };
        self.counts.denied += 1;
        self.authenticator.note_denial(&denial, now);
        denial
    }

    /// What `failure_mode` says about a request without a token: `None` sends it on.
    fn withhold(
        &mut self,
        policy: &HeaderPolicy,
        denial: Denial,
        headers: &mut impl Headers,
    ) -> Option<Denial> {
        self.counts.denied += 1;
        match self.failure_mode {
            FailureMode::Deny => Some(denial),
            FailureMode::Allow => {
                policy.allow_without_token(headers);
                None
            }
        }
    }

    fn count(&mut self, event: &Event) {
        match event {
            Event::Fetched { took, .. } => {
                self.counts.fetches_succeeded += 1;
                self.counts.fetch_durations.push(*took);
            }
            Event::FetchFailed { took, .. } => {
                self.counts.fetches_failed += 1;
                self.counts.fetch_durations.push(*took);
            }
            Event::Remark(_) | Event::Denied { .. } => {}
        }
    }
}

#[cfg(test)]
#[path = "invoker_tests.rs"]
mod tests;
