//! What an operator should know.

use std::io::Write;

use crate::authenticator::{Event, Level};

/// One event of a token's life.
pub(super) fn tell(event: &Event) {
    let level = match event.level() {
        Level::Debug => return,
        Level::Info => "info",
        Level::Warn => "warning",
        Level::Error => "error",
    };
    line(level, &event.to_string());
}

/// The host keeps what is written to standard error, or does not. A line is written in one piece: other instances write there too.
pub(super) fn line(level: &str, text: &str) {
    let line = format!("invoker: {level}: {text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
