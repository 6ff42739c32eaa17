//! The clock of the emulated Google, which may be ahead of the machine's or behind it.
//!
//! Whether a proxy bears a clock that is off shows when the two sides disagree; moving this side
//! needs no privileges. Tokens are dated and checked by it. What the recorder writes is not.

use std::{
    str::FromStr,
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// How far the clock is ahead of the machine's, in whole seconds; negative: behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClockOffset(i32);

/// A text that is no offset.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no duration in whole seconds; write for instance \"90s\" or \"-5m\"")]
pub struct ClockOffsetError(String);

impl ClockOffset {
    /// In seconds.
    pub(super) fn seconds(self) -> i64 {
        self.0.into()
    }
}

impl FromStr for ClockOffset {
    type Err = ClockOffsetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sign, amount) = match text.strip_prefix('-') {
            Some(amount) => (-1, amount),
            None => (1, text),
        };
        let whole = humantime::parse_duration(amount)
            .ok()
            .filter(|amount| amount.subsec_nanos() == 0);
        // Far beyond any token's life, and far from where adding it to a clock could overflow.
        let seconds = whole.and_then(|amount| i32::try_from(amount.as_secs()).ok());
        let seconds = seconds.ok_or_else(|| ClockOffsetError(text.to_owned()))?;
        Ok(Self(sign * seconds))
    }
}

impl TryFrom<String> for ClockOffset {
    type Error = ClockOffsetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ClockOffset> for String {
    fn from(offset: ClockOffset) -> Self {
        format!("{}s", offset.0)
    }
}

/// The clock that tokens are dated and checked by.
#[derive(Debug, Default)]
pub(super) struct Clock(AtomicI64);

impl Clock {
    pub(super) fn new(offset: ClockOffset) -> Self {
        Self(AtomicI64::new(offset.seconds()))
    }

    /// Seconds since the Unix epoch.
    pub(super) fn now(&self) -> i64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let machine = i64::try_from(since.as_secs()).unwrap_or_default();
        machine.saturating_add(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn offset(&self) -> ClockOffset {
        ClockOffset(i32::try_from(self.0.load(Ordering::Relaxed)).unwrap_or_default())
    }

    pub(super) fn set(&self, offset: ClockOffset) {
        self.0.store(offset.seconds(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_duration_in_whole_seconds_with_or_without_a_minus_sign() {
        let seconds = |text: &str| text.parse::<ClockOffset>().map(ClockOffset::seconds).ok();
        assert_eq!(seconds("5m"), Some(300));
        assert_eq!(seconds("-5m"), Some(-300));
        assert_eq!(seconds("0s"), Some(0));
        for text in ["", "-", "--5m", "5", "300ms", "1000y"] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }
}
