//! `--credentials` with a subject token that a program of this machine prints.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    account::SEARCH,
    process::{DEADLINE, Emulator, IDENTITY, command, output_of},
};

const ALLOW: &str = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";
const PROFILES: &str = "https://profiles.example.com";
const SUBJECT: &str = "s3cret-subject-token";

/// Google, which takes one subject token, and a file that leads there by a program.
struct Google {
    emulator: Emulator,
    folder: TempDir,
}

impl Google {
    /// `script` is the program; `executable` is what the file says beside its command.
    fn start(script: &str, executable: Value) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("credential.json");
        let value = format!("{SEARCH}={}", file.to_str().unwrap());
        let emulator = Emulator::start_with(&[
            "--subject-token",
            SUBJECT,
            "--write-external-account",
            &value,
        ]);
        let google = Self { emulator, folder };
        google.write_program(script);
        let mut content: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let mut source = executable;
        source["command"] = format!(
            "{} --secret 's3cret argument'",
            google.path("program").display()
        )
        .into();
        content["credential_source"] = json!({ "executable": source });
        fs::write(&file, content.to_string()).unwrap();
        google
    }

    fn write_program(&self, script: &str) {
        let program = self.path("program");
        // Replaced, not written: a file that is open for writing can't be started.
        let fresh = self.path("fresh");
        fs::write(
            &fresh,
            format!("#!/bin/sh\ncd {}\n{script}\n", self.folder.path().display()),
        )
        .unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(fresh, program).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn metadata_server(&self) -> Emulator {
        let file = self.path("credential.json");
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = command(&["--credentials", file.to_str().unwrap()]);
        Emulator::of(command.env(ALLOW, "1").stderr(Stdio::from(log)))
    }

    /// Why there is no token; whatever is said, it holds no secret.
    fn refusal(&self) -> String {
        let server = self.metadata_server();
        let answer = server.get(&format!("{IDENTITY}?audience={PROFILES}"));
        assert_ne!(answer.status, 200, "{answer:?}");
        let log = fs::read_to_string(self.path("log")).unwrap();
        assert!(
            !answer.body.contains("s3cret") && !log.contains("s3cret"),
            "{answer:?} {log}"
        );
        answer.body
    }
}

/// Prints a subject token that is good until then.
fn prints(token: &str, end: &str) -> String {
    format!(
        r#"echo '{{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:jwt","id_token":"{token}"{end}}}'"#
    )
}

fn good() -> String {
    prints(SUBJECT, "")
}

fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !what() {
        assert!(Instant::now() < deadline, "it never happened");
        thread::sleep(Duration::from_millis(20));
    }
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn what_a_program_prints_becomes_a_token_that_receivers_accept() {
    let google = Google::start(&good(), json!({}));
    let token = google.metadata_server().id_token(PROFILES);
    let claims = google.emulator.verify(&token);
    assert_eq!(
        (claims["aud"].as_str(), claims["email"].as_str()),
        (Some(PROFILES), Some(SEARCH))
    );
    assert_eq!(google.emulator.calls("sts").len(), 1);
}

#[test]
fn a_program_is_told_what_google_s_clients_tell_it() {
    let script = format!(
        "env > environment; printf '%s|' \"$@\" > arguments; {}",
        good().replace("\"}", "\",\"expiration_time\":99999999999}")
    );
    let google = Google::start(&script, json!({"output_file": "/nowhere/kept"}));
    google.metadata_server().id_token(PROFILES);
    let told = fs::read_to_string(google.path("environment")).unwrap();
    let content: Value =
        serde_json::from_slice(&fs::read(google.path("credential.json")).unwrap()).unwrap();
    for (name, value) in [
        ("AUDIENCE", content["audience"].as_str().unwrap()),
        (
            "TOKEN_TYPE",
            content["subject_token_type"].as_str().unwrap(),
        ),
        ("INTERACTIVE", "0"),
        ("IMPERSONATED_EMAIL", SEARCH),
        ("OUTPUT_FILE", "/nowhere/kept"),
    ] {
        let line = format!("GOOGLE_EXTERNAL_ACCOUNT_{name}={value}");
        assert!(told.lines().any(|it| it == line), "{line} in {told}");
    }
    assert_eq!(
        fs::read_to_string(google.path("arguments")).unwrap(),
        "--secret|s3cret argument|"
    );
}

#[test]
fn what_a_program_left_in_a_file_is_taken_while_it_is_valid() {
    let google = Google::start("echo run >> runs; exit 1", json!({}));
    let file = google.path("credential.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let kept = google.path("kept");
    content["credential_source"]["executable"]["output_file"] = kept.to_str().unwrap().into();
    fs::write(&file, content.to_string()).unwrap();
    let response = |end: &str| {
        let line = prints(SUBJECT, end);
        line.trim_start_matches("echo '")
            .trim_end_matches('\'')
            .to_owned()
    };
    fs::write(&kept, response(r#","expiration_time":99999999999"#)).unwrap();
    google.metadata_server().id_token(PROFILES);
    assert_eq!(lines(&google.path("runs")), 0);
    for stale in [
        response(r#","expiration_time":1000"#),
        response(""),
        "{".to_owned(),
    ] {
        fs::write(&kept, stale).unwrap();
        let before = lines(&google.path("runs"));
        assert!(google.refusal().contains("exit code 1"));
        assert!(lines(&google.path("runs")) > before);
    }
    // One that prints nothing has written the file.
    google.write_program(&format!(
        "echo '{}' > kept",
        response(r#","expiration_time":99999999999"#)
    ));
    google.metadata_server().id_token(PROFILES);
}

#[test]
fn programs_are_started_only_where_that_is_allowed() {
    let google = Google::start("echo run >> runs", json!({}));
    let file = google.path("credential.json");
    for value in [None, Some("0"), Some("true")] {
        let mut command = command(&["--credentials", file.to_str().unwrap()]);
        command.env_remove(ALLOW);
        command.envs(value.map(|value| (ALLOW, value)));
        let ended = output_of(&mut command);
        let message = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success());
        assert!(
            message.contains("credential_source.executable: is a program, which is started only where GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES is 1"),
            "{message}"
        );
    }
    assert_eq!(lines(&google.path("runs")), 0);
}

#[test]
fn each_failure_of_a_program_names_its_leg_and_says_what_to_do() {
    let google = Google::start("", json!({}));
    let said = |script: &str| {
        google.write_program(script);
        google.refusal()
    };
    for (script, words) in [
        (format!("{}; exit 3", good()), "subject token: the program ended with exit code 3; run it by hand"),
        (
            r#"echo '{"version":1,"success":false,"code":"401","message":"Log in first, s3cret_eyJ"}'; exit 1"#.to_owned(),
            "subject token: the program ended with exit code 1: 401: Log in first, [cut]",
        ),
        (
            r#"echo '{"version":1,"success":false,"code":"401","message":"Log in first"}'"#.to_owned(),
            "subject token: the program says 401: Log in first",
        ),
        (format!("echo s3cret; {}", good()), "subject token: the program printed an answer that is not a JSON object"),
        ("echo s3cret >&2".to_owned(), "subject token: the program printed an answer that is not a JSON object"),
        (prints("s3cret", r#","expiration_time":1000"#), "subject token: the program printed a token that ended"),
        ("head -c 70000 /dev/zero".to_owned(), "subject token: the program printed more than 64 KiB"),
        ("kill -9 $$".to_owned(), "subject token: the program was ended by a signal (signal: 9"),
        (prints("s3cret-of-somebody-else", ""), "sts: 400 invalid_grant"),
    ] {
        let said = said(&script);
        assert!(said.contains(words), "{script}: {said}");
    }
    fs::remove_file(google.path("program")).unwrap();
    let said = google.refusal();
    assert!(
        said.contains("subject token: the program can't be started: No such file"),
        "{said}"
    );
}

#[test]
fn a_program_that_does_not_end_is_killed_with_all_that_it_started() {
    let google = Google::start(
        "echo $$ >> leader; sleep 60 & echo $! >> child; wait",
        json!({"timeout_millis": 5000}),
    );
    let said = google.refusal();
    assert!(
        said.contains("subject token: the program did not end within 5s and was killed"),
        "{said}"
    );
    for name in ["leader", "child"] {
        let ids = fs::read_to_string(google.path(name)).unwrap();
        // It may have been started again since.
        let first = ids.lines().next().unwrap();
        until(|| !is_running(first));
    }
}

/// A process that nobody has waited for yet has ended nevertheless.
fn is_running(id: &str) -> bool {
    let state = fs::read_to_string(format!("/proc/{id}/stat"));
    state.is_ok_and(|it| !it.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

#[test]
fn who_waits_is_served_when_a_slow_program_ends() {
    let google = Google::start(&format!("echo run >> runs; sleep 6; {}", good()), json!({}));
    let server = google.metadata_server();
    // Longer than other requests wait.
    server.id_token(PROFILES);
    assert_eq!(lines(&google.path("runs")), 1);
}
