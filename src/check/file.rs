//! Configuration files: JSON as the filter reads it, or YAML.

use std::path::Path;

use serde_json::Value;

use crate::config::{Config, ConfigErrors};

/// Why a file could not be read as what it is meant to be.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file is not there, or not readable.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is no YAML (of which JSON is a part).
    #[error("{path}: this is not YAML: {error}")]
    Yaml {
        /// The file.
        path: String,
        /// Line, column and what is wrong; without the lines themselves, which may hold a key.
        error: String,
    },
}

/// A configuration file: what stands in it, and what it means.
#[derive(Debug)]
pub struct ConfigFile {
    /// As it is written.
    pub value: Value,
    /// As the filter reads it.
    pub config: Result<Config, ConfigErrors>,
}

impl ConfigFile {
    /// Reads a file. In `.json` files problems of JSON itself are told as the filter tells them.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = read(path)?;
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let value = serde_json::from_str(&text).unwrap_or_default();
            return Ok(Self {
                value,
                config: Config::from_json(&text),
            });
        }
        let value = parse(path, &text)?;
        let config = Config::from_value(value.clone());
        Ok(Self { value, config })
    }
}

/// Reads a YAML or JSON file.
pub fn read_value(path: &Path) -> Result<Value, FileError> {
    parse(path, &read(path)?)
}

/// Reads all documents of a YAML file; those with nothing in them don't count.
pub(super) fn read_values(path: &Path) -> Result<Vec<Value>, FileError> {
    serde_saphyr::from_multiple(&read(path)?).map_err(|error| not_yaml(path, &error))
}

fn read(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|error| FileError::Read {
        path: path.display().to_string(),
        error,
    })
}

fn parse(path: &Path, text: &str) -> Result<Value, FileError> {
    serde_saphyr::from_str(text).map_err(|error| not_yaml(path, &error))
}

fn not_yaml(path: &Path, error: &serde_saphyr::Error) -> FileError {
    FileError::Yaml {
        path: path.display().to_string(),
        error: error
            .without_snippet()
            .render_with_formatter(&serde_saphyr::UserMessageFormatter),
    }
}
