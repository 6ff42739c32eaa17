//! Envoy's clocks, which all VMs of a process share.

use super::abi::{self, Clock};
use crate::time::{Monotonic, Now, UnixTime};

/// Both, for everything but the hit path.
pub(super) fn now() -> Now {
    Now {
        monotonic: monotonic(),
        unix: unix(),
    }
}

/// The wall clock, read anew each time: one kept by the tick would be wrong in a process that slept.
pub(super) fn unix() -> UnixTime {
    UnixTime::from_millis(abi::nanoseconds(Clock::Realtime) / NANOS_PER_MILLI)
}

/// Envoy's steady clock.
pub(super) fn monotonic() -> Monotonic {
    Monotonic::from_millis(abi::nanoseconds(Clock::Monotonic) / NANOS_PER_MILLI)
}

const NANOS_PER_MILLI: u64 = 1_000_000;
