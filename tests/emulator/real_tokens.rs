//! `--credentials`: one emulator as Google, and another command as the metadata server in front of it.

use std::{fs, path::PathBuf, thread, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    account::{LOGIN, SEARCH},
    process::{Emulator, IDENTITY, TOKEN, output},
};

const PROFILES: &str = "https://profiles.example.com";

/// Google, with a credential file of the account SEARCH.
struct Google {
    emulator: Emulator,
    file: PathBuf,
    _folder: TempDir,
}

impl Google {
    fn start(option: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("credential.json");
        let value = format!("{SEARCH}={}", file.to_str().unwrap());
        Self {
            emulator: Emulator::start_with(&["--service-account", LOGIN, option, &value]),
            file,
            _folder: folder,
        }
    }

    fn metadata_server(&self) -> Emulator {
        Emulator::start_with(&["--credentials", self.file.to_str().unwrap()])
    }

    /// Bends the file.
    fn rewrite(&self, change: impl FnOnce(&mut Value)) {
        let mut content = serde_json::from_slice(&fs::read(&self.file).unwrap()).unwrap();
        change(&mut content);
        fs::write(&self.file, content.to_string()).unwrap();
    }
}

#[test]
fn every_kind_of_file_gives_tokens_that_receivers_accept() {
    for option in [
        "--write-key",
        "--write-external-account",
        "--write-impersonated-service-account",
    ] {
        let google = Google::start(option);
        let server = google.metadata_server();
        let token = server.id_token(PROFILES);
        let claims = google.emulator.verify(&token);
        assert_eq!(claims["aud"], PROFILES, "{option}");
        assert_eq!(claims["email"], SEARCH, "{option}");
        let email = "/computeMetadata/v1/instance/service-accounts/default/email";
        assert_eq!(server.get(email).body, SEARCH, "{option}");
    }
}

#[test]
fn a_token_is_fetched_once_for_all_who_ask() {
    let google = Google::start("--write-key");
    google
        .emulator
        .fault(json!({"endpoint": "token", "delay": "300ms"}));
    let server = google.metadata_server();
    thread::scope(|scope| {
        let askers: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| server.id_token(PROFILES)))
            .collect();
        let tokens: Vec<_> = askers.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(tokens.windows(2).all(|pair| pair[0] == pair[1]));
    });
    assert_eq!(google.emulator.calls("token").len(), 1);
    server.id_token("https://search.example.com");
    assert_eq!(google.emulator.calls("token").len(), 2);
}

#[test]
fn an_access_token_comes_with_what_is_left_of_its_life() {
    let google = Google::start("--write-key");
    let server = google.metadata_server();
    let answer = server.get(TOKEN);
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.json();
    assert_eq!(token["token_type"], "Bearer");
    let lifetime = token["expires_in"].as_u64().unwrap();
    assert!((3000..=3600).contains(&lifetime), "{lifetime}");
}

#[test]
fn a_subject_token_in_a_file_is_read_anew_at_each_exchange() {
    let google = Google::start("--write-external-account");
    let subject = google.file.with_file_name("subject");
    google.rewrite(|file| {
        file["credential_source"] = json!({"file": subject.to_str().unwrap()});
    });
    let server = google.metadata_server();
    let refused = server.get(&format!("{IDENTITY}?audience={PROFILES}"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        refused.body.contains("the file can't be read"),
        "{refused:?}"
    );
    fs::write(&subject, "first").unwrap();
    let token = until_served(&server, PROFILES);
    assert_eq!(google.emulator.verify(&token)["email"], SEARCH);
    assert_eq!(google.emulator.calls("sts").len(), 1);
    // Another credential of the same file: what STS gets now is the file's new content.
    fs::write(&subject, "second").unwrap();
    assert_eq!(google.emulator.delete("/_emulator/access-tokens"), 204);
    until_served(&server, "https://another.example.com");
    assert_eq!(google.emulator.calls("sts").len(), 2);
}

fn until_served(server: &Emulator, audience: &str) -> String {
    for _ in 0..300 {
        let answer = server.get(&format!("{IDENTITY}?audience={audience}"));
        if answer.status == 200 {
            return answer.body;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("it was never served");
}

#[test]
fn what_needs_a_person_is_403_and_names_it() {
    let google = Google::start("--write-key");
    google
        .emulator
        .fault(json!({"endpoint": "token", "status": 400}));
    let server = google.metadata_server();
    let answer = server.get(&format!("{IDENTITY}?audience={PROFILES}"));
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.body.contains("token endpoint: 400"), "{answer:?}");
}

#[test]
fn nothing_else_is_emulated_beside_real_tokens() {
    let google = Google::start("--write-key");
    let server = google.metadata_server();
    for path in [
        "/_emulator/requests",
        "/_emulator/faults",
        "/oauth2/v3/certs",
        "/subject",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    let refused = server.get_with(&format!("{IDENTITY}?audience={PROFILES}"), &[]);
    assert_eq!(refused.status, 403, "without the flavour");
}

#[test]
fn real_tokens_are_for_this_machine_alone_unless_it_is_said() {
    let google = Google::start("--write-key");
    let file = google.file.to_str().unwrap();
    let refused = output(&["--credentials", file, "--listen", "0.0.0.0:0"]);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(message.contains("--beyond-loopback"), "{message}");
    let server = Emulator::start_with(&[
        "--credentials",
        file,
        "--listen",
        "0.0.0.0:0",
        "--beyond-loopback",
    ]);
    assert!(server.url.starts_with("http://0.0.0.0:"));
}

#[test]
fn a_file_that_can_not_be_used_is_explained_without_its_secrets() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("credential.json");
    let said = |content: Value| {
        fs::write(&file, content.to_string()).unwrap();
        let ended = output(&["--credentials", file.to_str().unwrap()]);
        assert!(!ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    };
    let login =
        said(json!({"type": "authorized_user", "client_id": "c", "refresh_token": "1//s3cret"}));
    assert!(
        login.contains("gcloud auth application-default login --impersonate-service-account=EMAIL"),
        "{login}"
    );
    assert!(!login.contains("s3cret"), "{login}");
    let unknown = said(json!({"type": "gdch_service_account"}));
    assert!(
        unknown.contains("\"gdch_service_account\" is not supported"),
        "{unknown}"
    );
    let relative = said(json!({
        "type": "external_account", "audience": "//iam", "subject_token_type": "urn:x",
        "token_url": "https://sts.googleapis.com/v1/token", "credential_source": {"file": "token"},
    }));
    assert!(relative.contains("credential_source.file"), "{relative}");
    let certificate = said(json!({
        "type": "external_account", "audience": "//iam", "subject_token_type": "urn:x",
        "token_url": "https://sts.googleapis.com/v1/token", "credential_source": {"certificate": {}},
    }));
    assert!(certificate.contains("TLS"), "{certificate}");
    let aws = said(json!({
        "type": "external_account", "audience": "//iam", "subject_token_type": "urn:x",
        "token_url": "https://sts.googleapis.com/v1/token", "credential_source": {
            "environment_id": "aws1",
            "regional_cred_verification_url": "http://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
        },
    }));
    assert!(aws.contains("is not as gcloud writes it"), "{aws}");
    let nobody = said(json!({
        "type": "external_account", "audience": "//iam", "subject_token_type": "urn:x",
        "token_url": "https://sts.googleapis.com/v1/token", "credential_source": {"file": "/token"},
    }));
    assert!(nobody.contains("names no account"), "{nobody}");
    fs::remove_file(&file).unwrap();
    let missing = output(&["--credentials", file.to_str().unwrap()]);
    assert!(
        String::from_utf8(missing.stderr)
            .unwrap()
            .contains("cannot read")
    );
}
