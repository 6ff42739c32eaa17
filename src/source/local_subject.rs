//! Subject tokens that no server hands out: a program of this machine prints one.
//!
//! Only a process of the machine itself can get them. A module in a proxy knows nothing of this, and is
//! built without it. Here is what a credential file says; how it is carried out is the native host's.

use std::time::Duration;

use crate::secret::Secret;

/// Without it in the environment no program is started: a credential file can come from anywhere. The name
/// is that of Google's own clients.
pub const ALLOW_EXECUTABLES: &str = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";

/// A `credential_source` that only a process of this machine can follow.
#[derive(Debug)]
pub enum LocalSubject {
    /// A program prints it.
    Executable(Executable),
}

/// `credential_source.executable`.
#[derive(Debug)]
pub struct Executable {
    /// A path, or a name for `PATH`.
    pub program: String,
    /// One of them can be a credential.
    pub arguments: Vec<Secret>,
    /// What the program is told, beside this process's own environment.
    pub environment: Vec<(&'static str, String)>,
    /// How long it may run.
    pub timeout: Duration,
    /// Where it leaves its answer for the next time.
    pub output_file: Option<String>,
}

impl LocalSubject {
    /// What tells two of them apart.
    pub(super) fn parts(&self) -> Vec<&[u8]> {
        match self {
            Self::Executable(it) => {
                let arguments = it.arguments.iter().map(|it| it.expose().as_bytes());
                let output_file = it.output_file.as_deref().unwrap_or_default();
                [it.program.as_bytes(), output_file.as_bytes()]
                    .into_iter()
                    .chain(arguments)
                    .collect()
            }
        }
    }

    /// How long it may take, where the credential file says so; else as long as any callout.
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Self::Executable(it) => Some(it.timeout),
        }
    }
}
