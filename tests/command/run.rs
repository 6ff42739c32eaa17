//! Runs the command, and looks at everything that it prints.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::process::{Emulator, IDENTITY};

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    /// Whatever a command does, it writes no token among its messages.
    fn from(output: Output) -> Self {
        let ended = Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        // Every JWT begins so: it is `{"` in base64.
        assert!(!ended.stderr.contains("eyJ"), "a token: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        ended
    }
}

impl Ended {
    /// Standard output of a command that said nothing else.
    pub(crate) fn success(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (0, ""), "{self:?}");
        self.stdout
    }

    /// Standard error of a command that printed nothing else.
    pub(crate) fn failure(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (1, ""), "{self:?}");
        self.stderr
    }
}

/// The command with the metadata server at `host`. The proxies of the environment lead nowhere.
pub(crate) fn command(host: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_invoker"));
    command
        .args(arguments)
        .env("GCE_METADATA_HOST", host)
        .envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:9")))
        .stdin(Stdio::null());
    command
}

pub(crate) fn invoker(host: &str, arguments: &[&str]) -> Ended {
    command(host, arguments).output().unwrap().into()
}

/// Starts the command without waiting for it.
pub(crate) fn start(host: &str, arguments: &[&str]) -> Child {
    command(host, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn end(child: Child) -> Ended {
    child.wait_with_output().unwrap().into()
}

impl Emulator {
    /// For `GCE_METADATA_HOST`.
    pub(crate) fn host(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// The calls for identity tokens so far.
    pub(crate) fn identity_calls(&self) -> Vec<Value> {
        let calls = self.get_with("/_emulator/requests", &[]).json();
        let calls = calls.as_array().unwrap().iter();
        calls
            .filter(|call| call["path"] == IDENTITY)
            .cloned()
            .collect()
    }
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
