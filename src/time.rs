//! The two clocks, which the host reads and the core is told.
//!
//! They are two types so that they can't be mixed up: leases, backoff and timeouts live on the
//! monotonic clock, which nobody can set; only a token's own times live on the wall clock.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What both clocks showed when the host entered the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The clock that only runs forward.
    pub monotonic: Monotonic,
    /// The wall clock, which can be set.
    pub unix: UnixTime,
}

/// A point on the monotonic clock: milliseconds since some moment that all VMs of a process share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Monotonic(u64);

/// A point in time: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(u64);

macro_rules! clock {
    ($clock:ident) => {
        impl $clock {
            /// Later than anything else.
            pub const NEVER: Self = Self(u64::MAX);

            /// From milliseconds since the clock's zero.
            pub const fn from_millis(millis: u64) -> Self {
                Self(millis)
            }

            /// Milliseconds since the clock's zero.
            pub const fn as_millis(self) -> u64 {
                self.0
            }

            /// How long after `earlier` this is; zero if it is not.
            pub const fn since(self, earlier: Self) -> Duration {
                Duration::from_millis(self.0.saturating_sub(earlier.0))
            }
        }

        impl Add<Duration> for $clock {
            type Output = Self;

            fn add(self, duration: Duration) -> Self {
                Self(self.0.saturating_add(millis(duration)))
            }
        }

        impl Sub<Duration> for $clock {
            type Output = Self;

            fn sub(self, duration: Duration) -> Self {
                Self(self.0.saturating_sub(millis(duration)))
            }
        }
    };
}

clock!(Monotonic);
clock!(UnixTime);

impl UnixTime {
    /// From whole seconds since the Unix epoch, as a JWT's `exp` has them.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
