//! The command: its options, its errors, its end.

use std::{fs, process::Command, time::Duration};

use rsa::{
    PrivateKey,
    pkcs8::{EncodePrivateKey as _, LineEnding},
};
use serde_json::json;
use tempfile::TempDir;

use crate::process::{Emulator, output};

/// What the command says on stderr when it does not start.
fn refusal(arguments: &[&str]) -> String {
    let output = output(arguments);
    assert!(!output.status.success(), "{arguments:?} was accepted");
    assert!(
        output.stdout.is_empty(),
        "nothing listens, so no address is printed"
    );
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.matches("os error").count() <= 1,
        "it says it twice: {message}"
    );
    message
}

fn key_file(folder: &TempDir, bits: usize) -> String {
    let key = PrivateKey::new(&mut getrandom::SysRng, bits).unwrap();
    let path = folder.path().join(format!("{bits}.pem"));
    fs::write(&path, key.to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn tokens_of_a_given_key_stay_valid_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let key = key_file(&folder, 2048);
    let token = Emulator::start_with(&["--key", &key]).id_token("x");
    Emulator::start_with(&["--key", &key]).verify(&token);
}

#[test]
fn two_starts_without_a_key_have_two_keys() {
    let kid =
        || Emulator::start().get_with("/oauth2/v3/certs", &[]).json()["keys"][0]["kid"].clone();
    assert_ne!(kid(), kid());
}

#[test]
fn a_key_file_that_is_missing_or_unfit_is_named_with_what_to_do() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = folder
        .path()
        .join("missing.pem")
        .to_str()
        .unwrap()
        .to_owned();
    for (path, reason) in [
        (missing, "No such file"),
        (file("text", "hello"), "no PEM private key"),
        (
            file("pkcs1", "-----BEGIN RSA PRIVATE KEY-----\n"),
            "openssl pkcs8 -topk8",
        ),
        (
            file("public", "-----BEGIN PUBLIC KEY-----\n"),
            "only a public key",
        ),
        (
            file("cut", "-----BEGIN PRIVATE KEY-----\nAAAA\n"),
            "not an RSA private key",
        ),
        (
            key_file(&folder, 1024),
            "the key has 1024 bits, RS256 asks for 2048",
        ),
    ] {
        let message = refusal(&["--key", &path]);
        assert!(
            message.contains(&path) && message.contains(reason),
            "{message}"
        );
    }
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let emulator = Emulator::start();
    let address = emulator.url.strip_prefix("http://").unwrap();
    let message = refusal(&["--listen", address]);
    assert!(
        message.contains(&format!("cannot listen on {address}")),
        "{message}"
    );
    assert!(
        message.contains("another process listens there"),
        "{message}"
    );
}

#[test]
fn bad_values_are_refused_with_an_example() {
    for (option, value, advice) in [
        ("--listen", "localhost", "127.0.0.1:8080"),
        (
            "--service-account",
            "default",
            "login@my-project.iam.gserviceaccount.com",
        ),
        ("--token-lifetime", "0s", "90s or 1h"),
        ("--token-lifetime", "soon", "90s or 1h"),
        ("--grant", "a@x.org", "CALLER=TARGET"),
        ("--grant", "somebody=a@x.org", "CALLER=TARGET"),
        ("--clock-offset", "5", "\"90s\" or \"-5m\""),
        ("--subject-token", "", "leave the option out"),
        ("--write-key", "a@x.org=", "EMAIL=FILE"),
    ] {
        let message = refusal(&[option, value]);
        let named = message.contains(option) && message.contains(value);
        assert!(named && message.contains(advice), "{message}");
    }
    let message = refusal(&[
        "--service-account",
        "a@x.org",
        "--service-account",
        "a@x.org",
    ]);
    assert!(message.contains("a@x.org is given twice"), "{message}");
}

#[test]
fn it_listens_where_it_is_told() {
    let emulator = Emulator::start_with(&["--listen", "[::1]:0"]);
    assert!(
        emulator.url.starts_with("http://[::1]:"),
        "{}",
        emulator.url
    );
    assert_eq!(emulator.get("/").status, 200);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_with_success_even_while_a_call_hangs() {
    for signal in ["INT", "TERM"] {
        let emulator = Emulator::start();
        emulator.fault(json!({ "path": "/", "hang": true }));
        assert!(
            emulator
                .try_get("/", &[], Duration::from_millis(100))
                .is_err()
        );
        let sent = Command::new("kill")
            .args(["-s", signal, &emulator.pid()])
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(emulator.end().code(), Some(0), "SIG{signal}");
    }
}
