//! What is set and counted for each endpoint: faults, records, the clock.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    account::{CLOUD_PLATFORM, KeyHolder, LOGIN, PROVIDER, SEARCH, subject_exchange},
    process::{Answer, DEADLINE, Emulator, IDENTITY, TOKEN, claims, now},
};

/// Every endpoint that gives out tokens.
const ENDPOINTS: [&str; 7] = [
    "identity",
    "metadataToken",
    "token",
    "sts",
    "subject",
    "generateIdToken",
    "generateAccessToken",
];

/// A right call of an endpoint.
fn call(emulator: &KeyHolder, endpoint: &str) -> Answer {
    let generate = |method: &str, body: Value| {
        let path = format!("/v1/projects/-/serviceAccounts/{SEARCH}:{method}");
        let bearer = emulator.sign(&emulator.claims(json!({ "scope": CLOUD_PLATFORM })));
        emulator.post_json(&path, &body, &bearer)
    };
    match endpoint {
        "identity" => emulator.get(&format!("{IDENTITY}?audience=x")),
        "metadataToken" => emulator.get(TOKEN),
        "token" => emulator.exchange_changed(json!({ "target_audience": "x" })),
        "sts" => emulator.post_form("/v1/token", &subject_exchange("my-identity")),
        "subject" => emulator.get_with("/subject", &[("Metadata", "true")]),
        "generateIdToken" => generate(endpoint, json!({ "audience": "x" })),
        "generateAccessToken" => generate(endpoint, json!({ "scope": [CLOUD_PLATFORM] })),
        other => panic!("there is no endpoint {other}"),
    }
}

/// The expectation that of all endpoints this one alone answers so.
#[track_caller]
fn only_struck(emulator: &KeyHolder, struck: &str, status: u16) {
    for endpoint in ENDPOINTS {
        let expected = if endpoint == struck { status } else { 200 };
        assert_eq!(
            call(emulator, endpoint).status,
            expected,
            "{endpoint}, struck: {struck}"
        );
    }
}

#[test]
fn a_status_strikes_the_endpoint_that_is_named_and_no_other() {
    let emulator = KeyHolder::start();
    for endpoint in ENDPOINTS {
        emulator.fault(json!({ "endpoint": endpoint, "status": 500, "body": "<oops" }));
        only_struck(&emulator, endpoint, 500);
        assert_eq!(call(&emulator, endpoint).body, "<oops");
        emulator.delete("/_emulator/faults");
    }
}

#[test]
fn a_delay_strikes_each_endpoint() {
    let emulator = KeyHolder::start();
    for endpoint in ENDPOINTS {
        emulator.fault(json!({ "endpoint": endpoint, "delay": "200ms" }));
        let start = Instant::now();
        assert_eq!(call(&emulator, endpoint).status, 200, "{endpoint}");
        assert!(start.elapsed() >= Duration::from_millis(200), "{endpoint}");
    }
}

/// The beginning of a call whose answer is read from the connection.
fn raw(emulator: &Emulator, path: &str) -> TcpStream {
    use std::io::Write as _;
    let mut stream = TcpStream::connect(emulator.url.strip_prefix("http://").unwrap()).unwrap();
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0";
    write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\n{form}\r\n\r\n").unwrap();
    stream
}

#[test]
fn each_posting_endpoint_can_hang_or_close_the_connection() {
    use std::io::Read as _;
    let emulator = KeyHolder::start();
    let iam = |method: &str| format!("/v1/projects/-/serviceAccounts/{LOGIN}:{method}");
    for (endpoint, path) in [
        ("token", "/token".to_owned()),
        ("sts", "/v1/token".to_owned()),
        ("generateIdToken", iam("generateIdToken")),
        ("generateAccessToken", iam("generateAccessToken")),
    ] {
        emulator.fault(json!({ "endpoint": endpoint, "close": true }));
        let mut stream = raw(&emulator, &path);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{endpoint}");
        emulator.fault(json!({ "endpoint": endpoint, "hang": true }));
        let mut stream = raw(&emulator, &path);
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let hung = stream.read(&mut [0]);
        assert!(hung.is_err(), "{endpoint}: {hung:?}");
    }
}

#[test]
fn an_id_token_can_be_over_or_for_another_audience_at_each_issuer() {
    let emulator = KeyHolder::start();
    for (endpoint, field) in [("token", "id_token"), ("generateIdToken", "token")] {
        let change = json!({ "lifetime": "-10s", "aud": "evil" });
        emulator.fault(json!({ "endpoint": endpoint, "token": change }));
        let answer = call(&emulator, endpoint).json();
        let claims = claims(answer[field].as_str().unwrap());
        assert_eq!(claims["aud"], "evil", "{endpoint}");
        assert!(claims["exp"].as_i64().unwrap() < now(), "{endpoint}");
    }
}

#[test]
fn an_access_token_can_be_over_at_each_issuer() {
    let emulator = KeyHolder::start();
    for endpoint in ["sts", "generateAccessToken"] {
        emulator.fault(json!({ "endpoint": endpoint, "token": { "lifetime": "-10s" } }));
    }
    let federated = call(&emulator, "sts").json();
    let left = federated["expires_in"].as_i64().unwrap();
    assert!((-15..=-10).contains(&left), "{federated}");
    let impersonated = call(&emulator, "generateAccessToken").json();
    let end = humantime::parse_rfc3339(impersonated["expireTime"].as_str().unwrap()).unwrap();
    assert!(end < std::time::SystemTime::now());
    for token in [&federated["access_token"], &impersonated["accessToken"]] {
        let path = format!("/v1/projects/-/serviceAccounts/{SEARCH}:generateIdToken");
        let body = json!({ "audience": "x" });
        let answer = emulator.post_json(&path, &body, token.as_str().unwrap());
        assert_eq!(answer.status, 401);
    }
}

#[test]
fn a_fault_can_be_for_the_audience_that_is_posted() {
    let emulator = KeyHolder::start();
    for (endpoint, audience) in [("token", "x"), ("generateIdToken", "x"), ("sts", PROVIDER)] {
        emulator.fault(json!({ "endpoint": endpoint, "audience": "other", "status": 503 }));
        assert_eq!(call(&emulator, endpoint).status, 200, "{endpoint}");
        emulator.fault(json!({ "endpoint": endpoint, "audience": audience, "status": 503 }));
        assert_eq!(call(&emulator, endpoint).status, 503, "{endpoint}");
    }
}

#[test]
fn a_fault_for_an_endpoint_that_does_not_exist_is_refused_with_those_that_do() {
    let emulator = Emulator::start();
    let answer = emulator.post_fault(r#"{"endpoint": "idtoken", "status": 500}"#);
    assert_eq!(answer.status, 400);
    for endpoint in ENDPOINTS {
        assert!(answer.body.contains(&format!("`{endpoint}`")), "{answer:?}");
    }
}

#[test]
fn calls_are_counted_by_endpoint_and_status() {
    let emulator = KeyHolder::start();
    emulator.fault(json!({ "endpoint": "sts", "status": 503, "times": 2 }));
    for _ in 0..3 {
        call(&emulator, "sts");
    }
    call(&emulator, "generateIdToken");
    let counts = || emulator.get_with("/_emulator/endpoints", &[]).json();
    let expected = json!({
        "sts": { "calls": 3, "answers": { "200": 1, "503": 2 } },
        "generateIdToken": { "calls": 1, "answers": { "200": 1 } },
    });
    assert_eq!(counts(), expected);
    emulator.delete("/_emulator/requests");
    assert_eq!(counts(), json!({}));
}

#[test]
fn the_calls_of_an_endpoint_are_listed_with_what_was_posted_and_without_secrets() {
    let emulator = KeyHolder::start();
    emulator.post_form("/v1/token", &subject_exchange("hush"));
    call(&emulator, "token");
    call(&emulator, "generateIdToken");
    let calls = emulator.calls("sts");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0]["audience"], PROVIDER);
    assert_eq!(calls[0]["body"]["scope"], CLOUD_PLATFORM);
    assert_eq!(calls[0]["body"]["subject_token"], "[censored]");
    let calls = emulator.calls("token");
    assert_eq!(calls[0]["audience"], "x");
    assert_eq!(calls[0]["body"]["assertion"]["claims"]["iss"], LOGIN);
    assert_eq!(
        calls[0]["body"]["assertion"]["header"]["kid"],
        emulator.key_id()
    );
    let calls = emulator.calls("generateIdToken");
    assert_eq!(calls[0]["audience"], "x");
    assert_eq!(calls[0]["body"], json!({ "audience": "x" }));
    let bearer = calls[0]["headers"]["authorization"].as_str().unwrap();
    assert!(bearer.ends_with(".[signature]"), "{bearer}");
    let unknown = emulator.get_with("/_emulator/requests?endpoint=x", &[]);
    assert_eq!(unknown.status, 400);
}

#[test]
fn a_call_of_the_metadata_server_is_listed_as_ever() {
    let emulator = KeyHolder::start();
    call(&emulator, "identity");
    let fields: Vec<_> = emulator.calls("identity")[0]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let known = [
        "at", "audience", "headers", "method", "path", "query", "status",
    ];
    assert_eq!(fields, known);
}

#[test]
fn a_clock_that_is_behind_refuses_what_is_from_its_future() {
    let emulator = KeyHolder::start_with(&["--clock-offset", "-5m"]);
    let answer = emulator.exchange_changed(json!({}));
    assert_eq!(answer.json()["error"], "invalid_grant", "{answer:?}");
    let earlier = json!({ "iat": now() - 400, "exp": now() + 300 });
    assert_eq!(emulator.exchange_changed(earlier).status, 200);
    let claims = emulator.verify(&emulator.id_token("x"));
    let behind = now() - claims["iat"].as_i64().unwrap();
    assert!((295..=305).contains(&behind), "{claims}");
}

#[test]
fn the_clock_can_be_set_while_it_runs() {
    let emulator = KeyHolder::start();
    let short = || {
        emulator
            .exchange_changed(json!({ "exp": now() + 60 }))
            .status
    };
    let clock = || emulator.get_with("/_emulator/clock", &[]).json();
    let set = |offset: &str| {
        let body = json!({ "offset": offset }).to_string();
        let answer = emulator.post("/_emulator/clock", ("application/json", &body), None);
        answer.status
    };
    assert_eq!((clock(), short()), (json!({ "offset": "0s" }), 200));
    let bearer = emulator.access_token();
    assert_eq!(set("5m"), 204);
    assert_eq!((clock(), short()), (json!({ "offset": "300s" }), 400));
    let path = format!("/v1/projects/-/serviceAccounts/{SEARCH}:generateIdToken");
    let generate = || {
        let body = json!({ "audience": "x" });
        emulator.post_json(&path, &body, &bearer).status
    };
    assert_eq!(generate(), 200);
    assert_eq!(set("2h"), 204);
    assert_eq!(generate(), 401, "the access token is over by that clock");
    assert_eq!(set("soon"), 400);
    assert_eq!(emulator.delete("/_emulator/clock"), 204);
    assert_eq!((clock(), short()), (json!({ "offset": "0s" }), 200));
}
