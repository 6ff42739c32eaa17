//! Subject tokens that no server hands out ready-made.
//!
//! What a program prints, and what it was started with, is secret, and so are an account's keys: messages
//! hold neither.

mod aws;
mod executable;
mod executable_response;
mod sigv4;

use std::time::Duration;

use super::MetadataServer;
use crate::error::FetchError;
use crate::secret::Secret;
use crate::source::local_subject::LocalSubject;
use crate::time::UnixTime;

/// What became of it.
#[derive(Debug)]
pub(super) struct Brought {
    /// For the core.
    pub(super) answer: Result<Secret, FetchError>,
    /// Who was asked.
    pub(super) asked: String,
}

/// Gets it, within its own time; what has none, within `timeout`.
pub(super) async fn get(
    subject: &LocalSubject,
    metadata_server: &MetadataServer,
    timeout: Duration,
    now: impl Fn() -> UnixTime,
) -> Brought {
    match subject {
        LocalSubject::Executable(it) => Brought {
            answer: executable::get(it, now).await,
            asked: format!("the program {}", it.program),
        },
        LocalSubject::Aws(it) => Brought {
            answer: aws::get(it, metadata_server, timeout, now).await,
            asked: aws::ASKED.to_owned(),
        },
    }
}
