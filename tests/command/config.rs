//! The configuration file that both commands take.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::process::{Emulator, IDENTITY};
use crate::run::invoker;

const TOKEN: [&str; 3] = ["token", "https://profiles.example.com", "--config"];

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn with<'a>(arguments: &[&'a str], file: &'a Path) -> Vec<&'a str> {
    [arguments, &[file.to_str().unwrap()]].concat()
}

#[test]
fn its_service_account_is_asked_and_its_cluster_is_not_needed() {
    let accounts = [
        "--service-account",
        "first@x.example",
        "--service-account",
        "second@x.example",
    ];
    let emulator = Emulator::start_with(&accounts);
    let config = file(
        "account.yaml",
        "credentials: {type: metadata, cluster: metadata, service_account: second@x.example}\n\
         audiences: [{cluster: '*', audience: 'https://a.example.com'}]\n",
    );
    let printed = invoker(emulator.host(), &with(&TOKEN, &config)).success();
    assert_eq!(
        emulator.verify(printed.trim_end())["email"],
        "second@x.example"
    );
}

#[test]
fn its_timeout_holds() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": IDENTITY, "status": 500 }));
    let config = file(
        "timeout.json",
        r#"{"credentials": {"type": "metadata"}, "timeout": "700ms",
            "audiences": [{"authority": "a.example.com", "audience": "https://a.example.com"}]}"#,
    );
    let message = invoker(emulator.host(), &with(&TOKEN, &config)).failure();
    assert!(message.contains("no token within 700ms"), "{message}");
    let arguments = [&TOKEN[..2], &["--timeout", "300ms", "--config"]].concat();
    let message = invoker(emulator.host(), &with(&arguments, &config)).failure();
    assert!(message.contains("no token within 300ms"), "{message}");
}

#[test]
fn what_is_wrong_in_it_is_told_as_check_tells_it() {
    let emulator = Emulator::start();
    let config = file(
        "wrong.yaml",
        "credentials: {type: metadata, cluster: ' '}\naudiences: [{cluster: a, audience: a.run.app}]\n",
    );
    for arguments in [&TOKEN[..], &["wait", "--config"]] {
        let message = invoker(emulator.host(), &with(arguments, &config)).failure();
        for part in [
            "wrong.yaml is not valid",
            "credentials.cluster",
            "audiences[0].audience",
        ] {
            assert!(message.contains(part), "{message}");
        }
        let missing = PathBuf::from("no-such-file.yaml");
        let message = invoker(emulator.host(), &with(arguments, &missing)).failure();
        assert!(message.contains("no-such-file.yaml"), "{message}");
    }
    assert!(emulator.identity_calls().is_empty());
}

#[test]
fn wait_takes_its_first_literal_audience_or_one_that_nobody_has() {
    let emulator = Emulator::start();
    let with_literal = file(
        "literal.yaml",
        "credentials: {type: metadata, cluster: metadata}\n\
         audiences:\n\
         - {cluster: b, authority: '*.a.run.app', audience: 'https://{authority}'}\n\
         - {cluster: c, audience: 'https://literal.example.com'}\n",
    );
    let without = file(
        "derived.yaml",
        "credentials: {type: metadata}\n\
         audiences: [{cluster: b, authority: '*.a.run.app', audience: 'https://{authority}'}]\n",
    );
    invoker(emulator.host(), &with(&["wait", "--config"], &with_literal)).success();
    invoker(emulator.host(), &with(&["wait", "--config"], &without)).success();
    invoker(emulator.host(), &["wait"]).success();
    let asked: Vec<_> = emulator
        .identity_calls()
        .into_iter()
        .map(|call| call["audience"].clone())
        .collect();
    let nobodys = "https://invoker.invalid";
    assert_eq!(asked, ["https://literal.example.com", nobodys, nobodys]);
}
