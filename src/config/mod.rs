//! The configuration: one schema for every host.
//!
//! Text becomes a [`Config`] that can't be wrong, or a list of everything that is wrong with it: each
//! with its path, what was found, and what to write instead. Nothing is guessed and nothing ignored,
//! since a rule that silently does nothing sends requests on without a token. [`Config::for_host`] is the
//! one place for what differs between hosts.

use std::time::Duration;

use serde::Deserialize;

use crate::credential_headers::HeaderPolicy;
use crate::rules::{Action, Rule, RuleAudience, Rules};
use crate::wanted::Wanted;

mod credentials;
mod document;
mod error;
mod host;
mod limits;
mod reader;
mod rule;
mod schema;

pub(crate) use credentials::resolve;
pub use credentials::{
    ClusterField, CredentialFile, Credentials, Environment, FederationCredentials,
    ImpersonationCredentials, KeyCredentials, MetadataCredentials,
};
pub use error::{ConfigError, ConfigErrors};
pub use host::Host;

use error::Problems;
use schema::RawConfig;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where tokens come from.
    pub credentials: Credentials,
    /// Which requests get a token, and for whom.
    pub rules: Rules,
    /// How long things may take.
    pub timing: Timing,
    /// What becomes of a request that can't have its token.
    pub failure_mode: FailureMode,
    /// What a denial's body says.
    pub error_details: ErrorDetails,
    /// How many requests of one worker may wait for tokens; beyond it a request fails at once.
    pub max_waiting_requests: usize,
    /// Whether literal audiences are fetched as soon as the configuration is there.
    pub prefetch: bool,
    /// Whether tokens go to `http:` URLs too, not only loopback's (WASI and JavaScript).
    pub allow_insecure: bool,
    /// How tokens are written unless a rule says otherwise.
    pub headers: std::sync::Arc<HeaderPolicy>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a request may wait for its token.
    pub timeout: Duration,
    /// How long one callout may take, a refresh's too.
    pub callout_timeout: Duration,
    /// How long before a token's usable end the next one is fetched.
    pub refresh_margin: Duration,
}

/// What becomes of a request that can't have its token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureMode {
    /// A local reply.
    #[default]
    Deny,
    /// It goes on without one.
    Allow,
}

/// What a denial's body says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorDetails {
    /// Which audience, which server and why.
    #[default]
    Body,
    /// Only the code; the rest is in the log (for gateways, whose clients are strangers).
    Log,
}

impl Config {
    /// Reads a configuration from JSON.
    pub fn from_json(text: &str) -> Result<Self, ConfigErrors> {
        Self::from_raw(reader::from_json(text)?)
    }

    /// Reads a configuration from a value: an Envoy `Struct`, YAML, a JavaScript object.
    pub fn from_value(value: serde_json::Value) -> Result<Self, ConfigErrors> {
        Self::from_raw(reader::from_value(value)?)
    }

    /// Whether any rule, or what routes and clusters carry, can ask for an ID token.
    pub fn wants_id_tokens(&self) -> bool {
        let wants = |rule: &Rule| match &rule.action {
            Action::Bypass => false,
            Action::Attach { audience, .. } => {
                !matches!(audience, RuleAudience::Literal(Wanted::AccessToken(_)))
            }
        };
        self.rules.honours_annotations() || self.rules.rules().iter().any(wants)
    }

    fn from_raw(raw: RawConfig) -> Result<Self, ConfigErrors> {
        let mut problems = Problems::default();
        let credentials = credentials::read(raw.credentials, &mut problems);
        let existing = raw.existing_credential.unwrap_or_default();
        let headers = rule::default_policy(raw.header, existing, &mut problems);
        let annotated = raw.audience_from_metadata.unwrap_or_default();
        let rules = rule::read_all(raw.audiences.unwrap_or_default(), &headers, &mut problems);
        let timing = limits::timing(
            raw.timeout.as_deref(),
            raw.callout_timeout.as_deref(),
            raw.refresh_margin.as_deref(),
            &mut problems,
        );
        let max_waiting_requests =
            limits::max_waiting_requests(raw.max_waiting_requests, &mut problems);
        match (credentials, problems.into_result()) {
            (Some(credentials), Ok(())) => Ok(Self {
                credentials,
                rules: Rules::new(rules, annotated.then(|| headers.clone()), &headers),
                timing,
                failure_mode: raw.failure_mode.unwrap_or_default(),
                error_details: raw.error_details.unwrap_or_default(),
                max_waiting_requests,
                prefetch: raw.prefetch.unwrap_or(true),
                allow_insecure: raw.allow_insecure.unwrap_or_default(),
                headers,
            }),
            (_, Err(errors)) => Err(errors),
            (None, Ok(())) => Err(ConfigErrors::one("credentials", "could not be read")),
        }
    }
}

#[cfg(test)]
mod tests;
