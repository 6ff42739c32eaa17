//! Credential files, in the configuration, in the environment and in a file: what is wrong with one is told without the key that is in it.

#![no_main]

use std::sync::LazyLock;

use invoker::config::{Config, ConfigErrors, Credentials};
use invoker::source::Source;
use libfuzzer_sys::fuzz_target;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use serde_json::{Value, json};

/// Stands for the key in an input, so that good files are within a fuzzer's reach.
const PLACE: &str = "\"PEM\"";

static PEM: LazyLock<String> = LazyLock::new(|| {
    let key = rsa::PrivateKey::new(&mut getrandom::SysRng, 2048).expect("a key can be made");
    key.to_pkcs8_pem(LineEnding::LF)
        .expect("a key has a form")
        .to_string()
});

fuzz_target!(|text: &str| {
    let text = text.replace(PLACE, &Value::from(&**PEM).to_string());
    let file = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(&*text));
    let credentials = [
        json!({"type": "service_account_key", "cluster": "oauth2", "key": file}),
        json!({"type": "service_account_key", "cluster": "oauth2", "key": text}),
        json!({"type": "service_account_key", "cluster": "oauth2", "key": {"env": "FILE"}}),
        json!({"type": "federation", "cluster": "sts", "subject_cluster": "subject", "iam_cluster": "iam", "config": file}),
        json!({"type": "federation", "cluster": "sts", "subject_cluster": "subject", "iam_cluster": "iam", "config": {"env": "FILE"}}),
    ];
    let environment = |_: &str| Some(text.clone());
    for credentials in credentials {
        let config = json!({"credentials": credentials, "audiences": [{"cluster": "x", "audience": "https://x.example.com"}]});
        match Config::from_value(config) {
            Ok(config) => {
                assert!(
                    !format!("{config:?}").contains(key_line()),
                    "Debug shows the key"
                );
                match config.source(&environment) {
                    Ok(source) => assert!(!source.identity().contains(key_line())),
                    Err(errors) => keeps_the_key(&errors),
                }
            }
            Err(errors) => keeps_the_key(&errors),
        }
    }
    match Credentials::from_file(&text) {
        Ok(credentials) => {
            let _ = Source::new(&credentials, &environment);
        }
        Err(errors) => keeps_the_key(&errors),
    }
});

/// A line from the middle of the key.
fn key_line() -> &'static str {
    PEM.lines().nth(5).expect("a key has more lines")
}

fn keeps_the_key(errors: &ConfigErrors) {
    let text = errors.to_string();
    assert!(!text.is_empty() && !text.contains(key_line()), "{text}");
}
