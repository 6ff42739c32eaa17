//! What `invoker check` looks for: what the parser refuses, what works and will hurt, and where
//! Envoy's own configuration, or Istio's resources, and ours do not go together.
//!
//! Everything is told at once, with its path. An error is something that fails, or sends a token
//! where it does not belong; a warning is something that works today.

use std::fmt;
use std::path::Path;

use crate::config::Host;

mod bootstrap;
mod configuration;
mod credential_files;
mod file;
mod istio;
mod node;

pub use file::{ConfigFile, FileError, read_value};
pub use istio::check as check_istio;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It fails, or it leaks.
    Error,
    /// It works, and it will hurt.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file that it is in.
    pub file: String,
    /// Where in it; empty for the whole file.
    pub path: String,
    /// What was found, and what to write instead.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(formatter, "{severity}: {}: ", self.file)?;
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.problem)
    }
}

/// All findings, a line each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// The findings in the order in which they were found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings are so bad.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings
            .iter()
            .try_for_each(|finding| writeln!(formatter, "{finding}"))
    }
}

/// Findings in one file, as they come.
#[derive(Debug)]
struct Findings<'a> {
    file: &'a str,
    /// Put before each path: where the configuration is embedded.
    prefix: String,
    report: &'a mut Report,
}

impl Findings<'_> {
    fn error(&mut self, path: impl AsRef<str>, problem: impl Into<String>) {
        self.add(Severity::Error, path.as_ref(), problem.into());
    }

    fn warning(&mut self, path: impl AsRef<str>, problem: impl Into<String>) {
        self.add(Severity::Warning, path.as_ref(), problem.into());
    }

    /// The same finding comes up once, however many ways lead to it.
    fn add(&mut self, severity: Severity, path: &str, problem: String) {
        let path = match (self.prefix.as_str(), path) {
            ("", path) | (path, "") => path.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        };
        let finding = Finding {
            severity,
            file: self.file.to_owned(),
            path,
            problem,
        };
        if !self.report.findings.contains(&finding) {
            self.report.findings.push(finding);
        }
    }
}

/// Checks a configuration file for a host, and against Envoy's bootstrap if there is one.
pub fn check(file: &Path, host: Host, bootstrap: Option<&Path>) -> Result<Report, FileError> {
    let mut report = Report::default();
    let name = file.display().to_string();
    let read = ConfigFile::read(file)?;
    let mut findings = Findings {
        file: &name,
        prefix: String::new(),
        report: &mut report,
    };
    let here = |name: &str| credential_files::of_this_process(name);
    let environment = credential_files::Environment::of_envoy(&here);
    configuration::check(read.config, host, &environment, &mut findings);
    if let Some(path) = bootstrap {
        let bootstrap = read_value(path)?;
        let file = path.display().to_string();
        let mut findings = Findings {
            file: &file,
            prefix: String::new(),
            report: &mut report,
        };
        bootstrap::check(&bootstrap, &read.value, &name, &mut findings);
    }
    Ok(report)
}
