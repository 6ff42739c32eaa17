//! `type: metadata`.

use serde_json::{Map, Value};

use super::cluster;
use crate::config::error::Problems;
use crate::config::reader;

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
struct Raw {
    #[serde(rename = "type")]
    _kind: String,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    cluster: Option<String>,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    service_account: Option<String>,
}

pub(super) fn read(
    place: &str,
    object: Map<String, Value>,
    problems: &mut Problems,
) -> Option<MetadataCredentials> {
    let raw: Raw = super::fields(place, object, problems)?;
    cluster::check_name(
        &format!("{place}.cluster"),
        raw.cluster.as_deref(),
        problems,
    );
    let service_account = raw.service_account.unwrap_or_else(|| "default".to_owned());
    if service_account != "default" && !super::is_email(&service_account) {
        problems.add(
            format!("{place}.service_account"),
            format!(
                "{} is no service account; write \"default\" or its email, \
                     such as \"login@my-project.iam.gserviceaccount.com\"",
                reader::quoted(&service_account)
            ),
        );
    }
    Some(MetadataCredentials {
        cluster: raw.cluster,
        service_account,
    })
}
