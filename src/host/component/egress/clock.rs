//! The host's two clocks.

use std::time::Duration;

use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::io::poll::Pollable;

use crate::time::{Monotonic, Now, UnixTime};

const NANOS_PER_MILLI: u64 = 1_000_000;

pub(super) fn now() -> Now {
    let unix = wall_clock::now();
    let since_epoch = Duration::new(unix.seconds, unix.nanoseconds);
    Now {
        monotonic: Monotonic::from_millis(monotonic_clock::now() / NANOS_PER_MILLI),
        unix: UnixTime::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// Ready then, or at once if that is over.
pub(super) fn at(then: Monotonic) -> Pollable {
    monotonic_clock::subscribe_instant(then.as_millis().saturating_mul(NANOS_PER_MILLI))
}
