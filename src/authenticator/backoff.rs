//! How long to leave an ill server alone.
//!
//! Exponential backoff with full jitter, as "Exponential Backoff And Jitter" (AWS Architecture Blog,
//! 2015) measures it. Failures are shared by all VMs, so that workers don't multiply the attempts.

use std::time::Duration;

use fastrand::Rng;

use crate::error::{Class, FetchError};
use crate::store::Failure;
use crate::time::Monotonic;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// What needs a person is not hurried: the person isn't there yet.
const SHORTEST_PERMANENT: Duration = Duration::from_secs(5);

/// While somebody waits, an attempt a second finds the end of the trouble soon enough.
const LONGEST_WITH_WAITERS: Duration = Duration::from_secs(1);

/// The failure after `previous`, as it goes into the record.
pub(super) fn failure(
    error: FetchError,
    previous: Option<&Failure>,
    now: Monotonic,
    rng: &mut Rng,
) -> Failure {
    let attempts = previous.map_or(1, |failure| failure.attempts.saturating_add(1));
    // A new kind of trouble begins its own series.
    let doublings = match previous {
        Some(failure) if failure.class == error.class => attempts - 1,
        _ => 0,
    };
    let pause = match error.class {
        Class::Transient => jittered(ceiling(SHORTEST, doublings), rng),
        Class::Permanent => ceiling(SHORTEST_PERMANENT, doublings),
    };
    Failure {
        class: error.class,
        code: error.code,
        reason: error.reason,
        attempts: if doublings == 0 { 1 } else { attempts },
        failed_at: now,
        not_before: now + pause,
        retry_after: now + error.retry_after.unwrap_or_default().min(LONGEST),
    }
}

/// When the next attempt may be made.
pub(super) fn next_attempt(failure: &Failure, somebody_waits: bool) -> Monotonic {
    let at = match failure.class {
        Class::Transient if somebody_waits => failure
            .not_before
            .min(failure.failed_at + LONGEST_WITH_WAITERS),
        _ => failure.not_before,
    };
    at.max(failure.retry_after)
}

fn ceiling(shortest: Duration, doublings: u32) -> Duration {
    // 2^20 times any of them is far beyond the longest.
    shortest.saturating_mul(1 << doublings.min(20)).min(LONGEST)
}

fn jittered(ceiling: Duration, rng: &mut Rng) -> Duration {
    SHORTEST + ceiling.saturating_sub(SHORTEST).mul_f64(rng.f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn series(error: &FetchError, length: usize) -> Vec<Duration> {
        let mut rng = Rng::with_seed(7);
        let mut previous = None;
        (0..length)
            .map(|_| {
                let now = Monotonic::from_millis(1000);
                let next = failure(error.clone(), previous.as_ref(), now, &mut rng);
                let pause = next.not_before.since(now);
                previous = Some(next);
                pause
            })
            .collect()
    }

    #[test]
    fn transient_trouble_is_retried_between_100_ms_and_30_s() {
        let pauses = series(&FetchError::transient(Code::ServerError, "status 500"), 40);
        assert_eq!(pauses[0], Duration::from_millis(100));
        assert!(
            pauses
                .iter()
                .all(|pause| (SHORTEST..=LONGEST).contains(pause)),
            "{pauses:?}"
        );
        assert!(
            pauses[20..]
                .iter()
                .any(|pause| *pause > Duration::from_secs(10)),
            "{pauses:?}"
        );
    }

    #[test]
    fn what_needs_a_person_is_retried_at_5_s_doubling_to_30() {
        let pauses = series(&FetchError::permanent(Code::Refused, "status 403"), 6);
        assert_eq!(
            pauses.iter().map(Duration::as_secs).collect::<Vec<_>>(),
            [5, 10, 20, 30, 30, 30]
        );
    }

    #[test]
    fn a_new_kind_of_trouble_begins_its_own_series() {
        let permanent = FetchError::permanent(Code::Refused, "status 403");
        let mut rng = Rng::with_seed(1);
        let now = Monotonic::from_millis(0);
        let mut last = failure(permanent.clone(), None, now, &mut rng);
        last.attempts = 9;
        let transient = FetchError::transient(Code::ServerError, "status 500");
        let next = failure(transient, Some(&last), now, &mut rng);
        assert_eq!(next.not_before, now + SHORTEST);
        let next = failure(permanent, Some(&next), now, &mut rng);
        assert_eq!(next.not_before, now + SHORTEST_PERMANENT);
    }

    #[test]
    fn a_waiting_request_shortens_the_pause_to_a_second_but_not_retry_after() {
        let now = Monotonic::from_millis(0);
        let mut failed = failure(
            FetchError::transient(Code::ServerError, "status 429"),
            None,
            now,
            &mut Rng::with_seed(1),
        );
        failed.not_before = now + LONGEST;
        assert_eq!(next_attempt(&failed, true), now + Duration::from_secs(1));
        assert_eq!(next_attempt(&failed, false), now + LONGEST);
        failed.retry_after = now + Duration::from_secs(3);
        assert_eq!(next_attempt(&failed, true), now + Duration::from_secs(3));
    }

    #[test]
    fn a_server_that_asks_for_an_hour_gets_30_s() {
        let mut error = FetchError::transient(Code::ServerError, "status 429");
        error.retry_after = Some(Duration::from_secs(3600));
        let now = Monotonic::from_millis(0);
        let failed = failure(error, None, now, &mut Rng::with_seed(1));
        assert_eq!(failed.retry_after, now + LONGEST);
    }
}
