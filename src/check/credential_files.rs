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

/// The environment that the module will have, and how a person changes it.
pub(super) struct Environment<'a> {
    pub(super) variable: &'a dyn Fn(&str) -> Variable,
    /// How a variable is given to the module.
    pub(super) give: &'static str,
    /// Where a value in sight stands, and what to write instead.
    pub(super) in_sight: &'static str,
}

impl<'a> Environment<'a> {
    /// As Envoy's own configuration gives it.
    pub(super) fn of_envoy(variable: &'a dyn Fn(&str) -> Variable) -> Self {
        Self {
            variable,
            give: "name it in vm_config.environment_variables.host_env_keys",
            in_sight: "stands in key_values, where everybody sees it in Envoy's config_dump; set it for Envoy \
                       itself, and name it in host_env_keys",
        }
    }
}

/// The command's own environment, which need not be the proxy's.
pub(super) fn of_this_process(name: &str) -> Variable {
    env::var(name).map_or(Variable::NotHere, Variable::Set)
}

/// Reads what can be read: keys, URLs, and whether the credentials give what the rules want.
pub(super) fn check(
    config: &Config,
    host: Host,
    environment: &Environment<'_>,
    findings: &mut Findings<'_>,
) {
    let Environment {
        variable,
        give,
        in_sight,
    } = environment;
    let mut is_known = true;
    for (path, name) in config.credentials.environment_variables() {
        match variable(name) {
            Variable::InSight(_) if path.ends_with(".key") => findings.warning(
                path,
                format!("is in the environment variable {name}, whose value {in_sight}"),
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
                        "is in the environment variable {name}, which the module won't see; {give}"
                    ),
                );
            }
        }
    }
    if host == Host::Envoy {
        for path in config.credentials.secrets_in_sight() {
            findings.warning(
                path,
                format!(
                    "holds a secret, which everybody sees in Envoy's config_dump; write {{env: NAME}}, and {give}"
                ),
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
