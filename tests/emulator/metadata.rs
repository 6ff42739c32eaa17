//! The metadata server's paths, and what it refuses.

use crate::process::{Emulator, IDENTITY, TOKEN};

const ACCOUNT: &str = "/computeMetadata/v1/instance/service-accounts/default";

#[test]
fn every_answer_says_that_it_comes_from_a_metadata_server() {
    let emulator = Emulator::start();
    for path in [
        "/",
        "/computeMetadata/v1/",
        "/computeMetadata/v1/nothing",
        TOKEN,
        IDENTITY,
    ] {
        let answer = emulator.get(path);
        assert_eq!(answer.header("metadata-flavor"), Some("Google"), "{path}");
        assert_eq!(
            answer.header("server"),
            Some("Metadata Server for VM"),
            "{path}"
        );
        assert_eq!(answer.version, ureq::http::Version::HTTP_11);
    }
}

#[test]
fn the_root_answers_a_probe_without_the_header() {
    let answer = Emulator::start().get_with("/", &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("metadata-flavor"), Some("Google"));
}

#[test]
fn who_does_not_send_the_flavor_is_refused() {
    let emulator = Emulator::start();
    let path = format!("{IDENTITY}?audience=x");
    assert_eq!(emulator.get_with(&path, &[]).status, 403);
    assert_eq!(
        emulator
            .get_with(&path, &[("Metadata-Flavor", "Amazon")])
            .status,
        403
    );
    assert_eq!(
        emulator.get_with("/computeMetadata/v1/nothing", &[]).status,
        403
    );
}

#[test]
fn what_came_through_a_proxy_is_refused() {
    let emulator = Emulator::start();
    let headers = [
        ("Metadata-Flavor", "Google"),
        ("X-Forwarded-For", "10.0.0.1"),
    ];
    for path in [
        format!("{IDENTITY}?audience=x"),
        format!("{ACCOUNT}/email"),
        TOKEN.to_owned(),
    ] {
        assert_eq!(emulator.get_with(&path, &headers).status, 403, "{path}");
    }
}

#[test]
fn a_missing_or_empty_audience_is_a_bad_request() {
    let emulator = Emulator::start();
    for query in [
        "",
        "?audience=",
        "?format=full",
        "?audience",
        "?audience=%FF",
    ] {
        let answer = emulator.get(&format!("{IDENTITY}{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.body.trim(), "non-empty audience parameter required");
    }
}

#[test]
fn an_account_that_the_machine_does_not_have_is_not_found() {
    let emulator = Emulator::start_with(&["--service-account", "a@x.org"]);
    for leaf in [
        "identity?audience=x",
        "token",
        "email",
        "scopes",
        "aliases",
        "?recursive=true",
    ] {
        let path = format!("/computeMetadata/v1/instance/service-accounts/b@x.org/{leaf}");
        assert_eq!(emulator.get(&path).status, 404, "{path}");
    }
}

#[test]
fn the_values_that_clients_ask_for_are_there() {
    let emulator =
        Emulator::start_with(&["--service-account", "login@shop-42.iam.gserviceaccount.com"]);
    for (path, value) in [
        (
            format!("{ACCOUNT}/email"),
            "login@shop-42.iam.gserviceaccount.com",
        ),
        (
            "/computeMetadata/v1/project/project-id".to_owned(),
            "shop-42",
        ),
        (
            "/computeMetadata/v1/universe/universe-domain".to_owned(),
            "googleapis.com",
        ),
    ] {
        let answer = emulator.get(&path);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, value),
            "{path}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/text"),
            "{path}"
        );
    }
    let number = emulator
        .get("/computeMetadata/v1/project/numeric-project-id")
        .body;
    assert!(number.parse::<u64>().is_ok(), "{number}");
}

#[test]
fn a_directory_becomes_json_when_it_is_asked_for_recursively() {
    let emulator = Emulator::start_with(&[
        "--service-account",
        "a@x.org",
        "--service-account",
        "b@x.org",
    ]);
    let answer = emulator.get(&format!("{ACCOUNT}/?recursive=true"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let account = answer.json();
    assert_eq!(account["email"], "a@x.org");
    assert_eq!(account["aliases"][0], "default");
    assert_eq!(
        account["scopes"][0],
        "https://www.googleapis.com/auth/cloud-platform"
    );
    let instance = emulator
        .get("/computeMetadata/v1/instance/?recursive=true")
        .json();
    assert_eq!(instance["serviceAccounts"]["default"]["email"], "a@x.org");
    assert_eq!(instance["serviceAccounts"]["b@x.org"]["email"], "b@x.org");
}

#[test]
fn a_directory_without_its_slash_redirects_and_keeps_the_query() {
    let emulator = Emulator::start();
    let answer = emulator.get("/computeMetadata/v1/instance?recursive=true");
    assert_eq!(answer.status, 301);
    assert_eq!(
        answer.header("location"),
        Some("/computeMetadata/v1/instance/?recursive=true")
    );
    let listing = emulator.get("/computeMetadata/v1/instance/");
    assert_eq!(
        (listing.status, listing.body.as_str()),
        (200, "service-accounts/\n")
    );
}

#[test]
fn every_listed_name_leads_somewhere() {
    let emulator = Emulator::start();
    let mut directories = vec!["/computeMetadata/v1/".to_owned()];
    let mut values = 0;
    while let Some(directory) = directories.pop() {
        for name in emulator.get(&directory).body.lines() {
            let path = format!("{directory}{name}");
            let query = if name == "identity" {
                "?audience=x"
            } else {
                ""
            };
            assert_eq!(
                emulator.get(&format!("{path}{query}")).status,
                200,
                "{path}"
            );
            if name.ends_with('/') {
                directories.push(path);
            } else {
                values += 1;
            }
        }
    }
    assert_eq!(
        values,
        5 + 5 + 2 + 1,
        "two names of one account, the project and the universe"
    );
}
