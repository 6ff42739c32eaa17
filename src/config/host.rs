//! What differs between hosts.

use super::error::Problems;
use super::{Config, ConfigErrors};

/// Who runs the core, as far as the configuration cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Callouts go through one of Envoy's clusters.
    Envoy,
    /// A WASI component: callouts go out as they are.
    Wasi,
    /// A WASI component that others can ask for tokens, besides.
    WasiClient,
    /// A package in a program, which can have tokens of its own.
    JavaScript,
}

impl Config {
    /// Checks what only this host requires or forbids.
    ///
    /// # Errors
    ///
    /// Everything that is wrong here, with its path.
    pub fn for_host(self, host: Host) -> Result<Self, ConfigErrors> {
        let mut problems = Problems::default();
        match host {
            Host::Envoy => self.check_for_envoy(&mut problems),
            Host::Wasi | Host::WasiClient | Host::JavaScript => {
                self.check_without_envoy(&mut problems)
            }
        }
        // A program can ask for tokens by itself.
        let can_ask = matches!(host, Host::WasiClient | Host::JavaScript);
        if self.rules.rules().is_empty() && !self.rules.honours_annotations() && !can_ask {
            problems.add(
                "audiences",
                match host {
                    Host::Envoy => {
                        "holds no rule, so there is nothing to do; write one, such as \
                         {cluster: profiles, audience: \"https://profiles-abc-uc.a.run.app\"}, \
                         or set audience_from_metadata: true"
                    }
                    Host::Wasi | Host::WasiClient | Host::JavaScript => {
                        "holds no rule, so there is nothing to do; write one, such as \
                         {authority: \"*.a.run.app\", audience: \"https://{authority}\"}"
                    }
                },
            );
        }
        if let Some(place) = self.credentials.asks_program()
            && host != Host::JavaScript
        {
            problems.add(
                place,
                "is for JavaScript, where the program around Invoker brings the token; leave it out, and say in \
                 config.credential_source where it comes from",
            );
        }
        problems.into_result().map(|()| self)
    }

    fn check_for_envoy(&self, problems: &mut Problems) {
        for field in self.credentials.clusters() {
            if field.name.is_none() && field.is_required {
                problems.add(
                    field.path,
                    format!(
                        "is missing; write the name of the Envoy cluster that leads to {}",
                        field.leads_to
                    ),
                );
            }
        }
        if self.allow_insecure {
            problems.add(
                "allow_insecure",
                "is for WASI and JavaScript, where the request's URL says whether it is secure; in Envoy \
                 the cluster does, with its transport_socket: leave it out",
            );
        }
    }

    fn check_without_envoy(&self, problems: &mut Problems) {
        for field in self.credentials.clusters() {
            if let Some(cluster) = field.name {
                problems.add(
                    field.path,
                    format!(
                        "{cluster:?} names an Envoy cluster, and there is no Envoy here; leave it out"
                    ),
                );
            }
        }
        for (index, rule) in self.rules.rules().iter().enumerate() {
            if let Some(cluster) = &rule.cluster {
                problems.add(
                    format!("audiences[{index}].cluster"),
                    format!(
                        "{:?} means Envoy's clusters, and there is no Envoy here; write `authority` with the host \
                         of the URL",
                        cluster.as_str()
                    ),
                );
            }
        }
        if self.rules.honours_annotations() {
            problems.add(
                "audience_from_metadata",
                "is for Envoy, whose routes and clusters carry metadata; leave it out, and write a rule with \
                 `authority`",
            );
        }
    }
}
