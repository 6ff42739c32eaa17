//! The Envoy clusters that callouts go to: which ones a kind needs, and whither each must lead.

use super::{CredentialFile, Credentials, PLACE};
use crate::config::error::Problems;
use crate::config::reader;

/// One field that names a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterField<'a> {
    /// Its path in the configuration.
    pub path: String,
    /// What stands there.
    pub name: Option<&'a str>,
    /// Where the cluster must lead, in words.
    pub leads_to: &'static str,
    /// Whether the server is asked in the clear, as only the metadata server is; `None`: either way.
    pub is_plain: Option<bool>,
    /// Whether Envoy can't do without it.
    pub is_required: bool,
}

const METADATA_SERVER: &str = "the metadata server (metadata.google.internal:80)";
const TOKEN_ENDPOINT: &str = "the key's token_uri (oauth2.googleapis.com:443; for a key of another universe domain its iamcredentials)";
const IAM: &str = "IAM (iamcredentials.googleapis.com:443)";
const STS: &str = "the token service (sts.googleapis.com:443)";
const SUBJECT: &str = "credential_source.url, where the subject token comes from";

impl Credentials {
    /// All clusters that callouts of this kind go to.
    pub fn clusters(&self) -> Vec<ClusterField<'_>> {
        clusters(PLACE, self)
    }

    /// The same credentials for a host without Envoy's clusters.
    pub fn without_clusters(mut self) -> Self {
        remove_clusters(&mut self);
        self
    }
}

fn clusters<'a>(place: &str, credentials: &'a Credentials) -> Vec<ClusterField<'a>> {
    let field = |field: &str, name: &'a Option<String>, leads_to, is_plain| ClusterField {
        path: format!("{place}.{field}"),
        name: name.as_deref(),
        leads_to,
        is_plain,
        is_required: true,
    };
    let tls = Some(false);
    match credentials {
        Credentials::User(_) => Vec::new(),
        Credentials::Metadata(metadata) => {
            vec![field(
                "cluster",
                &metadata.cluster,
                METADATA_SERVER,
                Some(true),
            )]
        }
        Credentials::ServiceAccountKey(key) => {
            vec![field("cluster", &key.cluster, TOKEN_ENDPOINT, tls)]
        }
        Credentials::Impersonation(impersonation) => {
            let mut fields = vec![field("cluster", &impersonation.cluster, IAM, tls)];
            let source = clusters(&format!("{place}.source"), &impersonation.source);
            // The federation's own account is not asked for anything then.
            fields.extend(
                source
                    .into_iter()
                    .filter(|it| !it.path.ends_with("iam_cluster")),
            );
            fields
        }
        Credentials::Federation(federation) => {
            let subject = |name| ClusterField {
                is_required: !federation.asks_program,
                ..field("subject_cluster", name, SUBJECT, None)
            };
            let has_no_account = matches!(&federation.config,
                CredentialFile::Inline(config) if config.account.is_none());
            vec![
                field("cluster", &federation.cluster, STS, tls),
                subject(&federation.subject_cluster),
                ClusterField {
                    is_required: !has_no_account,
                    ..field("iam_cluster", &federation.iam_cluster, IAM, tls)
                },
            ]
        }
    }
}

fn remove_clusters(credentials: &mut Credentials) {
    match credentials {
        Credentials::User(_) => {}
        Credentials::Metadata(metadata) => metadata.cluster = None,
        Credentials::ServiceAccountKey(key) => key.cluster = None,
        Credentials::Impersonation(impersonation) => {
            impersonation.cluster = None;
            remove_clusters(&mut impersonation.source);
        }
        Credentials::Federation(federation) => {
            federation.cluster = None;
            federation.subject_cluster = None;
            federation.iam_cluster = None;
        }
    }
}

/// Notes a name that no cluster can have.
pub(super) fn check_name(path: &str, name: Option<&str>, problems: &mut Problems) {
    let is_name =
        |name: &str| !name.is_empty() && name.trim() == name && !name.chars().any(char::is_control);
    if let Some(name) = name.filter(|name| !is_name(name)) {
        problems.add(
            path,
            format!(
                "{} is no cluster's name; write the name as it stands in Envoy's configuration",
                reader::quoted(name)
            ),
        );
    }
}
