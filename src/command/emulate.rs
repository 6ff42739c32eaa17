//! `invoker emulate`.

use std::process::ExitCode;

/// Options of `invoker emulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Serves until it is interrupted.
pub(crate) fn run(_arguments: &Arguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
