//! What `token` and `wait` share: whose token is asked for, and with which credentials.

use std::future::Future;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use invoker::audience::{Audience, AudienceError};
use invoker::check::ConfigFile;
use invoker::config::{Config, Credentials, MetadataCredentials};
use invoker::source::Source;
use invoker::wanted::Wanted;

use super::credential_file;

/// Less would fail for a server that is merely far away; whoever waits longer has forgotten it.
const TIMEOUTS: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(24 * 60 * 60);

/// Options that both have.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Take credentials and times from this configuration (YAML or JSON); without it, they are the
    /// default service account of the metadata server. The Envoy cluster in it is not needed here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Take this credential file of gcloud's or the console's; its type decides
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    credentials: Option<PathBuf>,

    /// Take AUDIENCE as it is: one of Cloud Run's custom audiences, which need not be URLs
    #[arg(long, requires = "audience")]
    custom: bool,
}

impl Options {
    /// An audience by the rules of the configuration.
    pub(super) fn audience(&self, text: &str) -> anyhow::Result<Audience> {
        let audience = if self.custom {
            Audience::custom(text)
        } else {
            Audience::parse(text)
        };
        audience.map_err(|error| match error {
            AudienceError::Unknown(_) => anyhow::anyhow!("AUDIENCE: {error} (here: --custom)"),
            error => anyhow::anyhow!("AUDIENCE: {error}"),
        })
    }

    /// The configuration, if one is named.
    pub(super) fn config(&self) -> anyhow::Result<Option<Config>> {
        self.config.as_deref().map(read).transpose()
    }

    /// Where this token comes from.
    pub(super) fn source(
        &self,
        config: Option<&Config>,
        wanted: &Wanted,
    ) -> anyhow::Result<Source> {
        let credentials = match &self.credentials {
            Some(path) => credential_file::read(path)?,
            None => credentials(config),
        };
        let environment = |name: &str| std::env::var(name).ok();
        let source = Source::new(&credentials, &environment)
            .map_err(|errors| anyhow::anyhow!("{errors}"))?;
        anyhow::ensure!(
            wanted.audience().is_none() || source.gives_id_tokens(),
            "the credentials name no account (service_account_impersonation_url), and without one there are no ID \
             tokens"
        );
        Ok(source)
    }
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let config = ConfigFile::read(path)?.config;
    config.map_err(|errors| anyhow::anyhow!("{} is not valid:\n{errors}", path.display()))
}

/// The configuration's, or the machine's own.
fn credentials(config: Option<&Config>) -> Credentials {
    config.map_or_else(
        || {
            Credentials::Metadata(MetadataCredentials {
                cluster: None,
                service_account: "default".to_owned(),
            })
        },
        |config| config.credentials.clone().without_clusters(),
    )
}

/// For clap.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok();
    let fit = duration.filter(|duration| TIMEOUTS.contains(duration));
    fit.ok_or_else(|| "write 100ms to 1d, for instance 5s or 1m".to_owned())
}

/// Runs on this thread. A name that is still being looked up does not hold up the end.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(result)
}
