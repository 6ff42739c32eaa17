//! What an operator reads: one line at each event of a token's life, never one a request.

use std::fmt;
use std::time::Duration;

use crate::error::{Code, Denial};
use crate::time::UnixTime;
use crate::wanted::Wanted;

/// Something that is worth a line in the log, and sometimes a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A fetch brought a token.
    Fetched {
        /// For whom, or for what.
        wanted: Wanted,
        /// Which kind of success it was.
        success: Success,
        /// Whom the token names.
        email: Option<String>,
        /// Its `exp`.
        expires_at: UnixTime,
        /// From the callout's dispatch to its answer.
        took: Duration,
    },
    /// Something that works and may hurt one day; one line in a VM's life.
    Remark(&'static str),
    /// A fetch brought none.
    FetchFailed {
        /// For whom, or for what.
        wanted: Wanted,
        /// Its stable name.
        code: Code,
        /// Which server, and why.
        reason: String,
        /// Until the next attempt.
        retry_in: Duration,
        /// Whether an old token still serves.
        has_token: bool,
        /// From the callout's dispatch to its answer.
        took: Duration,
    },
    /// Requests were denied; at most one line a second for each code, with the number of those in
    /// between.
    Denied {
        /// The newest denial.
        denial: Denial,
        /// How many since the last line.
        count: u64,
    },
}

/// Kinds of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    /// Nobody had a token for the audience before.
    First,
    /// In time.
    Refreshed,
    /// After failures.
    Recovered,
}

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The life cycle's usual steps, but the first.
    Debug,
    /// Once per audience, and what ends trouble.
    Info,
    /// Trouble.
    Warn,
    /// Trouble that requests feel.
    Error,
}

impl Event {
    /// How loud it is.
    pub fn level(&self) -> Level {
        match self {
            Self::Fetched {
                success: Success::Refreshed,
                ..
            } => Level::Debug,
            Self::Fetched { .. } => Level::Info,
            Self::FetchFailed { .. } | Self::Remark(_) => Level::Warn,
            Self::Denied { .. } => Level::Error,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetched {
                wanted,
                success,
                email,
                expires_at,
                ..
            } => write!(
                f,
                "{}: {}={:?} email={:?} exp={}",
                match success {
                    Success::First => "first_token",
                    Success::Refreshed => "refreshed",
                    Success::Recovered => "recovered",
                },
                wanted.field(),
                wanted.as_str(),
                email.as_deref().unwrap_or("-"),
                expires_at.as_secs(),
            ),
            Self::FetchFailed {
                wanted,
                code,
                reason,
                retry_in,
                has_token,
                ..
            } => write!(
                f,
                "{} ({}): {}={:?} {reason}; next attempt in {:.1} s; {}",
                if *has_token {
                    "refresh_failed"
                } else {
                    "fetch_failed"
                },
                code.as_str(),
                wanted.field(),
                wanted.as_str(),
                retry_in.as_secs_f32(),
                if *has_token {
                    "the old token still serves"
                } else {
                    "there is no token to serve"
                },
            ),
            Self::Remark(remark) => write!(f, "remark: {remark}"),
            Self::Denied { denial, count } => {
                write!(
                    f,
                    "denied ({}): {} ({count} with this code since the last such line)",
                    denial.code.as_str(),
                    denial.message
                )
            }
        }
    }
}
