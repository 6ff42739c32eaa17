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
fn dependencies(target: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree", "--locked", "--edges", "normal", "--prefix", "none", "--target", target,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{errors}");
    let lines = String::from_utf8(tree.stdout).unwrap();
    let names = lines.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

fn has(found: &BTreeSet<String>, names: &[&str]) -> Vec<String> {
    let found = names.iter().filter(|name| found.contains(**name));
    found.map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_module_needs_nothing_of_the_others() {
    let found = dependencies("wasm32-wasip1");
    assert_eq!(has(&found, &COMMAND), [""; 0]);
    assert_eq!(has(&found, &JAVASCRIPT), [""; 0]);
    assert_eq!(has(&found, &COMPONENT), [""; 0]);
    assert!(found.contains("rsa"), "{found:?}");
}

#[test]
fn the_javascript_package_needs_nothing_of_the_command_s() {
    let found = dependencies("wasm32-unknown-unknown");
    assert_eq!(has(&found, &COMMAND), [""; 0]);
    assert_eq!(has(&found, &COMPONENT), [""; 0]);
    assert_eq!(has(&found, &JAVASCRIPT), JAVASCRIPT);
}

#[test]
fn the_component_needs_nothing_of_the_others() {
    let found = dependencies("wasm32-wasip2");
    assert_eq!(has(&found, &COMMAND), [""; 0]);
    assert_eq!(has(&found, &JAVASCRIPT), [""; 0]);
    assert_eq!(has(&found, &COMPONENT), COMPONENT);
}

#[test]
fn the_command_needs_nothing_of_the_other_hosts() {
    let found = dependencies("x86_64-unknown-linux-gnu");
    assert_eq!(has(&found, &COMMAND), COMMAND);
    assert_eq!(has(&found, &JAVASCRIPT), [""; 0]);
    assert_eq!(has(&found, &COMPONENT), [""; 0]);
}
