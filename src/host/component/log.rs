//! What an operator should know.

use crate::authenticator::{Event, Level};

/// The host keeps what is written to standard error, or does not.
pub(super) fn tell(event: &Event) {
    let level = match event.level() {
        Level::Debug => return,
        Level::Info => "info",
        Level::Warn => "warning",
        Level::Error => "error",
    };
    eprintln!("invoker: {level}: {event}");
}
