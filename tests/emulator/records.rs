//! What `/_emulator/requests` tells about the calls.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process::{DEADLINE, Emulator, IDENTITY, now};

fn requests(emulator: &Emulator) -> Vec<Value> {
    let answer = emulator.get_with("/_emulator/requests", &[]);
    answer.json().as_array().unwrap().clone()
}

#[test]
fn a_call_is_listed_with_what_was_asked_and_answered() {
    let emulator = Emulator::start();
    let query = "audience=https%3A%2F%2Fa%26b&format=full";
    emulator.get_with(
        &format!("{IDENTITY}?{query}"),
        &[("Metadata-Flavor", "Google"), ("X-Test", "1")],
    );
    emulator.get_with(IDENTITY, &[]);
    let calls = requests(&emulator);
    assert_eq!(calls.len(), 2, "the control calls are not listed");
    let call = &calls[0];
    assert_eq!(call["method"], "GET");
    assert_eq!(call["path"], IDENTITY);
    assert_eq!(call["query"], query);
    assert_eq!(call["audience"], "https://a&b");
    assert_eq!(call["status"], 200);
    assert_eq!(call["headers"]["x-test"], "1");
    assert!((call["at"].as_f64().unwrap() - now() as f64).abs() < DEADLINE.as_secs_f64());
    assert_eq!(
        (&calls[1]["status"], &calls[1]["audience"]),
        (&json!(403), &Value::Null)
    );
}

#[test]
fn the_list_can_be_emptied() {
    let emulator = Emulator::start();
    emulator.get("/");
    assert_eq!(emulator.delete("/_emulator/requests"), 204);
    assert!(requests(&emulator).is_empty());
    emulator.get("/");
    assert_eq!(requests(&emulator).len(), 1);
}

#[test]
fn a_call_that_hangs_is_listed_while_it_hangs() {
    let emulator = Emulator::start();
    emulator.fault(json!({ "path": "/", "hang": true }));
    std::thread::scope(|scope| {
        scope.spawn(|| emulator.try_get("/", &[], Duration::from_secs(2)));
        let start = Instant::now();
        let calls = loop {
            let calls = requests(&emulator);
            if !calls.is_empty() || start.elapsed() > DEADLINE {
                break calls;
            }
        };
        assert_eq!(
            (&calls[0]["path"], &calls[0]["status"]),
            (&json!("/"), &Value::Null)
        );
    });
}
