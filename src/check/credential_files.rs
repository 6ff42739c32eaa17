//! The credential files that a configuration names: whether they are there, and fit.

use std::env;

use super::Findings;
use crate::config::{Config, Host};

/// An environment variable, as the one who checks sees it.
pub(super) enum Variable {
    /// It has this value.
    Set(String),
    /// The same, written into Envoy's configuration.
    InSight(String),
    /// It may be set where the module runs; here it is not.
    NotHere,
    /// It won't be set there.
    Missing,
}

/// The command's own environment, which need not be the proxy's.
pub(super) fn of_this_process(name: &str) -> Variable {
    env::var(name).map_or(Variable::NotHere, Variable::Set)
}

/// Reads what can be read: keys, URLs, and whether the credentials give what the rules want.
pub(super) fn check(
    config: &Config,
    host: Host,
    variable: impl Fn(&str) -> Variable,
    findings: &mut Findings<'_>,
) {
    let mut is_known = true;
    for (path, name) in config.credentials.environment_variables() {
        match variable(name) {
            Variable::InSight(_) if path.ends_with(".key") => findings.warning(
                path,
                format!(
                    "is in the environment variable {name}, whose value stands in key_values, where everybody \
                     sees it in Envoy's config_dump; set it for Envoy itself, and name it in host_env_keys"
                ),
            ),
            Variable::Set(_) | Variable::InSight(_) => {}
            Variable::NotHere => {
                is_known = false;
                findings.warning(
                    path,
                    format!("is in the environment variable {name}, which is not set here: it was not checked"),
                );
            }
            Variable::Missing => {
                is_known = false;
                findings.error(
                    path,
                    format!(
                        "is in the environment variable {name}, which the module won't see; name it in \
                         vm_config.environment_variables.host_env_keys"
                    ),
                );
            }
        }
    }
    if host == Host::Envoy {
        for path in config.credentials.secrets_in_sight() {
            findings.warning(
                path,
                "holds a secret, which everybody sees in Envoy's config_dump; write {env: NAME}, and name it in \
                 vm_config.environment_variables.host_env_keys",
            );
        }
    }
    if !is_known {
        return;
    }
    let set = |name: &str| match variable(name) {
        Variable::Set(value) | Variable::InSight(value) => Some(value),
        Variable::NotHere | Variable::Missing => None,
    };
    if let Err(errors) = config.source(&set) {
        errors
            .iter()
            .for_each(|error| findings.error(&error.path, &error.problem));
    }
}
