//! `invoker check`.

use std::path::PathBuf;
use std::process::ExitCode;

use invoker::check::{Severity, check};
use invoker::config;

/// Options of `invoker check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration, as YAML or JSON
    file: PathBuf,
    /// An Envoy bootstrap that loads the module: the two are checked against each other
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    bootstrap: Option<PathBuf>,
    /// Who will read the configuration
    #[arg(long, value_enum, default_value_t = Host::Envoy)]
    host: Host,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Host {
    /// Envoy, and what is made of it
    Envoy,
    /// WASI and JavaScript
    Standalone,
}

impl From<Host> for config::Host {
    fn from(host: Host) -> Self {
        match host {
            Host::Envoy => Self::Envoy,
            Host::Standalone => Self::Standalone,
        }
    }
}

/// Prints every finding; fails if one is an error.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let report = check(
        &arguments.file,
        arguments.host.into(),
        arguments.bootstrap.as_deref(),
    )?;
    print!("{report}");
    let errors = report.count(Severity::Error);
    let warnings = report.count(Severity::Warning);
    let file = arguments.file.display();
    let verdict = if errors == 0 { "ok" } else { "not ok" };
    println!(
        "{file}: {verdict} ({}, {})",
        count(errors, "error"),
        count(warnings, "warning")
    );
    Ok(if errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
