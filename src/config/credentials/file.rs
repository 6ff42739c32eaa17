//! The JSON files that Google hands out: written into the configuration, or, so that nobody sees them in
//! Envoy's `config_dump`, in an environment variable that it names.
//!
//! The core reads no environment: a host brings it when it makes a source.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::config::document::Document;
use crate::config::error::{ConfigErrors, Problems};
use crate::config::reader;
use crate::source::service_account::DEFAULT_UNIVERSE;
use crate::url::{Nearness, Url};

/// The host's environment variables, by name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A credential file, or where it is.
#[derive(Debug)]
pub enum CredentialFile<T> {
    /// In this environment variable, as JSON or as its base64.
    Environment(String),
    /// In the configuration.
    Inline(Arc<T>),
}

impl<T> CredentialFile<T> {
    /// The environment variable's name, if it is in one.
    pub fn variable(&self) -> Option<&str> {
        match self {
            Self::Environment(name) => Some(name),
            Self::Inline(_) => None,
        }
    }
}

impl<T> Clone for CredentialFile<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Environment(name) => Self::Environment(name.clone()),
            Self::Inline(content) => Self::Inline(Arc::clone(content)),
        }
    }
}

/// A kind of file.
pub(crate) trait FileKind: Sized {
    /// What its `type` says.
    const TYPE: &'static str;

    /// Reads the fields; `None` if something is wrong, and that is noted.
    fn read(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self>;
}

/// The file's content. `path` is where it is named.
pub(crate) fn resolve<T: FileKind>(
    file: &CredentialFile<T>,
    path: &str,
    environment: Environment<'_>,
) -> Result<Arc<T>, ConfigErrors> {
    let name = match file {
        CredentialFile::Inline(content) => return Ok(Arc::clone(content)),
        CredentialFile::Environment(name) => name,
    };
    let text = environment(name).filter(|text| !text.trim().is_empty());
    let content = match text {
        Some(text) => from_text(&text),
        None => Err(ConfigErrors::one(
            "",
            "is not set, or empty; in Envoy it has to be named in vm_config.environment_variables.host_env_keys",
        )),
    };
    let of_variable = |errors: ConfigErrors| {
        let told = |it: &super::super::ConfigError| match it.path.as_str() {
            "" => format!("the environment variable {name} {}", it.problem),
            path => format!("the environment variable {name}: {path} {}", it.problem),
        };
        ConfigErrors::all(path, errors.iter().map(told))
    };
    content.map(Arc::new).map_err(of_variable)
}

/// Takes what the configuration says.
pub(super) fn read<T: FileKind>(
    path: &str,
    value: Option<Value>,
    problems: &mut Problems,
) -> Option<CredentialFile<T>> {
    let content = match value {
        None => {
            let problem = format!(
                "is missing; write {{env: NAME}}, the environment variable with the JSON of type \"{}\"",
                T::TYPE
            );
            problems.add(path, problem);
            return None;
        }
        Some(Value::Object(object)) if object.contains_key("env") => {
            return variable(path, object, problems).map(CredentialFile::Environment);
        }
        Some(Value::Object(object)) => from_object(&object),
        Some(Value::String(text)) => from_text(&text),
        Some(other) => {
            let found = reader::kind(&other);
            Err(ConfigErrors::one(
                "",
                format!("found {found}, expected {{env: NAME}}"),
            ))
        }
    };
    match content {
        Ok(content) => Some(CredentialFile::Inline(Arc::new(content))),
        Err(errors) => {
            problems.append(errors.below(path));
            None
        }
    }
}

fn variable(path: &str, object: Map<String, Value>, problems: &mut Problems) -> Option<String> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    match (object.len(), object.get("env")) {
        (1, Some(Value::String(name))) if is_name(name) => Some(name.clone()),
        (1, _) => {
            problems.add(format!("{path}.env"), "is no environment variable's name");
            None
        }
        _ => {
            problems.add(path, "has other fields beside `env`; leave them out");
            None
        }
    }
}

fn from_text<T: FileKind>(text: &str) -> Result<T, ConfigErrors> {
    from_object(&object(text)?)
}

/// The object in JSON, or in base64 of it.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, ConfigErrors> {
    let text = text.trim();
    let decoded;
    let json = if text.starts_with('{') {
        text
    } else {
        let packed: String = text.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(packed).ok();
        decoded = bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(zeroize::Zeroizing::new);
        decoded
            .as_ref()
            .map(|text| text.as_str())
            .ok_or_else(|| ConfigErrors::one("", "is neither JSON nor its base64"))?
    };
    match serde_json::from_str(json) {
        Ok(Document(Value::Object(object))) => Ok(object),
        Ok(_) => Err(ConfigErrors::one("", "is no JSON object")),
        // Without serde's words, which can quote.
        Err(error) => Err(ConfigErrors::one(
            "",
            format!(
                "is not JSON (line {}, column {})",
                error.line(),
                error.column()
            ),
        )),
    }
}

pub(super) fn from_object<T: FileKind>(object: &Map<String, Value>) -> Result<T, ConfigErrors> {
    let mut problems = Problems::default();
    let fields = Fields(object);
    let content = match fields.text("type", &mut problems) {
        Some(kind) if kind == T::TYPE => T::read(&fields, &mut problems),
        Some(kind) => {
            problems.add("type", wrong_type(kind, T::TYPE));
            None
        }
        None => None,
    };
    problems.into_result()?;
    content.ok_or_else(|| ConfigErrors::one("", "can't be read"))
}

fn wrong_type(found: &str, expected: &str) -> String {
    let instead = match found {
        "service_account" => "credentials.type for it is \"service_account_key\"",
        "external_account" => "credentials.type for it is \"federation\"",
        "impersonated_service_account" => {
            "write credentials.type \"impersonation\" with the account and a source; a person's own login \
             does not belong into a proxy"
        }
        "authorized_user" => {
            "that is a person's own login, which can't make ID tokens; make a service account and use \
             impersonation, federation or its key"
        }
        "external_account_authorized_user" => "that is a person's own login; use federation",
        _ => return format!("found another type, expected \"{expected}\""),
    };
    format!("found \"{found}\", expected \"{expected}\": {instead}")
}

/// A file's fields. Unknown ones are Google's business.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// A text that must be there, without control characters but line breaks.
    pub(crate) fn text(&self, field: &str, problems: &mut Problems) -> Option<&'a str> {
        match self.optional_text(field, problems) {
            Some("") => {
                problems.add(field, "is empty");
                None
            }
            None if self.0.get(field).is_none_or(Value::is_null) => {
                problems.add(field, "is missing");
                None
            }
            found => found,
        }
    }

    /// A text that may be missing.
    pub(crate) fn optional_text(&self, field: &str, problems: &mut Problems) -> Option<&'a str> {
        match self.0.get(field)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => {
                let found = reader::kind(other);
                problems.add(field, format!("found {found}, expected a string"));
                None
            }
        }
    }

    /// A text on one line: it becomes part of a record's key.
    pub(crate) fn line(&self, field: &str, problems: &mut Problems) -> Option<&'a str> {
        let text = self.text(field, problems)?;
        if text.chars().any(char::is_control) {
            problems.add(field, "holds a control character");
            return None;
        }
        Some(text)
    }

    /// `universe_domain`: Google's, but for clouds of its own.
    pub(crate) fn universe(&self, problems: &mut Problems) -> Option<String> {
        const FIELD: &str = "universe_domain";
        let text = self.optional_text(FIELD, problems);
        let domain = text
            .filter(|text| !text.is_empty())
            .unwrap_or(DEFAULT_UNIVERSE);
        let url = Url::parse(
            &format!("https://iamcredentials.{domain}"),
            Nearness::Loopback,
        );
        if url.is_err() || domain.contains([':', '/', '?']) {
            problems.add(FIELD, "is no domain");
            return None;
        }
        Some(domain.to_owned())
    }
}
