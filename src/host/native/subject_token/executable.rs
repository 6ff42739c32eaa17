//! A program that prints a subject token, started as Google's own clients start it: without a shell, with what
//! it needs to know in its environment.
//!
//! It leads a process group of its own, so that whatever it started ends with it when its time is up.

use std::io;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::executable_response::{self, token};
use crate::error::{Code, FetchError};
use crate::http::MAX_RESPONSE_BYTES;
use crate::secret::Secret;
use crate::source::local_subject::Executable;
use crate::time::UnixTime;

/// What the program left for the next time, while it is valid; else what it prints now.
pub(super) async fn get(
    executable: &Executable,
    now: impl Fn() -> UnixTime,
) -> Result<Secret, FetchError> {
    if let Some(kept) = kept(executable).await
        && let Ok(token) = executable_response::kept_token(&kept, now())
    {
        return Ok(token);
    }
    let ran = tokio::time::timeout(executable.timeout, run(executable)).await;
    let (status, mut printed) = ran.map_err(|_| {
        let timeout = executable.timeout;
        FetchError::transient(
            Code::CalloutTimeout,
            format!(
                "the program did not end within {timeout:?} and was killed; make it faster, or raise \
                 credential_source.executable.timeout_millis"
            ),
        )
    })??;
    if !status.success() {
        return Err(ended_badly(status, &printed));
    }
    // Google's Python client has it so.
    if printed.trim_ascii().is_empty()
        && let Some(kept) = kept(executable).await
    {
        printed = kept;
    }
    token(&printed, executable.output_file.is_some(), now())
}

async fn kept(executable: &Executable) -> Option<Zeroizing<Vec<u8>>> {
    let file = tokio::fs::File::open(executable.output_file.as_ref()?);
    read(file.await.ok()?).await.ok()
}

async fn run(executable: &Executable) -> Result<(ExitStatus, Zeroizing<Vec<u8>>), FetchError> {
    let mut command = Command::new(&executable.program);
    command
        .args(executable.arguments.iter().map(Secret::expose))
        .envs(
            executable
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Whatever it complains about there could quote a secret.
        .stderr(Stdio::null())
        .kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn().map_err(not_started)?;
    let group = Group::of(&child);
    let lost = |error: io::Error| {
        FetchError::permanent(Code::Refused, format!("the program was lost: {error}"))
    };
    let printed = match child.stdout.take() {
        Some(stdout) => read(stdout).await.map_err(lost)?,
        None => Zeroizing::default(),
    };
    if printed.len() > MAX_RESPONSE_BYTES {
        return Err(FetchError::permanent(
            Code::MalformedAnswer,
            "the program printed more than 64 KiB",
        ));
    }
    let status = child.wait().await.map_err(lost)?;
    group.has_ended();
    Ok((status, printed))
}

async fn read(from: impl AsyncRead + Unpin) -> io::Result<Zeroizing<Vec<u8>>> {
    // Where all of it fits, so that no copy stays behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_RESPONSE_BYTES));
    let mut from = from.take(MAX_RESPONSE_BYTES as u64 + 1);
    from.read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn not_started(error: io::Error) -> FetchError {
    FetchError::permanent(
        Code::Refused,
        format!("the program can't be started: {error}"),
    )
}

fn ended_badly(status: ExitStatus, printed: &[u8]) -> FetchError {
    let how = match status.code() {
        Some(code) => format!("the program ended with exit code {code}"),
        None => format!("the program was ended by a signal ({status})"),
    };
    let reason = match executable_response::complaint(printed) {
        Some(complaint) => format!("{how}: {complaint}"),
        None => format!(
            "{how}; run it by hand with the GOOGLE_EXTERNAL_ACCOUNT_ variables to see what it says"
        ),
    };
    FetchError::permanent(Code::Refused, reason)
}

/// A program that runs, with all that it has started. Dropped before the program has ended, it ends them.
struct Group(#[cfg(unix)] Option<rustix::process::Pid>);

#[cfg(unix)]
impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    fn has_ended(mut self) {
        self.0 = None;
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        // Until it was waited for, nobody else can have its number.
        if let Some(leader) = self.0 {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(not(unix))]
impl Group {
    fn of(_: &Child) -> Self {
        Self()
    }

    fn has_ended(self) {}
}
