//! `invoker check` and `invoker explain`, as a person at a terminal sees them.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;

mod bootstrap;
mod carried;
mod credentials;
mod explain;
mod istio;

/// Runs the command in this directory; what it printed, and its exit code.
fn invoker(arguments: &[&str]) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check");
    let output = Command::new(env!("CARGO_BIN_EXE_invoker"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    format!("{printed}exit {}", output.status.code().unwrap())
}

/// A variant of a file in this directory, in a directory for such things.
fn variant(file: &str, name: &str, change: impl Fn(&str) -> String) -> PathBuf {
    let original = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/check")
        .join(file);
    let text = std::fs::read_to_string(original).unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, change(&text)).unwrap();
    path
}

#[test]
fn a_good_configuration_is_ok() {
    insta::assert_snapshot!(invoker(&["check", "listener.invoker.yaml"]), @r"
    listener.invoker.yaml: ok (0 errors, 0 warnings)
    exit 0
    ");
    insta::assert_snapshot!(invoker(&["check", "upstream.invoker.json"]), @r"
    upstream.invoker.json: ok (0 errors, 0 warnings)
    exit 0
    ");
    insta::assert_snapshot!(invoker(&["check", "--host", "javascript", "without_cluster.yaml"]), @r"
    without_cluster.yaml: ok (0 errors, 0 warnings)
    exit 0
    ");
}

#[test]
fn a_bad_configuration_is_told_everything_that_is_wrong() {
    insta::assert_snapshot!(invoker(&["check", "bad.yaml"]), @r#"
    error: bad.yaml: credentials.service_account: "login" is no service account; write "default" or its email, such as "login@my-project.iam.gserviceaccount.com"
    error: bad.yaml: header: "cookie" is not allowed, since it holds the user's session; write "authorization", "proxy-authorization", "x-serverless-authorization" or a header of your own
    error: bad.yaml: audiences[0].audience: "profiles.run.app" has no scheme; write "https://profiles.run.app"
    error: bad.yaml: audiences[1].audience: "https://{authority}" needs an `authority` that ends in at least two literal labels, such as "*.a.run.app"; "*.app" lets a client choose the audience
    error: bad.yaml: timeout: "10m" is out of range; write 100ms to 5m
    bad.yaml: not ok (5 errors, 0 warnings)
    exit 1
    "#);
    insta::assert_snapshot!(invoker(&["check", "unknown_field.json"]), @r"
    error: unknown_field.json: audience: unknown field `audience`, expected one of `credentials`, `audiences`, `audience_from_metadata`, `header`, `existing_credential`, `failure_mode`, `error_details`, `timeout`, `callout_timeout`, `max_waiting_requests`, `refresh_margin`, `prefetch`, `allow_insecure`
    unknown_field.json: not ok (1 error, 0 warnings)
    exit 1
    ");
}

#[test]
fn hosts_require_different_things() {
    insta::assert_snapshot!(invoker(&["check", "without_cluster.yaml"]), @r"
    error: without_cluster.yaml: credentials.cluster: is missing; write the name of the Envoy cluster that leads to the metadata server (metadata.google.internal:80)
    without_cluster.yaml: not ok (1 error, 0 warnings)
    exit 1
    ");
    insta::assert_snapshot!(invoker(&["check", "--host", "wasi", "listener.invoker.yaml"]), @r#"
    error: listener.invoker.yaml: credentials.cluster: "metadata" names an Envoy cluster, and there is no Envoy here; leave it out
    error: listener.invoker.yaml: audiences[0].cluster: "profiles" means Envoy's clusters, and there is no Envoy here; write `authority` with the host of the URL
    error: listener.invoker.yaml: audiences[1].cluster: "search" means Envoy's clusters, and there is no Envoy here; write `authority` with the host of the URL
    listener.invoker.yaml: not ok (3 errors, 0 warnings)
    exit 1
    "#);
}

#[test]
fn what_works_and_will_hurt_is_a_warning() {
    insta::assert_snapshot!(invoker(&["check", "hurts.yaml"]), @r"
    warning: hurts.yaml: audiences[0]: sends a token for one audience to whatever cluster Envoy picks, since it names no `cluster`; a client that gets a request routed elsewhere gets the token sent there: name the cluster
    warning: hurts.yaml: audiences[2]: is never reached, since audiences[1] matches all that it means and comes first; put the narrower rule first, or leave this one out
    warning: hurts.yaml: audiences[4]: is never reached, since audiences[3] matches all that it means and comes first; put the narrower rule first, or leave this one out
    hurts.yaml: ok (0 errors, 3 warnings)
    exit 0
    ");
}

#[test]
fn a_file_that_cannot_be_read_says_where_and_quotes_nothing() {
    insta::assert_snapshot!(invoker(&["check", "nowhere.yaml"]), @r"
    invoker: nowhere.yaml: No such file or directory (os error 2)
    exit 1
    ");
    insta::assert_snapshot!(invoker(&["check", "comma.json"]), @r"
    error: comma.json: this is not JSON: trailing comma at line 1 column 18
    comma.json: not ok (1 error, 0 warnings)
    exit 1
    ");
    let twice = invoker(&["check", "twice.yaml"]);
    assert!(!twice.contains("secret"), "{twice}");
    insta::assert_snapshot!(twice, @r"
    invoker: twice.yaml: this is not YAML: duplicate mapping key `timeout` is not allowed here at line 2, column 1
    exit 1
    ");
}
