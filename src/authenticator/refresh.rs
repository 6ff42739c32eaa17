//! When a token is refreshed: early enough that nobody notices, late enough that the server doesn't.

use std::time::Duration;

use crate::time::{Monotonic, UnixTime};

/// No refresh so soon after a success, however short the token's life.
const PAUSE: Duration = Duration::from_secs(5);

/// The same while somebody waits and no token is left to serve: a server whose tokens live for
/// seconds is asked once a second, not once a request.
const PAUSE_WITH_WAITERS: Duration = Duration::from_secs(1);

/// The jitter's share of the time that is left: VMs that learnt of a token together don't all come
/// back together.
const JITTER: f64 = 0.1;

/// The later of *usable end* − margin and half of the usable life that was left when the token came,
/// brought forward by `jitter` (0 to 1) × 10 % of the time from then to the usable end.
///
/// The half is for tokens that live shorter than two margins: without it they would be refreshed at
/// once, for ever.
pub(super) fn due(end: UnixTime, came: UnixTime, margin: Duration, jitter: f64) -> UnixTime {
    let half = came + end.since(came) / 2;
    let due = (end - margin).max(half);
    due - end.since(due).mul_f64(JITTER * jitter)
}

/// The earliest moment of the next fetch after one that succeeded at `fetched_at`.
pub(super) fn not_before(fetched_at: Monotonic, somebody_waits: bool) -> Monotonic {
    fetched_at
        + if somebody_waits {
            PAUSE_WITH_WAITERS
        } else {
            PAUSE
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: Duration = Duration::from_secs(300);

    fn due(came: u64, exp: u64, jitter: f64) -> UnixTime {
        let end = UnixTime::from_secs(exp) - crate::token::EXPIRY_SLACK;
        super::due(end, UnixTime::from_secs(came), MARGIN, jitter)
    }

    #[test]
    fn an_hour_s_token_is_refreshed_a_margin_before_its_usable_end() {
        assert_eq!(due(0, 3630, 0.0), UnixTime::from_secs(3300));
        assert_eq!(due(0, 3630, 1.0), UnixTime::from_secs(3270));
    }

    #[test]
    fn a_token_with_less_than_two_margins_left_is_refreshed_at_half_of_it() {
        assert_eq!(due(0, 90, 0.0), UnixTime::from_secs(30));
        assert_eq!(due(3500, 3630, 0.0), UnixTime::from_secs(3550));
    }

    #[test]
    fn a_token_that_came_dead_is_due_at_its_end() {
        assert_eq!(due(5000, 3630, 1.0), UnixTime::from_secs(5000));
    }
}
