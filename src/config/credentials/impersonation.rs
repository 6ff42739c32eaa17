//! `type: impersonation`.

use serde_json::{Map, Value};

use super::{Credentials, FEDERATION, METADATA, SERVICE_ACCOUNT_KEY, cluster, is_email};
use crate::config::error::Problems;
use crate::config::reader;
use crate::url::Url;

/// Another account, as whom the source's may act.
#[derive(Debug, Clone)]
pub struct ImpersonationCredentials {
    /// Its email.
    pub service_account: String,
    /// Accounts in between, from the source's to the last one, which may act as `service_account`.
    pub delegates: Vec<String>,
    /// The account at IAM, without a method, where a file names it; else Google's.
    pub account_url: Option<Url>,
    /// The Envoy cluster of IAM.
    pub cluster: Option<String>,
    /// Who asks: any kind but this one.
    pub source: Credentials,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "type")]
    _kind: String,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    service_account: Option<String>,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    delegates: Option<Vec<String>>,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    cluster: Option<String>,
    #[serde(default, deserialize_with = "crate::config::schema::present")]
    source: Option<Value>,
}

const SOURCES: [&str; 3] = [METADATA, SERVICE_ACCOUNT_KEY, FEDERATION];

/// More than any chain of accounts has.
pub(super) const MAX_DELEGATES: usize = 16;

pub(super) fn read(
    place: &str,
    object: Map<String, Value>,
    problems: &mut Problems,
) -> Option<ImpersonationCredentials> {
    let raw: Raw = super::fields(place, object, problems)?;
    let at = |field: &str| format!("{place}.{field}");
    cluster::check_name(&at("cluster"), raw.cluster.as_deref(), problems);
    let service_account = raw.service_account.unwrap_or_default();
    if service_account.is_empty() {
        problems.add(
            at("service_account"),
            "is missing; write the email of the account whose tokens are wanted",
        );
    } else if !is_email(&service_account) {
        problems.add(at("service_account"), no_email(&service_account));
    }
    let delegates = raw.delegates.unwrap_or_default();
    for (index, email) in delegates.iter().enumerate() {
        if !is_email(email) {
            problems.add(format!("{place}.delegates[{index}]"), no_email(email));
        }
    }
    if delegates.len() > MAX_DELEGATES {
        problems.add(
            at("delegates"),
            format!("holds more than {MAX_DELEGATES} accounts"),
        );
    }
    let source = super::read_at(&at("source"), &SOURCES, raw.source, problems);
    if let Some(Credentials::Federation(federation)) = &source
        && federation.iam_cluster.is_some()
    {
        problems.add(
            at("source.iam_cluster"),
            "has no meaning here, since `cluster` leads to IAM; leave it out",
        );
    }
    Some(ImpersonationCredentials {
        service_account,
        account_url: None,
        delegates,
        cluster: raw.cluster,
        source: source?,
    })
}

fn no_email(text: &str) -> String {
    format!(
        "{} is no service account; write its email, such as \"caller@my-project.iam.gserviceaccount.com\"",
        reader::quoted(text)
    )
}
