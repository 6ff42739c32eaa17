//! `invoker check`.

use std::path::PathBuf;
use std::process::ExitCode;

use invoker::check::{Severity, check, check_istio};
use invoker::config;

/// Options of `invoker check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration, as YAML or JSON
    #[arg(required_unless_present = "istio", conflicts_with = "istio")]
    file: Option<PathBuf>,
    /// An Envoy bootstrap that loads the module: the two are checked against each other
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    bootstrap: Option<PathBuf>,
    /// Istio's and Kubernetes' resources, Invoker's WasmPlugin among them: all are checked together
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["bootstrap", "host"])]
    istio: Vec<PathBuf>,
    /// Who will read the configuration
    #[arg(long, value_enum, default_value_t = Host::Envoy)]
    host: Host,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Host {
    /// Envoy, and what is made of it
    Envoy,
    /// A WASI component
    #[value(alias = "standalone")]
    Wasi,
    /// The JavaScript package
    #[value(name = "javascript")]
    JavaScript,
}

impl From<Host> for config::Host {
    fn from(host: Host) -> Self {
        match host {
            Host::Envoy => Self::Envoy,
            Host::Wasi => Self::Wasi,
            Host::JavaScript => Self::JavaScript,
        }
    }
}

/// Prints every finding; fails if one is an error.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let report = match &arguments.file {
        Some(file) => check(file, arguments.host.into(), arguments.bootstrap.as_deref())?,
        None => check_istio(&arguments.istio)?,
    };
    print!("{report}");
    let errors = report.count(Severity::Error);
    let warnings = report.count(Severity::Warning);
    let files = arguments.file.iter().chain(&arguments.istio);
    let files: Vec<String> = files.map(|file| file.display().to_string()).collect();
    let files = files.join(", ");
    let verdict = if errors == 0 { "ok" } else { "not ok" };
    println!(
        "{files}: {verdict} ({}, {})",
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
