//! What is wrong with a configuration.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where, such as `audiences[2].audience`; empty for the whole text.
    pub path: String,
    /// What was found there, and what to write instead.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return formatter.write_str(&self.problem);
        }
        write!(formatter, "{}: {}", self.path, self.problem)
    }
}

/// Everything that is wrong, in the schema's order; shown with one line each. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(crate) fn one(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self(vec![ConfigError {
            path: path.into(),
            problem: problem.into(),
        }])
    }

    /// Several problems of one place.
    pub(super) fn all(path: &str, problems: impl Iterator<Item = String>) -> Self {
        let error = |problem| ConfigError {
            path: path.to_owned(),
            problem,
        };
        Self(problems.map(error).collect())
    }

    /// The same errors of something that lies below `parent`.
    pub(super) fn below(self, parent: &str) -> Self {
        let below = |error: ConfigError| {
            let path = match error.path.as_str() {
                "" => parent.to_owned(),
                path => format!("{parent}.{path}"),
            };
            ConfigError { path, ..error }
        };
        Self(self.0.into_iter().map(below).collect())
    }

    /// The errors in the schema's order.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            error.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects what is wrong while the rest is read on.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<ConfigError>);

impl Problems {
    pub(crate) fn add(&mut self, path: impl Into<String>, problem: impl fmt::Display) {
        self.0.push(ConfigError {
            path: path.into(),
            problem: problem.to_string(),
        });
    }

    /// The value, or `None` and a problem more.
    pub(crate) fn take<T, E: fmt::Display>(
        &mut self,
        path: impl Into<String>,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|error| self.add(path, error)).ok()
    }

    pub(super) fn append(&mut self, errors: ConfigErrors) {
        self.0.extend(errors.0);
    }

    pub(super) fn into_result(self) -> Result<(), ConfigErrors> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ConfigErrors(self.0))
        }
    }
}
