//! Where tokens come from. Read by hand on `type`, so that a problem keeps its path and no value from
//! here, which may be a key, is ever quoted.

use serde_json::{Map, Value};

use super::error::Problems;
use super::reader;

/// Where tokens come from: exactly one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Google Cloud's metadata server.
    Metadata(MetadataCredentials),
}

/// The metadata server of the machine, Pod or service that the proxy runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataCredentials {
    /// The Envoy cluster that callouts go to; always there in Envoy, never elsewhere.
    pub cluster: Option<String>,
    /// `default`, or the email of one of the accounts that the server knows.
    pub service_account: String,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetadata {
    #[serde(rename = "type")]
    _kind: String,
    #[serde(default, deserialize_with = "super::schema::present")]
    cluster: Option<String>,
    #[serde(default, deserialize_with = "super::schema::present")]
    service_account: Option<String>,
}

const KIND: &str = "metadata";

/// Kinds of the schema that this version does not know yet.
const OTHER_KINDS: [&str; 3] = ["service_account_key", "impersonation", "federation"];

pub(super) fn read(value: Option<Value>, problems: &mut Problems) -> Option<Credentials> {
    let object = match value {
        Some(Value::Object(object)) => object,
        Some(other) => {
            let found = reader::kind(&other);
            problems.add(
                "credentials",
                format!("found {found}, expected an object such as {{type: metadata, cluster: metadata}}"),
            );
            return None;
        }
        None => {
            problems.add(
                "credentials",
                "is missing; write where tokens come from, such as {type: metadata, cluster: metadata}",
            );
            return None;
        }
    };
    match kind(&object) {
        Ok(()) => metadata(object, problems).map(Credentials::Metadata),
        Err(problem) => {
            problems.add("credentials.type", problem);
            None
        }
    }
}

fn kind(object: &Map<String, Value>) -> Result<(), String> {
    match object.get("type") {
        None => Err(format!("is missing; write \"{KIND}\"")),
        Some(Value::String(kind)) if kind == KIND => Ok(()),
        Some(Value::String(kind)) if OTHER_KINDS.contains(&kind.as_str()) => {
            Err(format!("\"{kind}\" is not supported by this version; write \"{KIND}\""))
        }
        Some(Value::String(kind)) if kind == "service_account" => Err(
            "\"service_account\" is what a key file says; the kind for it, \"service_account_key\", \
             is not supported by this version"
                .to_owned(),
        ),
        Some(Value::String(kind)) => {
            Err(format!("unknown value {kind:?}, expected \"{KIND}\""))
        }
        Some(other) => Err(format!("found {}, expected \"{KIND}\"", reader::kind(other))),
    }
}

fn metadata(object: Map<String, Value>, problems: &mut Problems) -> Option<MetadataCredentials> {
    let raw: RawMetadata = match reader::from_value(Value::Object(object)) {
        Ok(raw) => raw,
        Err(errors) => {
            problems.append(errors.below("credentials"));
            return None;
        }
    };
    if let Some(cluster) = &raw.cluster
        && (cluster.trim() != cluster
            || cluster.is_empty()
            || cluster.chars().any(char::is_control))
    {
        problems.add(
            "credentials.cluster",
            format!("{cluster:?} is no cluster's name; write the name as it stands in Envoy's configuration"),
        );
    }
    let service_account = raw.service_account.unwrap_or_else(|| "default".to_owned());
    if !is_service_account(&service_account) {
        problems.add(
            "credentials.service_account",
            format!(
                "{service_account:?} is no service account; write \"default\" or its email, \
                     such as \"login@my-project.iam.gserviceaccount.com\""
            ),
        );
    }
    Some(MetadataCredentials {
        cluster: raw.cluster,
        service_account,
    })
}

/// It becomes a segment of the metadata server's path.
fn is_service_account(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"/\\%?#\"<>".contains(c);
    let is_email = text.split_once('@').is_some_and(|(name, domain)| {
        !name.is_empty() && !domain.is_empty() && !domain.contains('@')
    });
    text == "default" || (is_email && text.chars().all(plain))
}
