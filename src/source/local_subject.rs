//! Subject tokens that no server hands out ready-made: a program of this machine prints one, or it is a request
//! signed with AWS credentials.
//!
//! Only a process of the machine itself can get them. A module in a proxy knows nothing of this, and is
//! built without it. Here is what a credential file says; how it is carried out is the native host's.

use std::time::Duration;

use crate::secret::Secret;
use crate::url::Url;

/// Without it in the environment no program is started: a credential file can come from anywhere. The name
/// is that of Google's own clients.
pub const ALLOW_EXECUTABLES: &str = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";

/// A `credential_source` that only a process of this machine can follow.
#[derive(Debug)]
pub enum LocalSubject {
    /// A program prints it.
    Executable(Executable),
    /// It is a signed request to AWS.
    Aws(Aws),
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

/// `credential_source` with `environment_id: aws1`. Each URL is that of a metadata service, and need not be there
/// where the environment says the same.
#[derive(Debug)]
pub struct Aws {
    /// The pool's provider, which the signature is bound to.
    pub audience: String,
    /// It knows the availability zone.
    pub region_url: Option<Url>,
    /// It knows the role, and below it the role's keys.
    pub keys_url: Option<Url>,
    /// It opens sessions (IMDSv2).
    pub session_url: Option<Url>,
    /// The request that is signed, with `{region}` where the region belongs.
    pub verification_url: String,
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
            Self::Aws(it) => {
                let urls = [&it.region_url, &it.keys_url, &it.session_url];
                urls.into_iter()
                    .map(|url| url.as_ref().map_or("", Url::as_str).as_bytes())
                    .chain([it.verification_url.as_bytes()])
                    .collect()
            }
        }
    }

    /// How long it may take, where the credential file says so; else as long as any callout.
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Self::Executable(it) => Some(it.timeout),
            Self::Aws(_) => None,
        }
    }
}
