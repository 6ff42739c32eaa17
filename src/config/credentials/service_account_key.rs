//! `type: service_account_key`.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::file::{self, CredentialFile, Fields, FileKind};
use super::{cluster, is_email};
use crate::config::error::Problems;
use crate::source::key::SigningKey;
use crate::source::service_account::ServiceAccountKey;
use crate::url::{Nearness, Url};

/// A service account's key.
#[derive(Debug, Clone)]
pub struct KeyCredentials {
    /// The key file.
    pub key: CredentialFile<ServiceAccountKey>,
    /// The Envoy cluster of its token endpoint; for a key of another universe domain, of IAM.
    pub cluster: Option<String>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "type")]
    _kind: String,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    key: Option<Value>,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    cluster: Option<String>,
}

pub(super) fn read(
    place: &str,
    object: Map<String, Value>,
    problems: &mut Problems,
) -> Option<KeyCredentials> {
    let raw: Raw = super::fields(place, object, problems)?;
    cluster::check_name(
        &format!("{place}.cluster"),
        raw.cluster.as_deref(),
        problems,
    );
    Some(KeyCredentials {
        key: file::read(&format!("{place}.key"), raw.key, problems)?,
        cluster: raw.cluster,
    })
}

impl FileKind for ServiceAccountKey {
    const TYPE: &'static str = "service_account";

    fn read(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let email = fields.line("client_email", problems);
        let email = email.and_then(|email| {
            let is_good = is_email(email);
            if !is_good {
                problems.add("client_email", "is no email");
            }
            is_good.then(|| email.to_owned())
        });
        let key_id = match fields.0.get("private_key_id") {
            None | Some(Value::Null) => Some(None),
            Some(_) => fields
                .line("private_key_id", problems)
                .map(|it| Some(it.to_owned())),
        };
        let token_uri = fields.text("token_uri", problems);
        let token_uri = token_uri
            .and_then(|text| problems.take("token_uri", Url::parse(text, Nearness::Loopback)));
        let universe = fields.universe(problems);
        let pem = fields.text("private_key", problems);
        let key = pem.and_then(|pem| problems.take("private_key", SigningKey::from_pem(pem)));
        Some(Self {
            email: email?,
            key_id: key_id?,
            token_uri: token_uri?,
            universe: universe?,
            key: Arc::new(key?),
        })
    }
}
