//! The credential files that it writes, followed to a token.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    account::{KeyHolder, LOGIN, SEARCH},
    process::{Emulator, output},
};

const ALL: [&str; 3] = [
    "--write-key",
    "--write-external-account",
    "--write-impersonated-service-account",
];

/// The folder, and an emulator that wrote a file into it.
fn written(option: &str, arguments: &[&str]) -> (Emulator, Value, PathBuf, TempDir) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("credential.json");
    let value = format!("{SEARCH}={}", path.to_str().unwrap());
    let mut all = vec!["--service-account", LOGIN, option, &value];
    all.extend(arguments);
    let emulator = Emulator::start_with(&all);
    let file = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    (emulator, file, path, folder)
}

/// The path of an URL that must lead to this emulator.
fn own<'a>(emulator: &Emulator, url: &'a Value) -> &'a str {
    let url = url.as_str().unwrap();
    let path = url.strip_prefix(&emulator.url);
    path.unwrap_or_else(|| panic!("{url} does not lead to {}", emulator.url))
}

#[cfg(unix)]
#[test]
fn a_credential_file_is_its_owners_alone_and_nothing_is_left_beside_it() {
    use std::os::unix::fs::PermissionsExt as _;
    for option in ALL {
        let (_emulator, _, path, folder) = written(option, &[]);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{option}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{option}");
    }
}

#[test]
fn a_key_file_has_what_googles_clients_read() {
    let emulator = KeyHolder::start();
    let file = &emulator.file;
    assert_eq!(file["type"], "service_account");
    assert_eq!(file["client_email"], LOGIN);
    assert_eq!(file["project_id"], "shop-42");
    assert_eq!(file["universe_domain"], "googleapis.com");
    assert_eq!(own(&emulator, &file["token_uri"]), "/token");
    let pem = file["private_key"].as_str().unwrap();
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
}

#[test]
fn a_file_of_an_emulator_that_listens_everywhere_leads_to_this_machine() {
    let arguments = ["--listen", "0.0.0.0:0"];
    let (_emulator, file, _, _folder) = written("--write-key", &arguments);
    let url = file["token_uri"].as_str().unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
}

#[test]
fn an_external_account_file_leads_to_the_accounts_id_token() {
    let (emulator, file, _, _folder) = written("--write-external-account", &[]);
    let source = &file["credential_source"];
    let headers: Vec<(&str, &str)> = source["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let subject = emulator
        .get_with(own(&emulator, &source["url"]), &headers)
        .json();
    let field = source["format"]["subject_token_field_name"]
        .as_str()
        .unwrap();
    let scope = "https://www.googleapis.com/auth/cloud-platform";
    let access_token = "urn:ietf:params:oauth:token-type:access_token";
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let token = emulator.post_form(
        own(&emulator, &file["token_url"]),
        &[
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("audience", &text(&file["audience"])),
            ("scope", scope),
            ("requested_token_type", access_token),
            ("subject_token", &text(&subject[field])),
            ("subject_token_type", &text(&file["subject_token_type"])),
        ],
    );
    assert_eq!(token.status, 200, "{token:?}");
    let impersonation = own(&emulator, &file["service_account_impersonation_url"]);
    let url = impersonation.replace("generateAccessToken", "generateIdToken");
    let body = json!({ "audience": "x", "includeEmail": true });
    let answer = emulator.post_json(&url, &body, &text(&token.json()["access_token"]));
    let claims = emulator.verify(&text(&answer.json()["token"]));
    assert_eq!(claims["email"], SEARCH);
}

#[test]
fn an_impersonated_account_file_names_a_user_who_needs_the_role() {
    let option = "--write-impersonated-service-account";
    for (grant, status) in [("user", 200), ("federated", 403)] {
        let grant = format!("{grant}={SEARCH}");
        let (emulator, file, _, _folder) = written(option, &["--grant", &grant]);
        let user = &file["source_credentials"];
        assert_eq!(file["type"], "impersonated_service_account");
        assert_eq!(user["type"], "authorized_user");
        let field = |name: &'static str| (name, user[name].as_str().unwrap());
        let token = emulator.post_form(
            own(&emulator, &user["token_uri"]),
            &[
                ("grant_type", "refresh_token"),
                field("client_id"),
                field("client_secret"),
                field("refresh_token"),
            ],
        );
        let impersonation = own(&emulator, &file["service_account_impersonation_url"]);
        let url = impersonation.replace("generateAccessToken", "generateIdToken");
        let bearer = token.json()["access_token"].as_str().unwrap().to_owned();
        let answer = emulator.post_json(&url, &json!({ "audience": "x" }), &bearer);
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[test]
fn a_file_of_the_emulators_is_written_anew_and_another_one_is_left_alone() {
    for option in ALL {
        let (emulator, first, path, _folder) = written(option, &[]);
        drop(emulator);
        let path = path.to_str().unwrap();
        let _again = Emulator::start_with(&[option, path]);
        let second: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_ne!(first, second, "{option}");

        let real = r#"{"token_uri": "https://oauth2.googleapis.com/token"}"#;
        for content in [real, "", "hello"] {
            fs::write(path, content).unwrap();
            let refused = output(&[option, path]);
            let message = String::from_utf8(refused.stderr).unwrap();
            assert!(!refused.status.success(), "{option} overwrote {content:?}");
            assert!(
                message.contains(path) && message.contains("remove it"),
                "{message}"
            );
            assert_eq!(fs::read_to_string(path).unwrap(), content);
        }
    }
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    for option in ALL {
        let refused = output(&[option, "/no-such-folder/credential.json"]);
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success());
        assert!(
            message.contains("cannot write /no-such-folder/credential.json"),
            "{message}"
        );
    }
}

#[test]
fn a_key_file_that_is_unfit_is_named_without_its_content() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("key.json");
    let path = path.to_str().unwrap();
    let file = |email: &str, key: &str| {
        json!({ "client_email": email, "private_key": key, "private_key_id": "1" }).to_string()
    };
    for (content, reason) in [
        ("hush".to_owned(), "no key file"),
        (
            json!({ "private_key": ["hush"] }).to_string(),
            "no key file",
        ),
        (file("nobody", "hush"), "client_email: not an email"),
        (file("a@x.org", "hush"), "private_key: no PEM"),
    ] {
        fs::write(path, &content).unwrap();
        let refused = output(&["--account-key", path]);
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(
            message.contains(path) && message.contains(reason),
            "{message}"
        );
        assert!(!message.contains("hush"), "{message}");
    }
}
