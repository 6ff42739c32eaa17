//! The host's two clocks.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::bindings::wasi::clocks::{monotonic_clock, system_clock};
use crate::time::{Monotonic, Now, UnixTime};

const NANOS_PER_MILLI: u64 = 1_000_000;

pub(super) fn now() -> Now {
    let unix = system_clock::now();
    let since_epoch = Duration::new(u64::try_from(unix.seconds).unwrap_or(0), unix.nanoseconds);
    Now {
        monotonic: Monotonic::from_millis(monotonic_clock::now() / NANOS_PER_MILLI),
        unix: UnixTime::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// Over then, or at once if that is over.
pub(super) async fn until(then: Monotonic) {
    monotonic_clock::wait_until(then.as_millis().saturating_mul(NANOS_PER_MILLI)).await;
}

/// What that brings, if it does so before `deadline`.
pub(super) async fn before<T>(deadline: Monotonic, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut over) = (pin!(work), pin!(until(deadline)));
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        over.as_mut().poll(context).map(|()| None)
    })
    .await
}
