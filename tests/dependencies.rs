//! No host drags in another's dependencies.

use std::collections::BTreeSet;
use std::process::Command;

/// What only the command needs.
const COMMAND: [&str; 5] = ["axum", "clap", "hyper", "tokio", "tokio-rustls"];

/// What only the JavaScript package needs.
const JAVASCRIPT: [&str; 1] = ["wasm-bindgen"];

/// What only the WASI component needs.
const COMPONENT: [&str; 1] = ["wasip2"];

#[expect(clippy::unwrap_used, reason = "a test's own")]
fn dependencies(target: &str, features: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none"])
        .args(["--target", target, "--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{errors}");
    let lines = String::from_utf8(tree.stdout).unwrap();
    let names = lines.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

/// Of what one host needs and others must not, a target has its own host's, and nothing else.
fn only(target: &str, own: &[&str]) -> BTreeSet<String> {
    only_with(target, "", own)
}

fn only_with(target: &str, features: &str, own: &[&str]) -> BTreeSet<String> {
    let found = dependencies(target, features);
    for names in [&COMMAND[..], &JAVASCRIPT, &COMPONENT] {
        let expected = if names == own { names } else { &[] };
        let has: Vec<_> = names.iter().filter(|name| found.contains(**name)).collect();
        assert_eq!(has, expected.iter().collect::<Vec<_>>(), "{target}");
    }
    found
}

#[test]
fn the_module_needs_nothing_of_the_others() {
    let found = only("wasm32-wasip1", &[]);
    assert!(found.contains("rsa"), "{found:?}");
}

#[test]
fn the_javascript_package_needs_nothing_of_the_others() {
    only("wasm32-unknown-unknown", &JAVASCRIPT);
}

#[test]
fn the_component_needs_nothing_of_the_others() {
    for features in ["", "hosted", "client"] {
        only_with("wasm32-wasip2", features, &COMPONENT);
    }
}

#[test]
fn the_command_needs_nothing_of_the_other_hosts() {
    only("x86_64-unknown-linux-gnu", &COMMAND);
}
