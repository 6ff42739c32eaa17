//! What a component is told in its environment.

use std::time::Duration;

use crate::config::{Config, ConfigErrors, Host};
use crate::invoker::Invoker;
use crate::source::metadata::METADATA_HOST;
use crate::time::Monotonic;

/// The environment variable with the configuration, as JSON.
const CONFIG: &str = "INVOKER_CONFIG";

/// A core as it was configured, and what is the host's business.
pub(super) struct Configured {
    pub(super) invoker: Invoker,
    #[cfg_attr(
        feature = "client",
        expect(dead_code, reason = "the request's URL says where it goes")
    )]
    pub(super) allow_insecure: bool,
    pub(super) metadata_host: Option<String>,
}

/// There is no core. What is wrong was told, once.
#[derive(Clone, Copy)]
pub(super) struct Misconfigured;

/// Makes a core of what the environment says.
///
/// # Errors
///
/// The configuration can't be used.
pub(super) fn read(host: Host, seed: u64, started: Monotonic) -> Result<Configured, Misconfigured> {
    configured(host, seed, started).map_err(|problems| {
        eprintln!("invoker: error: {problems}");
        Misconfigured
    })
}

fn configured(host: Host, seed: u64, started: Monotonic) -> Result<Configured, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let text = variable(CONFIG).ok_or_else(|| {
        format!("{CONFIG} is not set; give the component the configuration there, as JSON")
    })?;
    let told = |errors: ConfigErrors| format!("{CONFIG}: {errors}");
    let config = Config::from_json(&text).and_then(|config| config.for_host(host));
    let config = config.map_err(told)?;
    let source = config.source(&variable).map_err(told)?;
    let allow_insecure = config.allow_insecure;
    Ok(Configured {
        invoker: Invoker::new(config, source, seed, started, Duration::ZERO),
        allow_insecure,
        metadata_host: variable(METADATA_HOST),
    })
}
