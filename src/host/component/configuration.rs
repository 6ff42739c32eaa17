//! What a component is told in its environment, or by its host's store of settings.

use std::time::Duration;

use super::log;
use crate::config::{Config, ConfigErrors, Host};
use crate::invoker::Invoker;
use crate::source::metadata::METADATA_HOST;
use crate::time::Monotonic;

/// The setting with the configuration, as JSON.
const CONFIG: &str = "INVOKER_CONFIG";

/// The setting that names the bucket for tokens. An empty name is one too.
#[cfg(feature = "hosted")]
const BUCKET: &str = "INVOKER_BUCKET";

/// A core as it was configured, and what is the host's business.
pub(super) struct Configured {
    pub(super) invoker: Invoker,
    #[cfg_attr(
        feature = "client",
        expect(dead_code, reason = "the request's URL says where it goes")
    )]
    pub(super) allow_insecure: bool,
    pub(super) metadata_host: Option<String>,
    #[cfg(feature = "hosted")]
    pub(super) bucket: Option<String>,
}

/// There is no core. What is wrong was told.
#[derive(Clone, Copy)]
pub(super) struct Misconfigured {
    /// Whether it could not be read and may be another time, so that it makes sense to try again.
    pub(super) is_temporary: bool,
}

/// Makes a core of what the settings say.
///
/// # Errors
///
/// The configuration can't be used.
pub(super) fn read(host: Host, seed: u64, started: Monotonic) -> Result<Configured, Misconfigured> {
    let told = |problem: String, is_temporary| {
        log::line("error", &problem);
        Misconfigured { is_temporary }
    };
    let settings = Settings::read().map_err(|problem| told(problem, true))?;
    configured(host, settings, seed, started).map_err(|problem| told(problem, false))
}

fn configured(
    host: Host,
    settings: Settings,
    seed: u64,
    started: Monotonic,
) -> Result<Configured, String> {
    let text = settings.config.ok_or_else(|| {
        format!("{CONFIG} is not set; give the component the configuration there, as JSON")
    })?;
    let told = |errors: ConfigErrors| format!("{CONFIG}: {errors}");
    let config = Config::from_json(&text).and_then(|config| config.for_host(host));
    let config = config.map_err(told)?;
    let variable = |name: &str| not_empty(environment(name));
    let source = config.source(&variable).map_err(told)?;
    let allow_insecure = config.allow_insecure;
    Ok(Configured {
        invoker: Invoker::new(config, source, seed, started, Duration::ZERO),
        allow_insecure,
        metadata_host: settings.metadata_host,
        #[cfg(feature = "hosted")]
        bucket: settings.bucket,
    })
}

struct Settings {
    config: Option<String>,
    metadata_host: Option<String>,
    #[cfg(feature = "hosted")]
    bucket: Option<String>,
}

impl Settings {
    fn read() -> Result<Self, String> {
        Ok(Self {
            config: not_empty(setting(CONFIG)?),
            metadata_host: not_empty(setting(METADATA_HOST)?),
            #[cfg(feature = "hosted")]
            bucket: setting(BUCKET)?,
        })
    }
}

fn setting(name: &str) -> Result<Option<String>, String> {
    #[cfg(feature = "hosted")]
    if let Some(value) = super::hosted::setting(name)? {
        return Ok(Some(value));
    }
    Ok(environment(name))
}

fn not_empty(value: Option<String>) -> Option<String> {
    value.filter(|it| !it.is_empty())
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
