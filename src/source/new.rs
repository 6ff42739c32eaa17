//! From the configuration to a source: credential files are taken from where they are, and what only their
//! content can tell is checked.

use std::sync::Arc;
#[cfg(not(target_family = "wasm"))]
use std::time::Duration;

#[cfg(not(target_family = "wasm"))]
use super::federation::Subject;
use super::federation::{ExternalAccount, Federation};
use super::impersonation::Impersonation;
#[cfg(not(target_family = "wasm"))]
use super::local_subject::{ALLOW_EXECUTABLES, LocalSubject};
use super::metadata::Metadata;
use super::service_account::{DEFAULT_UNIVERSE, ServiceAccount};
use super::{Direct, IAM_SCOPE, Source};
use crate::config::{
    Config, ConfigErrors, Credentials, Environment, ImpersonationCredentials, resolve,
};
use crate::url::{Nearness, Url};
use crate::wanted::{Scopes, Wanted};

/// What stands in the way of ID tokens.
pub(crate) const NO_ACCOUNT: &str = "names no account (service_account_impersonation_url), and without one there \
    are only access tokens, no ID tokens; make the file with `gcloud iam workload-identity-pools \
    create-cred-config --service-account=EMAIL`";

impl Config {
    /// The source of the tokens. `environment` is asked for the variables that the configuration names.
    ///
    /// # Errors
    ///
    /// A variable is missing, what it holds won't do, or the credentials can't give what the rules want.
    pub fn source(&self, environment: Environment<'_>) -> Result<Source, ConfigErrors> {
        let source = Source::new(&self.credentials, environment)?;
        if self.wants_id_tokens() && !source.gives_id_tokens() {
            return Err(ConfigErrors::one("credentials.config", NO_ACCOUNT));
        }
        Ok(source)
    }
}

impl Source {
    /// Of the kind that the configuration names.
    ///
    /// # Errors
    ///
    /// An environment variable is missing, or what it holds won't do.
    pub fn new(
        credentials: &Credentials,
        environment: Environment<'_>,
    ) -> Result<Self, ConfigErrors> {
        if let Credentials::Impersonation(impersonation) = credentials {
            return impersonating(impersonation, environment);
        }
        let direct = Direct::new("credentials", credentials, environment)?;
        let impersonation = match (&direct, credentials) {
            (Direct::ServiceAccount(direct), _) if !direct.key.is_of_default_universe() => {
                Some(Impersonation {
                    cluster: direct.cluster.clone(),
                    account_url: account_url(&direct.key.universe, &direct.key.email)?,
                    account: direct.key.email.clone(),
                    delegates: Vec::new(),
                })
            }
            (Direct::Federation(direct), Credentials::Federation(federation)) => {
                direct.config.account.as_ref().map(|account| Impersonation {
                    cluster: federation.iam_cluster.clone().unwrap_or_default(),
                    account_url: account.url.clone(),
                    account: account.email.clone(),
                    delegates: Vec::new(),
                })
            }
            _ => None,
        };
        Self::of(direct, impersonation)
    }

    /// Whose tokens it gives, where the credentials say so.
    pub fn account(&self) -> Option<&str> {
        match (&self.impersonation, &self.direct) {
            (Some(account), _) => Some(&account.account),
            (None, Direct::ServiceAccount(direct)) => Some(&direct.key.email),
            _ => None,
        }
    }

    /// Whether it is any use where an audience is wanted.
    pub fn gives_id_tokens(&self) -> bool {
        !matches!(self.direct, Direct::Federation(_) | Direct::User(_))
            || self.impersonation.is_some()
    }

    /// How long a leg may take that is no callout, where the credentials say so.
    #[cfg(not(target_family = "wasm"))]
    pub fn patience(&self) -> Option<Duration> {
        match &self.direct {
            Direct::Federation(federation) => match &federation.config.subject {
                Subject::Local(local) => local.patience(),
                Subject::Served(_) => None,
            },
            _ => None,
        }
    }

    fn of(direct: Direct, impersonation: Option<Impersonation>) -> Result<Self, ConfigErrors> {
        let bearer =
            Scopes::new([IAM_SCOPE]).map_err(|it| ConfigErrors::one("", it.to_string()))?;
        Ok(Self {
            direct,
            impersonation,
            bearer: Wanted::AccessToken(bearer),
        })
    }
}

impl Direct {
    fn new(
        place: &str,
        credentials: &Credentials,
        environment: Environment<'_>,
    ) -> Result<Self, ConfigErrors> {
        let name = |cluster: &Option<String>| cluster.clone().unwrap_or_default();
        Ok(match credentials {
            Credentials::Metadata(credentials) => Self::Metadata(Metadata::new(credentials)),
            Credentials::ServiceAccountKey(credentials) => Self::ServiceAccount(ServiceAccount {
                cluster: name(&credentials.cluster),
                key: resolve(&credentials.key, &format!("{place}.key"), environment)?,
            }),
            Credentials::Federation(credentials) => Self::Federation(Federation {
                cluster: name(&credentials.cluster),
                subject_cluster: name(&credentials.subject_cluster),
                config: {
                    let config =
                        resolve(&credentials.config, &format!("{place}.config"), environment)?;
                    #[cfg(not(target_family = "wasm"))]
                    may_start_programs(&config, environment)?;
                    config
                },
            }),
            Credentials::User(user) => Self::User(Arc::clone(user)),
            Credentials::Impersonation(_) => {
                return Err(ConfigErrors::one(
                    place,
                    "can't impersonate through an impersonation",
                ));
            }
        })
    }

    fn universe(&self) -> &str {
        match self {
            Self::Metadata(_) | Self::User(_) => DEFAULT_UNIVERSE,
            Self::ServiceAccount(direct) => &direct.key.universe,
            Self::Federation(direct) => &direct.config.universe,
        }
    }
}

/// A credential file can come from anywhere, and what it names is run with this process's rights.
#[cfg(not(target_family = "wasm"))]
fn may_start_programs(
    config: &ExternalAccount,
    environment: Environment<'_>,
) -> Result<(), ConfigErrors> {
    let Subject::Local(local) = &config.subject else {
        return Ok(());
    };
    match local.as_ref() {
        LocalSubject::Executable(_) if environment(ALLOW_EXECUTABLES).as_deref() != Some("1") => {
            Err(ConfigErrors::one(
                "credential_source.executable",
                format!(
                    "is a program, which is started only where {ALLOW_EXECUTABLES} is 1; set it in the environment if \
                     you trust this file and the program"
                ),
            ))
        }
        LocalSubject::Executable(_) | LocalSubject::Aws(_) => Ok(()),
    }
}

fn impersonating(
    credentials: &ImpersonationCredentials,
    environment: Environment<'_>,
) -> Result<Source, ConfigErrors> {
    let direct = Direct::new("credentials.source", &credentials.source, environment)?;
    let account = &credentials.service_account;
    if let Direct::Federation(federation) = &direct {
        same_account(&federation.config, account)?;
    }
    let impersonation = Impersonation {
        cluster: credentials.cluster.clone().unwrap_or_default(),
        account_url: match &credentials.account_url {
            Some(url) => url.clone(),
            None => account_url(direct.universe(), account)?,
        },
        account: account.clone(),
        delegates: credentials.delegates.clone(),
    };
    Source::of(direct, Some(impersonation))
}

/// The federated principal asks by itself: an account of the file would silently be passed over.
fn same_account(config: &ExternalAccount, wanted: &str) -> Result<(), ConfigErrors> {
    match &config.account {
        Some(account) if account.email != wanted => Err(ConfigErrors::one(
            "credentials.source.config",
            format!(
                "impersonates {} itself, and credentials.service_account is {wanted}; take \
                 service_account_impersonation_url out of it, and name that account among \
                 credentials.delegates if it is to stand in between",
                account.email
            ),
        )),
        _ => Ok(()),
    }
}

fn account_url(universe: &str, email: &str) -> Result<Url, ConfigErrors> {
    let text = format!("https://iamcredentials.{universe}/v1/projects/-/serviceAccounts/{email}");
    Url::parse(&text, Nearness::Loopback)
        .map_err(|error| ConfigErrors::one("credentials", format!("IAM's URL {error}")))
}
