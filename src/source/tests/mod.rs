//! Each kind's exchanges, to the letter: what is sent, and what the answers mean.

pub(crate) mod federation;
mod impersonation;
pub(crate) mod key_file;
mod outline;
mod secrets;
mod service_account;
mod user;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Answer, Leg, Order, Source, Standing, Step};
use crate::audience::Audience;
use crate::config::{Config, Host};
use crate::error::{Class, FetchError};
use crate::http::{CalloutError, Request, Response};
use crate::time::{Monotonic, Now, UnixTime};
use crate::token::Token;
use crate::url::Scheme;
use crate::wanted::{Scopes, Wanted};

const AUDIENCE: &str = "https://profiles.example.com/?a=b&c";
pub(crate) const ACCOUNT: &str = "caller@project.iam.gserviceaccount.com";
const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

fn source(credentials: Value) -> Source {
    config(credentials).source(&|_| None).unwrap()
}

fn config(credentials: Value) -> Config {
    let config = json!({
        "credentials": credentials,
        "audiences": [{"cluster": "x", "audience": "https://x.example.com"}],
    });
    Config::from_value(config).unwrap_or_else(|errors| panic!("{errors}"))
}

fn id_token() -> Wanted {
    Audience::custom(AUDIENCE).unwrap().into()
}

fn access_token() -> Wanted {
    Scopes::new(["https://s/a", "https://s/b"]).unwrap().into()
}

fn order(wanted: &Wanted) -> Order<'_> {
    Order {
        wanted,
        bearer: None,
        timeout: Duration::from_secs(4),
        standing: Standing {
            age: Duration::from_secs(3600),
            has_succeeded: true,
            bearer_age: None,
        },
        now: Now {
            monotonic: Monotonic::from_millis(0),
            unix: NOW,
        },
    }
}

fn bearer() -> Token {
    Token::access_token("ya29.bearer", NOW + Duration::from_secs(3600)).unwrap()
}

fn call(step: Step) -> (Request, Leg) {
    match step {
        Step::Call(request, leg) => (request, leg),
        other => panic!("no callout: {other:?}"),
    }
}

fn done(step: Step) -> Result<Token, FetchError> {
    match step {
        Step::Done(result) => result.map(|granted| granted.token),
        other => panic!("more to do: {other:?}"),
    }
}

fn answer(status: u16, body: &str) -> Answer {
    Answer::Response(Ok(Response {
        status,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    }))
}

fn lost() -> Answer {
    Answer::Response(Err(CalloutError::Unreachable))
}

/// A line that says all about a failure.
fn told(step: Step) -> String {
    let error = done(step).unwrap_err();
    let class = match error.class {
        Class::Transient => "may pass",
        Class::Permanent => "needs a person",
    };
    format!("{} ({class}): {}", error.code.as_str(), error.reason)
}

/// A request as it goes over the wire.
fn wire(request: &Request) -> String {
    let head = format!(
        "{} {}://{}{} through {:?}",
        request.method,
        request.scheme.as_str(),
        request.authority,
        request.path,
        request.cluster
    );
    let headers = request.headers.iter();
    let headers = headers.map(|(name, value)| format!("{name}: {value}"));
    let body = String::from_utf8(request.body.clone()).unwrap();
    let lines: Vec<_> = [head].into_iter().chain(headers).chain([body]).collect();
    lines.join("\n").trim_end().to_owned()
}

fn jwt(audience: &str) -> String {
    let claims = json!({"aud": audience, "exp": NOW.as_secs() + 3600, "email": ACCOUNT});
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[test]
fn each_callout_without_an_answer_says_why_and_whether_it_may_pass() {
    let named = source(json!({"type": "metadata", "cluster": "metadata"}));
    let config = json!({"credentials": {"type": "metadata"}, "audiences": []});
    let config = Config::from_value(config).and_then(|it| it.for_host(Host::JavaScript));
    let unnamed = config.unwrap().source(&|_| None).unwrap();
    assert_eq!(
        named.server(),
        r#"the metadata server (cluster "metadata")"#
    );
    assert_eq!(
        unnamed.server(),
        "the metadata server (metadata.google.internal)"
    );
    let wanted = id_token();
    let told = |source: &Source, age, error| {
        let mut order = order(&wanted);
        order.standing.age = Duration::from_secs(age);
        let (_, leg) = call(source.begin(&order));
        told(source.proceed(&leg, Answer::Response(Err(error)), &order))
    };
    let lines = [
        told(&named, 3600, CalloutError::Timeout),
        told(&named, 3600, CalloutError::Unreachable),
        told(&named, 3600, CalloutError::Unavailable),
        told(&unnamed, 3600, CalloutError::Unavailable),
        told(&named, 29, CalloutError::UnknownCluster),
        told(&named, 30, CalloutError::UnknownCluster),
        told(&named, 3600, CalloutError::TooLarge),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r#"
    callout_timeout (may pass): no answer within callout_timeout
    callout_unreachable (may pass): connection refused or reset
    callout_unavailable (may pass): cluster "metadata" has no healthy endpoint, or its circuit breaker is open
    callout_unavailable (may pass): the request could not be sent
    unknown_cluster (may pass): there is no cluster "metadata"
    unknown_cluster (needs a person): there is no cluster "metadata"
    malformed_answer (needs a person): an answer of more than 64 KiB
    "#);
}
