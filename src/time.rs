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

    /// From an RFC 3339 text in UTC, such as `2026-01-31T12:00:00Z`; a fraction is dropped.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        rfc3339(text).map(Self::from_secs)
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }
}

/// `2026-01-31T12:00:00Z`, with or without a fraction (RFC 3339, in UTC as Google writes it).
fn rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let mut time = time.splitn(3, ':').map(str::parse::<u64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    let is_valid = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    // Days from civil, with years that begin in March, so that a leap day is a year's last one.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year;
    const EPOCH: u64 = 719_468;
    is_valid.then(|| (days - EPOCH) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_is_read_in_utc() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-01-31T12:00:00.123456789Z", 1_769_860_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            let found = UnixTime::from_rfc3339(text);
            assert_eq!(found, Some(UnixTime::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00+01:00",
            "2026-13-01T00:00:00Z",
            "x-y-zTa:b:cZ",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(UnixTime::from_rfc3339(text), None, "{text}");
        }
    }
}
