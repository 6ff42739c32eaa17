//! The process's clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Monotonic, Now, UnixTime};

/// Both clocks; the monotonic one counts from the moment at which this was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    zero: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            zero: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            monotonic: Monotonic::from_millis(0) + self.zero.elapsed(),
            // A clock before 1970 takes every token for unusable no more than one in 1970 does.
            unix: UnixTime::from_millis(0)
                + SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default(),
        }
    }

    /// When that is; `None` if it never comes.
    pub(super) fn instant(&self, at: Monotonic) -> Option<Instant> {
        self.zero.checked_add(Duration::from_millis(at.as_millis()))
    }
}
