//! What an operator writes: any text is a valid configuration or a list of problems, and a valid one works.

#![no_main]

use invoker::config::{Config, Host};
use invoker::explain::{Question, explain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let config = match Config::from_json(text) {
        Ok(config) => config,
        Err(errors) => {
            assert!(
                errors.iter().next().is_some(),
                "refused, and it does not say why"
            );
            for error in errors.iter() {
                assert!(
                    !error.problem.is_empty(),
                    "a problem without words at {:?}",
                    error.path
                );
            }
            return;
        }
    };
    let value: serde_json::Value =
        serde_json::from_str(text).expect("what was a configuration is JSON");
    Config::from_value(value).expect("the same as a value");
    for host in [Host::Envoy, Host::Wasi, Host::WasiClient, Host::JavaScript] {
        let _ = config.clone().for_host(host);
    }
    let question = Question {
        cluster: Some("profiles".into()),
        authority: Some("profiles-abc-uc.a.run.app".into()),
        path: Some("/users/1?a=b".into()),
    };
    let environment = |_: &str| Some(text.to_owned());
    let _ = serde_json::to_string(&explain(&config, &question, &environment))
        .expect("an answer is JSON");
    let _ = config.source(&environment);
});
