//! Audiences whose tokens come by an access token that they share.

use std::time::Duration;

use serde_json::json;

use crate::audience::Audience;
use crate::authenticator::{Answer, Authenticator, CalloutId, Output, RequestId, Settings};
use crate::config::{Config, Timing};
use crate::error::Code;
use crate::http::{Request, Response};
use crate::rules::Target;
use crate::store::MemoryStore;
use crate::time::{Monotonic, Now, UnixTime};
use crate::wanted::Wanted;

const BEARER: &str = r#"{"access_token":"ya29.x","expires_in":3600}"#;

const START: UnixTime = UnixTime::from_secs(1_790_000_000);

struct Vm {
    authenticator: Authenticator,
    store: MemoryStore,
    millis: u64,
    denials: Vec<String>,
}

impl Vm {
    fn new(literals: usize) -> Self {
        let config = json!({
            "credentials": {
                "type": "impersonation", "service_account": "a@p.iam.gserviceaccount.com", "cluster": "iam",
                "source": {"type": "metadata", "cluster": "metadata"},
            },
            "audiences": [{"cluster": "x", "audience": "https://x.example.com"}],
        });
        let source = Config::from_value(config)
            .unwrap()
            .source(&|_| None)
            .unwrap();
        let settings = Settings {
            timing: Timing::default(),
            max_waiting_requests: 1000,
            prefetch: true,
            lateness: Duration::ZERO,
            joins_fetches: true,
        };
        let literals: Vec<Wanted> = (0..literals)
            .map(|n| {
                Audience::parse(&format!("https://{n}.example.com"))
                    .unwrap()
                    .into()
            })
            .collect();
        let started = Monotonic::from_millis(0);
        Self {
            authenticator: Authenticator::new(source, settings, &literals, 1, started),
            store: MemoryStore::default(),
            millis: 0,
            denials: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            monotonic: Monotonic::from_millis(self.millis),
            unix: START + Duration::from_millis(self.millis),
        }
    }

    fn ask_for_a_derived_audience(&mut self) -> Answer {
        self.ask_for("https://derived.a.run.app")
    }

    fn ask_for(&mut self, audience: &str) -> Answer {
        let wanted = Audience::parse(audience).unwrap().into();
        let now = self.now();
        let target = Target::Derived(wanted);
        self.authenticator
            .handle_request(RequestId(1), &target, &self.store, now)
    }

    /// The callouts that are to be made now.
    fn callouts(&mut self) -> Vec<(CalloutId, Request)> {
        let now = self.now();
        self.authenticator.handle_timeout(&self.store, now);
        let mut callouts = Vec::new();
        while let Some(output) = self.authenticator.poll_output() {
            match output {
                Output::Callout(id, request) => callouts.push((id, request)),
                Output::Resume(_, Err(denial)) => self.denials.push(denial.message),
                _ => {}
            }
        }
        callouts
    }

    fn answer(&mut self, id: CalloutId, status: u16, body: &str) {
        let response = Response {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        };
        let now = self.now();
        self.authenticator
            .handle_response(id, Ok(response), &self.store, now);
    }
}

#[test]
fn one_access_token_serves_all_audiences() {
    let mut vm = Vm::new(40);
    let callouts = vm.callouts();
    assert_eq!(callouts.len(), 1, "{callouts:?}");
    assert_eq!(callouts[0].1.authority, "metadata.google.internal");
    vm.answer(callouts[0].0, 200, BEARER);
    // It is nobody's token by itself.
    assert_eq!(vm.authenticator.tokens(vm.now().unix), (0, None));
    let callouts = vm.callouts();
    assert_eq!(callouts.len(), 40);
    for (_, request) in callouts {
        assert_eq!(request.authority, "iamcredentials.googleapis.com");
        assert_eq!(request.headers[0].1, "Bearer ya29.x");
    }
}

#[test]
fn what_may_pass_is_retried_as_soon_as_its_pause_ends_also_when_nothing_is_kept_fresh() {
    let mut vm = Vm::new(0);
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Pending));
    let (id, _) = vm.callouts().remove(0);
    vm.answer(id, 500, "");
    let retried = (1..=10).find(|_| {
        vm.millis += 100;
        !vm.callouts().is_empty()
    });
    // The first pause is 100 ms.
    assert_eq!(retried, Some(1));
    assert!(vm.denials.is_empty());
}

#[test]
fn what_needs_a_person_fails_who_waits_at_once_and_names_its_leg() {
    let mut vm = Vm::new(0);
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Pending));
    let (id, _) = vm.callouts().remove(0);
    vm.answer(id, 403, "");
    vm.callouts();
    insta::assert_snapshot!(vm.denials.join("\n"), @r#"no ID token for audience "https://derived.a.run.app" from iamcredentials.googleapis.com for a@p.iam.gserviceaccount.com (cluster "iam"): metadata server: status 403"#);
    // Until the next attempt, the next one learns it at once.
    vm.millis += 1000;
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Denied(_)));
}

#[test]
fn who_waits_for_the_access_token_looks_again_after_a_second() {
    let mut vm = Vm::new(0);
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Pending));
    vm.callouts();
    let next = vm.authenticator.poll_timeout(vm.now());
    assert_eq!(next, Some(vm.now().monotonic + Duration::from_secs(1)));
}

#[test]
fn a_request_whose_time_is_up_hears_what_the_bearer_lacks() {
    let mut vm = Vm::new(0);
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Pending));
    for _ in 0..60 {
        if let Some((id, _)) = vm.callouts().first() {
            vm.answer(*id, 503, "");
        }
        vm.millis += 100;
    }
    insta::assert_snapshot!(vm.denials.join("\n"), @r#"no ID token for audience "https://derived.a.run.app" from iamcredentials.googleapis.com for a@p.iam.gserviceaccount.com (cluster "iam"): no token within 5s: metadata server: connection refused or reset"#);
}

#[test]
fn a_bearer_that_iam_refuses_is_fetched_anew() {
    let mut vm = Vm::new(1);
    let (id, _) = vm.callouts().remove(0);
    vm.answer(id, 200, BEARER);
    // Fetched long enough ago to have been revoked since.
    let (id, _) = vm.callouts().remove(0);
    vm.millis += 11_000;
    vm.answer(id, 401, "");
    let mut asked = Vec::new();
    for _ in 0..10 {
        vm.millis += 100;
        asked.extend(
            vm.callouts()
                .into_iter()
                .map(|(_, request)| request.authority),
        );
    }
    assert_eq!(asked, ["metadata.google.internal"]);
}

/// An ID token in IAM's answer, with so many seconds to live from the start.
fn id_token(lifetime: u64) -> String {
    use base64::Engine as _;
    let exp = START.as_secs() + lifetime;
    let claims = json!({"aud": "https://derived.a.run.app", "exp": exp}).to_string();
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
    json!({"token": format!("e30.{payload}.c2ln")}).to_string()
}

/// With an ID token that lives for 1000 s, from a bearer that lives for a minute.
fn vm_with_a_token() -> Vm {
    let mut vm = Vm::new(0);
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Pending));
    let (id, _) = vm.callouts().remove(0);
    vm.answer(id, 200, r#"{"access_token":"ya29.x","expires_in":60}"#);
    let (id, _) = vm.callouts().remove(0);
    vm.answer(id, 200, &id_token(1000));
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Token(_)));
    vm
}

#[test]
fn a_request_can_be_what_finds_a_refresh_due() {
    let mut vm = vm_with_a_token();
    let target = Target::Derived(Audience::parse("https://derived.a.run.app").unwrap().into());
    assert!(vm.authenticator.cached(&target, vm.now().unix).is_some());
    vm.callouts();
    // As after a long sleep: no tick has been there before it.
    vm.millis = 700_000;
    assert!(vm.authenticator.cached(&target, vm.now().unix).is_none());
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Token(_)));
    let outputs: Vec<_> = std::iter::from_fn(|| vm.authenticator.poll_output()).collect();
    assert!(matches!(outputs[..], [Output::Callout(..)]), "{outputs:?}");
}

#[test]
fn who_leaves_makes_room_for_another() {
    let mut vm = Vm::new(0);
    vm.authenticator.settings.max_waiting_requests = 1;
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Pending));
    let Answer::Denied(denial) = vm.ask_for_a_derived_audience() else {
        panic!("a second one waits");
    };
    assert_eq!(denial.code, Code::TooManyWaiting);
    vm.authenticator.handle_cancel(RequestId(1));
    assert!(matches!(vm.ask_for_a_derived_audience(), Answer::Pending));
}

#[test]
fn no_more_audiences_wait_than_are_remembered() {
    let mut vm = Vm::new(0);
    vm.authenticator.settings.max_waiting_requests = 5000;
    for n in 0..1000 {
        let answer = vm.ask_for(&format!("https://{n}.a.run.app"));
        assert!(matches!(answer, Answer::Pending));
    }
    assert_eq!(vm.authenticator.derived_audiences(), 1000);
    let Answer::Denied(denial) = vm.ask_for("https://1000.a.run.app") else {
        panic!("one more waits");
    };
    insta::assert_snapshot!(denial.message, @r#"no ID token for audience "https://1000.a.run.app" from iamcredentials.googleapis.com for a@p.iam.gserviceaccount.com (cluster "iam"): tokens for 1000 other audiences are on their way already"#);
    // Who waits for the same as another takes no place.
    assert!(matches!(vm.ask_for("https://0.a.run.app"), Answer::Pending));
    // Once nothing is on its way, the one that was used longest ago makes room.
    let (id, _) = vm.callouts().remove(0);
    vm.answer(id, 403, "");
    vm.callouts();
    let Answer::Denied(denial) = vm.ask_for("https://1000.a.run.app") else {
        panic!("the server refuses");
    };
    assert!(
        denial.message.ends_with("metadata server: status 403"),
        "{}",
        denial.message
    );
}

#[test]
fn a_refresh_fetches_a_bearer_that_has_ended_meanwhile() {
    let mut vm = vm_with_a_token();
    // Nothing else uses the bearer, which therefore ends; the ID token is due after two thirds of its life.
    vm.millis = 600_000;
    assert!(vm.callouts().is_empty());
    vm.millis = 700_000;
    let callouts = vm.callouts();
    assert_eq!(callouts.len(), 1, "{callouts:?}");
    assert_eq!(callouts[0].1.authority, "metadata.google.internal");
}
