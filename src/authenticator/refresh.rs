//! When a token is refreshed: early enough that nobody notices, late enough that the server doesn't.

use std::time::Duration;

use crate::store::StoredToken;
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
pub(super) fn due(stored: &StoredToken, margin: Duration, jitter: f64) -> UnixTime {
    let end = stored.token.usable_end();
    let half = stored.fetched_unix + end.since(stored.fetched_unix) / 2;
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
    use crate::audience::Audience;
    use crate::token::Token;
    use base64::Engine as _;

    const MARGIN: Duration = Duration::from_secs(300);

    fn stored(came: u64, exp: u64) -> StoredToken {
        let claims = format!(r#"{{"aud":"https://a.b","exp":{exp}}}"#);
        let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
        let audience = Audience::parse("https://a.b").unwrap();
        StoredToken {
            token: Token::id_token(&format!("e30.{payload}.c2ln"), &audience).unwrap(),
            fetched_at: Monotonic::from_millis(0),
            fetched_unix: UnixTime::from_secs(came),
        }
    }

    #[test]
    fn an_hour_s_token_is_refreshed_a_margin_before_its_usable_end() {
        assert_eq!(
            due(&stored(0, 3630), MARGIN, 0.0),
            UnixTime::from_secs(3300)
        );
        assert_eq!(
            due(&stored(0, 3630), MARGIN, 1.0),
            UnixTime::from_secs(3270)
        );
    }

    #[test]
    fn a_token_with_less_than_two_margins_left_is_refreshed_at_half_of_it() {
        assert_eq!(due(&stored(0, 90), MARGIN, 0.0), UnixTime::from_secs(30));
        assert_eq!(
            due(&stored(3500, 3630), MARGIN, 0.0),
            UnixTime::from_secs(3550)
        );
    }

    #[test]
    fn a_token_that_came_dead_is_due_at_its_end() {
        assert_eq!(
            due(&stored(5000, 3630), MARGIN, 1.0),
            UnixTime::from_secs(5000)
        );
    }
}
