//! The JavaScript package: the core behind a handful of calls, for what is written in `js/`.
//!
//! Here values cross the border, and nothing else happens: JavaScript brings the two clocks with each call,
//! sends the callouts, signs, and sets the timers. Every export takes `&self`, so that no object is freed in the
//! middle of a call, and none awaits.

mod exchange;
mod headers;
mod task;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use wasm_bindgen::prelude::*;

use self::headers::Headers;
use self::task::{Kind, Task};
use crate::audience::Audience;
use crate::authenticator::{Answer, CalloutId, Output, RequestId, SignatureId};
use crate::config::{Config, ConfigErrors, Host};
use crate::error::Denial;
use crate::host::url_head::UrlHead;
use crate::http::CalloutError;
use crate::invoker::{Invoker, Verdict};
use crate::source::key::SignError;
use crate::store::MemoryStore;
use crate::time::{Monotonic, Now, UnixTime};
use crate::token::Token;
use crate::wanted::{Scopes, Wanted};

#[wasm_bindgen]
extern "C" {
    /// The host's environment: a name's value, or `undefined`.
    pub type Environment;

    #[wasm_bindgen(method, structural)]
    fn get(this: &Environment, name: &str) -> Option<String>;
}

/// One `Invoker` of a program.
#[wasm_bindgen]
pub struct Core {
    config: Config,
    store: Rc<MemoryStore>,
    state: RefCell<State>,
}

struct State {
    invoker: Invoker,
    /// What came for requests that waited, until JavaScript takes it.
    results: BTreeMap<RequestId, Result<Rc<Token>, Denial>>,
}

#[wasm_bindgen]
impl Core {
    /// Takes the configuration as JSON. `seed` is any number; `monotonic` is in milliseconds.
    ///
    /// # Errors
    ///
    /// A JSON list of all that is wrong, each with its `path` and the `problem`.
    #[wasm_bindgen(constructor)]
    pub fn new(
        config: &str,
        environment: &Environment,
        seed: f64,
        monotonic: f64,
    ) -> Result<Core, JsValue> {
        let config = Config::from_json(config)
            .and_then(|config| config.for_host(Host::JavaScript))
            .map_err(|errors| problems(&errors))?;
        Self::with_store(config, Rc::default(), environment, seed, monotonic)
    }

    /// Another core over the same tokens, for one request context: it waits for nobody else's fetch, and fetches
    /// nothing that was not asked for.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; the environment can have changed.
    pub fn scoped(
        &self,
        environment: &Environment,
        seed: f64,
        monotonic: f64,
    ) -> Result<Core, JsValue> {
        let config = Config {
            prefetch: false,
            ..self.config.clone()
        };
        let store = Rc::clone(&self.store);
        let core = Self::with_store(config, store, environment, seed, monotonic)?;
        core.state.borrow_mut().invoker.set_joins_fetches(false);
        Ok(core)
    }

    fn with_store(
        config: Config,
        store: Rc<MemoryStore>,
        environment: &Environment,
        seed: f64,
        monotonic: f64,
    ) -> Result<Core, JsValue> {
        let source = config
            .source(&|name| environment.get(name))
            .map_err(|errors| problems(&errors))?;
        let started = now(monotonic, 0.0).monotonic;
        let invoker = Invoker::new(
            config.clone(),
            source,
            seed.to_bits(),
            started,
            Duration::ZERO,
        );
        let state = RefCell::new(State {
            invoker,
            results: BTreeMap::new(),
        });
        Ok(Self {
            config,
            store,
            state,
        })
    }

    /// Decides about a request, and writes into its headers. `true`: it goes on; `false`: it waits, until a task
    /// of kind `resume` names it.
    ///
    /// # Errors
    ///
    /// A denial, as JSON.
    #[expect(
        clippy::too_many_arguments,
        reason = "a struct would cost a crossing each field"
    )]
    pub fn authorize(
        &self,
        request: f64,
        is_secure: bool,
        authority: &str,
        path: &str,
        headers: &Headers,
        monotonic: f64,
        unix: f64,
    ) -> Result<bool, JsValue> {
        let now = now(monotonic, unix);
        let request = RequestId(number(request));
        let mut head = UrlHead {
            is_secure,
            authority,
            path,
            headers,
        };
        let invoker = &mut self.state.borrow_mut().invoker;
        match invoker.authorize(request, &mut head, &*self.store, now) {
            Verdict::Continue => Ok(true),
            Verdict::Pause => Ok(false),
            Verdict::Reject(denial) => Err(told(&denial)),
        }
    }

    /// Writes into the headers of a request that waited.
    ///
    /// # Errors
    ///
    /// A denial, as JSON.
    pub fn finish(&self, request: f64, headers: &Headers) -> Result<(), JsValue> {
        let request = RequestId(number(request));
        let mut state = self.state.borrow_mut();
        let Some(result) = state.results.remove(&request) else {
            return Ok(());
        };
        match state.invoker.finish(request, result, &mut &*headers) {
            Some(denial) => Err(told(&denial)),
            None => Ok(()),
        }
    }

    /// Asks for an ID token. `undefined`: it is waited for, until a task of kind `resume` names it.
    ///
    /// # Errors
    ///
    /// A denial, as JSON; a list of problems, if the audience is none.
    #[wasm_bindgen(js_name = idToken)]
    pub fn id_token(
        &self,
        request: f64,
        audience: &str,
        monotonic: f64,
        unix: f64,
    ) -> Result<Option<String>, JsValue> {
        let audience = Audience::custom(audience).map_err(|error| invalid("audience", &error))?;
        self.token(request, audience.into(), now(monotonic, unix))
    }

    /// Asks for an access token, as [`Self::id_token`] does.
    ///
    /// # Errors
    ///
    /// As there.
    #[wasm_bindgen(js_name = accessToken)]
    pub fn access_token(
        &self,
        request: f64,
        scopes: Vec<String>,
        monotonic: f64,
        unix: f64,
    ) -> Result<Option<String>, JsValue> {
        let scopes = Scopes::new(scopes).map_err(|error| invalid("scopes", &error))?;
        self.token(request, scopes.into(), now(monotonic, unix))
    }

    fn token(&self, request: f64, wanted: Wanted, now: Now) -> Result<Option<String>, JsValue> {
        let request = RequestId(number(request));
        let invoker = &mut self.state.borrow_mut().invoker;
        match invoker.request_token(request, wanted, &*self.store, now) {
            Answer::Token(token) => Ok(Some(token.secret().to_owned())),
            Answer::Denied(denial) => Err(told(&denial)),
            Answer::Pending => Ok(None),
        }
    }

    /// The token that was waited for.
    ///
    /// # Errors
    ///
    /// A denial, as JSON.
    #[wasm_bindgen(js_name = takeToken)]
    pub fn take_token(&self, request: f64) -> Result<Option<String>, JsValue> {
        let request = RequestId(number(request));
        match self.state.borrow_mut().results.remove(&request) {
            Some(Ok(token)) => Ok(Some(token.secret().to_owned())),
            Some(Err(denial)) => Err(told(&denial)),
            None => Ok(None),
        }
    }

    /// Nobody waits for this request any more.
    pub fn cancel(&self, request: f64) {
        let request = RequestId(number(request));
        let mut state = self.state.borrow_mut();
        state.results.remove(&request);
        state.invoker.handle_cancel(request);
    }

    /// What is to be done next, until there is nothing.
    pub fn poll(&self) -> Option<Task> {
        let mut state = self.state.borrow_mut();
        loop {
            let Some(output) = state.invoker.poll_output() else {
                // Nobody asks what was counted here, and it would grow.
                state.invoker.take_counts();
                return None;
            };
            let kind = match output {
                Output::Resume(request, result) => {
                    state.results.insert(request, result);
                    Kind::Resume(request)
                }
                Output::Callout(id, request) => Kind::Callout(id, request),
                Output::Sign(id, input) => Kind::Sign(id, input),
                Output::Event(event) => Kind::Event(event),
                // No other core waits: it fetches beside.
                Output::Wake(_) => continue,
            };
            return Some(kind.into());
        }
    }

    /// In how many milliseconds [`Self::on_time`] is to be called, if nothing happens before.
    #[wasm_bindgen(js_name = dueIn)]
    pub fn due_in(&self, monotonic: f64, unix: f64) -> Option<f64> {
        let now = now(monotonic, unix);
        let due = self.state.borrow().invoker.poll_timeout(now)?;
        Some(due.since(now.monotonic).as_secs_f64() * 1000.0)
    }

    /// Time has passed.
    #[wasm_bindgen(js_name = onTime)]
    pub fn on_time(&self, monotonic: f64, unix: f64) {
        let invoker = &mut self.state.borrow_mut().invoker;
        invoker.handle_timeout(&*self.store, now(monotonic, unix));
    }

    /// A callout's answer. `headers` are names and values in turn.
    pub fn answer(
        &self,
        callout: f64,
        status: u16,
        headers: Vec<String>,
        body: Vec<u8>,
        monotonic: f64,
        unix: f64,
    ) {
        let answer = exchange::response(status, headers, body);
        self.answered(callout, answer, now(monotonic, unix));
    }

    /// Why a callout has no answer: `timeout`, `too_large`, `not_given`, or else it was lost.
    #[wasm_bindgen(js_name = noAnswer)]
    pub fn no_answer(&self, callout: f64, reason: &str, monotonic: f64, unix: f64) {
        let error = exchange::error(reason);
        self.answered(callout, Err(error), now(monotonic, unix));
    }

    fn answered(
        &self,
        callout: f64,
        answer: Result<crate::http::Response, CalloutError>,
        now: Now,
    ) {
        let invoker = &mut self.state.borrow_mut().invoker;
        invoker.handle_response(CalloutId(number(callout)), answer, &*self.store, now);
    }

    /// A signature; an empty one says that the key can't sign.
    pub fn signed(&self, signature: f64, bytes: Vec<u8>, monotonic: f64, unix: f64) {
        let answer = match bytes.is_empty() {
            true => Err(SignError),
            false => Ok(bytes),
        };
        let invoker = &mut self.state.borrow_mut().invoker;
        let signature = SignatureId(number(signature));
        invoker.handle_signature(signature, answer, &*self.store, now(monotonic, unix));
    }
}

fn now(monotonic: f64, unix: f64) -> Now {
    Now {
        monotonic: Monotonic::from_millis(number(monotonic)),
        unix: UnixTime::from_millis(number(unix)),
    }
}

/// JavaScript's numbers are exact up to 2^53; below zero there is nothing here.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast of a float saturates"
)]
fn number(number: f64) -> u64 {
    number as u64
}

fn told(denial: &Denial) -> JsValue {
    let told = serde_json::json!({
        "code": denial.code.as_str(),
        "class": denial.class,
        "status": denial.status(),
        "message": denial.message,
    });
    JsValue::from_str(&told.to_string())
}

fn problems(errors: &ConfigErrors) -> JsValue {
    let told: Vec<_> = errors
        .iter()
        .map(|error| serde_json::json!({"path": error.path, "problem": error.problem}))
        .collect();
    JsValue::from_str(&serde_json::Value::from(told).to_string())
}

fn invalid(what: &str, error: &dyn std::error::Error) -> JsValue {
    let told = serde_json::json!([{"path": what, "problem": error.to_string()}]);
    JsValue::from_str(&told.to_string())
}
