//! When there is no token: which message, where and what to do, and never a secret.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{Emulator, IDENTITY};
use crate::run::{invoker, nobody};

/// Runs `invoker token` against a server with this fault until it gives up.
fn failure(timeout: &str, mut fault: Value) -> String {
    let emulator = Emulator::start();
    fault["path"] = json!(IDENTITY);
    emulator.fault(fault);
    let arguments = [
        "token",
        "https://profiles.example.com",
        "--timeout",
        timeout,
    ];
    let message = invoker(emulator.host(), &arguments).failure();
    // The port is another one each time.
    message.replace(emulator.host(), "EMULATOR")
}

#[test]
fn a_refusal_is_told_at_once() {
    let start = Instant::now();
    insta::assert_snapshot!(failure("30s", json!({ "status": 403 })), @r#"
    invoker: no ID token for audience "https://profiles.example.com" from the metadata server (metadata.google.internal): status 403
      asked: http://EMULATOR (from GCE_METADATA_HOST): it answered with status 403
      to do: see that the service account may be used here (on GKE: roles/iam.workloadIdentityUser), and that GCE_METADATA_HOST, if set, names a metadata server and no proxy
    "#);
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn an_account_that_is_not_there_is_named() {
    insta::assert_snapshot!(failure("1s", json!({ "status": 404 })), @r#"
    invoker: no ID token for audience "https://profiles.example.com" from the metadata server (metadata.google.internal): no token within 1s: status 404: no service account "default" here (on GKE: the Kubernetes service account has no IAM binding)
      asked: http://EMULATOR (from GCE_METADATA_HOST): it answered with status 404
      to do: give this machine that service account, or name another one in a --config (credentials.service_account); on GKE, bind the Kubernetes service account to it
    "#);
}

#[test]
fn an_ill_server_is_called_ill() {
    insta::assert_snapshot!(failure("1s", json!({ "status": 500, "body": "secret" })), @r#"
    invoker: no ID token for audience "https://profiles.example.com" from the metadata server (metadata.google.internal): no token within 1s: status 500
      asked: http://EMULATOR (from GCE_METADATA_HOST): it answered with status 500
      to do: the server is ill or overloaded: ask again later
    "#);
}

#[test]
fn a_server_that_hangs_is_left_at_the_timeout() {
    let start = Instant::now();
    insta::assert_snapshot!(failure("1s", json!({ "hang": true })), @r#"
    invoker: no ID token for audience "https://profiles.example.com" from the metadata server (metadata.google.internal): no token within 1s: no answer within callout_timeout
      asked: http://EMULATOR (from GCE_METADATA_HOST): no answer within 800ms
      to do: see that a metadata server answers there (`invoker emulate` is one), or correct GCE_METADATA_HOST
    "#);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_is_not_there_is_told_how_to_start_one() {
    let nobody = nobody();
    let message = invoker(
        &nobody,
        &["token", "https://profiles.example.com", "--timeout", "1s"],
    )
    .failure();
    insta::assert_snapshot!(message.replace(&nobody, "NOBODY"), @r#"
    invoker: no ID token for audience "https://profiles.example.com" from the metadata server (metadata.google.internal): no token within 1s: connection refused or reset
      asked: http://NOBODY (from GCE_METADATA_HOST): cannot connect: Connection refused (os error 111)
      to do: see that a metadata server answers there (`invoker emulate` is one), or correct GCE_METADATA_HOST
    "#);
}

#[test]
fn a_connection_that_breaks_off_is_no_answer() {
    let message = failure("1s", json!({ "close": true }));
    assert!(message.contains("no HTTP answer"), "{message}");
}

#[test]
fn what_is_no_token_is_never_printed() {
    for (fault, reason) in [
        (
            json!({ "body": "<html>sign in</html>" }),
            "the answer is not a JWT (and",
        ),
        (json!({ "body": "" }), "an empty answer"),
        (json!({ "status": 204 }), "status 204"),
        (
            json!({ "body_size": 20 << 20 }),
            "an answer of more than 64 KiB",
        ),
        (
            json!({ "token": { "aud": "https://evil.example" } }),
            "\"https://evil.example\", which is not",
        ),
        (json!({ "token": { "omit": ["exp"] } }), "no \"exp\""),
        (
            json!({ "token": { "suffix": "\r\nx-evil: 1" } }),
            "not a JWT",
        ),
    ] {
        let mut fault = fault;
        fault["headers"] = json!({ "Metadata-Flavor": null });
        let message = failure("5s", fault.clone());
        assert!(message.contains(reason), "{fault}: {message}");
        assert!(!message.contains("html>"), "{message}");
    }
}

#[test]
fn a_token_without_life_is_never_printed() {
    let message = failure("1s", json!({ "token": { "lifetime": "-5s" } }));
    assert!(
        message.contains("0 s left") && message.contains("clock"),
        "{message}"
    );
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Emulator::start();
    let location = format!(
        "{}{IDENTITY}?audience=https://profiles.example.com",
        elsewhere.url
    );
    let message = failure(
        "5s",
        json!({ "status": 302, "headers": { "Location": location } }),
    );
    assert!(message.contains("status 302"), "{message}");
    assert_eq!(elsewhere.identity_calls(), [] as [Value; 0]);
}
