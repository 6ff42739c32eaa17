//! Times and counts, and their bounds.

use std::time::Duration;

use super::Timing;
use super::error::Problems;

/// Less would fail requests for a metadata server that is merely far away.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// More than any client or route waits.
const TIMEOUT_MAX: Duration = Duration::from_secs(5 * 60);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// A round trip on one machine with room to spare.
const CALLOUT_TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// A lease lives as long: a fetch that hangs is taken over after it.
const CALLOUT_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Google's ID tokens live for an hour.
const REFRESH_MARGIN_MAX: Duration = Duration::from_secs(60 * 60);
const REFRESH_MARGIN_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Each waiting request holds its head and perhaps its body.
const MAX_WAITING_REQUESTS_MAX: f64 = 1_000_000.0;
const MAX_WAITING_REQUESTS_DEFAULT: usize = 1024;

impl Timing {
    /// What holds when nothing but `timeout` is written.
    pub fn of(timeout: Duration) -> Self {
        Self {
            timeout,
            callout_timeout: (timeout * 4 / 5).min(CALLOUT_TIMEOUT_MAX),
            refresh_margin: REFRESH_MARGIN_DEFAULT,
        }
    }

    /// The same for somebody who waits for another time; a callout never takes longer than that.
    pub fn within(self, timeout: Duration) -> Self {
        Self {
            timeout,
            callout_timeout: self.callout_timeout.min(timeout),
            ..self
        }
    }
}

#[cfg(not(target_family = "wasm"))]
impl Timing {
    /// The same for somebody who also waits for a leg that may take longer than a callout.
    pub fn with_patience(self, patience: Option<Duration>) -> Self {
        Self {
            timeout: self.timeout + patience.unwrap_or_default(),
            ..self
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::of(TIMEOUT_DEFAULT)
    }
}

pub(super) fn timing(
    timeout: Option<&str>,
    callout_timeout: Option<&str>,
    refresh_margin: Option<&str>,
    problems: &mut Problems,
) -> Timing {
    let timeout = duration("timeout", timeout, TIMEOUT_MIN..=TIMEOUT_MAX, problems)
        .unwrap_or(TIMEOUT_DEFAULT);
    let range = CALLOUT_TIMEOUT_MIN..=CALLOUT_TIMEOUT_MAX;
    let callout_timeout = match duration("callout_timeout", callout_timeout, range, problems) {
        Some(callout) if callout > timeout => {
            let found = humantime::format_duration(callout);
            let most = humantime::format_duration(timeout);
            problems.add(
                "callout_timeout",
                format!("{found} is longer than timeout ({most}); no request would wait for it"),
            );
            timeout
        }
        Some(callout) => callout,
        None => Timing::of(timeout).callout_timeout,
    };
    let range = Duration::ZERO..=REFRESH_MARGIN_MAX;
    let refresh_margin = duration("refresh_margin", refresh_margin, range, problems)
        .unwrap_or(REFRESH_MARGIN_DEFAULT);
    Timing {
        timeout,
        callout_timeout,
        refresh_margin,
    }
}

/// `None` if it is not written, or if it is wrong and that is noted.
fn duration(
    field: &str,
    text: Option<&str>,
    range: std::ops::RangeInclusive<Duration>,
    problems: &mut Problems,
) -> Option<Duration> {
    let text = text?;
    let Ok(duration) = humantime::parse_duration(text) else {
        problems.add(
            field,
            format!("{text:?} is no duration; write a number and a unit, such as \"5s\", \"300ms\" or \"1m\""),
        );
        return None;
    };
    if !range.contains(&duration) {
        let least = humantime::format_duration(*range.start());
        let most = humantime::format_duration(*range.end());
        problems.add(
            field,
            format!("{text:?} is out of range; write {least} to {most}"),
        );
        return None;
    }
    Some(duration)
}

/// Envoy's `Struct` knows only doubles, so 1024.0 is 1024.
pub(super) fn max_waiting_requests(number: Option<f64>, problems: &mut Problems) -> usize {
    let Some(number) = number else {
        return MAX_WAITING_REQUESTS_DEFAULT;
    };
    if number.fract() != 0.0 || !(1.0..=MAX_WAITING_REQUESTS_MAX).contains(&number) {
        let number = if number.abs() < 1e15 {
            number.to_string()
        } else {
            format!("{number:e}")
        };
        problems.add(
            "max_waiting_requests",
            format!("{number} is out of range; write a whole number from 1 to {MAX_WAITING_REQUESTS_MAX}"),
        );
        return MAX_WAITING_REQUESTS_DEFAULT;
    }
    // Whole, and between the bounds: nothing is lost.
    number as usize
}
