//! Where tokens come from: a file a kind. Read by hand on `type`, so that a problem keeps its path and nothing from here that
//! may be a key is ever quoted: of a credential file at most its `type`.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::Problems;
use super::reader;
use crate::source::user::User;

mod adc;
mod cluster;
mod federation;
mod file;
mod impersonation;
#[cfg(not(target_family = "wasm"))]
mod local_subject;
mod metadata;
mod service_account_key;

pub use cluster::ClusterField;
pub use federation::FederationCredentials;
pub(crate) use file::resolve;
pub use file::{CredentialFile, Environment};
pub use impersonation::ImpersonationCredentials;
pub use metadata::MetadataCredentials;
pub use service_account_key::KeyCredentials;

/// Where tokens come from: exactly one kind.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Google Cloud's metadata server.
    Metadata(MetadataCredentials),
    /// A service account's key.
    ServiceAccountKey(KeyCredentials),
    /// Another account, as whom one of the other kinds may act.
    Impersonation(Box<ImpersonationCredentials>),
    /// Another provider's token.
    Federation(FederationCredentials),
    /// A person's login: in no configuration, only below the impersonation of a credential file.
    User(Arc<User>),
}

impl Credentials {
    /// The fields that hold a secret themselves, where everybody sees it who sees the configuration.
    pub fn secrets_in_sight(&self) -> Vec<String> {
        let mut paths = Vec::new();
        secrets_in_sight(PLACE, self, &mut paths);
        paths
    }
}

impl Credentials {
    /// Where it says that the program around the host brings the subject token, if it does.
    pub fn asks_program(&self) -> Option<String> {
        asks_program(PLACE, self)
    }

    /// The environment variables that hold credential files, each with the path that names it.
    pub fn environment_variables(&self) -> Vec<(String, &str)> {
        environment_variables(PLACE, self)
    }
}

fn environment_variables<'a>(place: &str, credentials: &'a Credentials) -> Vec<(String, &'a str)> {
    let (path, name) = match credentials {
        Credentials::ServiceAccountKey(it) => (format!("{place}.key"), it.key.variable()),
        Credentials::Federation(it) => (format!("{place}.config"), it.config.variable()),
        Credentials::Impersonation(it) => {
            return environment_variables(&format!("{place}.source"), &it.source);
        }
        Credentials::Metadata(_) | Credentials::User(_) => return Vec::new(),
    };
    name.map(|name| (path, name)).into_iter().collect()
}

fn asks_program(place: &str, credentials: &Credentials) -> Option<String> {
    match credentials {
        Credentials::Federation(it) => it.asks_program.then(|| format!("{place}.subject_token")),
        Credentials::Impersonation(it) => asks_program(&format!("{place}.source"), &it.source),
        _ => None,
    }
}

fn secrets_in_sight(place: &str, credentials: &Credentials, paths: &mut Vec<String>) {
    match credentials {
        Credentials::ServiceAccountKey(key) => {
            if let CredentialFile::Inline(_) = key.key {
                paths.push(format!("{place}.key"));
            }
        }
        Credentials::Federation(federation) => {
            if let CredentialFile::Inline(config) = &federation.config
                && config.subject.has_credential()
            {
                paths.push(format!("{place}.config"));
            }
        }
        Credentials::Impersonation(it) => {
            secrets_in_sight(&format!("{place}.source"), &it.source, paths);
        }
        Credentials::Metadata(_) | Credentials::User(_) => {}
    }
}

const METADATA: &str = "metadata";
const SERVICE_ACCOUNT_KEY: &str = "service_account_key";
const IMPERSONATION: &str = "impersonation";
const FEDERATION: &str = "federation";

/// What may stand in `credentials`, and in an impersonation's `source`.
const KINDS: [&str; 4] = [METADATA, SERVICE_ACCOUNT_KEY, IMPERSONATION, FEDERATION];

const PLACE: &str = "credentials";

pub(super) fn read(value: Option<Value>, problems: &mut Problems) -> Option<Credentials> {
    read_at(PLACE, &KINDS, value, problems)
}

fn read_at(
    place: &str,
    kinds: &[&str],
    value: Option<Value>,
    problems: &mut Problems,
) -> Option<Credentials> {
    let object = match value {
        Some(Value::Object(object)) => object,
        Some(other) => {
            let found = reader::kind(&other);
            problems.add(
                place,
                format!("found {found}, expected an object such as {{type: metadata, cluster: metadata}}"),
            );
            return None;
        }
        None => {
            problems.add(
                place,
                "is missing; write where tokens come from, such as {type: metadata, cluster: metadata}",
            );
            return None;
        }
    };
    let kind = match kind(&object, kinds) {
        Ok(kind) => kind,
        Err(problem) => {
            problems.add(format!("{place}.type"), problem);
            return None;
        }
    };
    match kind {
        SERVICE_ACCOUNT_KEY => {
            service_account_key::read(place, object, problems).map(Credentials::ServiceAccountKey)
        }
        IMPERSONATION => impersonation::read(place, object, problems)
            .map(|it| Credentials::Impersonation(Box::new(it))),
        FEDERATION => federation::read(place, object, problems).map(Credentials::Federation),
        _ => metadata::read(place, object, problems).map(Credentials::Metadata),
    }
}

/// The kind that `type` names, or what to write there.
fn kind(object: &Map<String, Value>, kinds: &[&str]) -> Result<&'static str, String> {
    let known = KINDS.iter().filter(|kind| kinds.contains(kind));
    let named: Vec<String> = known.map(|kind| format!("\"{kind}\"")).collect();
    let expected = named.join(", ");
    let instead = |kind: &str| format!("the kind for it is \"{kind}\"");
    match object.get("type") {
        None => Err(format!("is missing; write one of {expected}")),
        Some(Value::String(text)) => {
            let kind = KINDS.into_iter().find(|kind| *kind == text.as_str());
            let kind = kind.filter(|kind| kinds.contains(kind));
            kind.ok_or_else(|| match text.as_str() {
                "service_account" => {
                    format!(
                        "\"service_account\" is what a key file says; {}",
                        instead(SERVICE_ACCOUNT_KEY)
                    )
                }
                "external_account" => {
                    format!(
                        "\"external_account\" is what a file of gcloud's says; {}",
                        instead(FEDERATION)
                    )
                }
                "impersonated_service_account" => format!(
                    "\"impersonated_service_account\" is what a file of gcloud's says; {}",
                    instead(IMPERSONATION)
                ),
                text => format!(
                    "unknown value {}, expected one of {expected}",
                    reader::quoted(text)
                ),
            })
        }
        Some(other) => Err(format!(
            "found {}, expected one of {expected}",
            reader::kind(other)
        )),
    }
}

/// The fields of a kind, all of them known.
fn fields<T: DeserializeOwned>(
    place: &str,
    object: Map<String, Value>,
    problems: &mut Problems,
) -> Option<T> {
    match reader::from_value(Value::Object(object)) {
        Ok(raw) => Some(raw),
        Err(errors) => {
            problems.append(errors.below(place));
            None
        }
    }
}

/// An account's email; it becomes a segment of a path.
fn is_email(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"/\\%?#\"<>:".contains(c);
    text.chars().all(plain)
        && text.split_once('@').is_some_and(|(name, domain)| {
            !name.is_empty() && !domain.is_empty() && !domain.contains('@')
        })
}

#[cfg(test)]
mod tests;
