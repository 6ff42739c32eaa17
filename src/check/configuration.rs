//! What a configuration alone can get wrong.

use super::Findings;
use super::credential_files::{self, Environment};
use crate::config::{Config, ConfigErrors, Host};
use crate::rules::{Action, Rule, RuleAudience, is_passthrough};

/// Beyond this, comparing every rule with every other takes longer than a person waits.
const MAX_COMPARED_RULES: usize = 2_000;

/// The configuration, if it is valid for the host.
pub(super) fn check(
    config: Result<Config, ConfigErrors>,
    host: Host,
    environment: &Environment<'_>,
    findings: &mut Findings<'_>,
) -> Option<Config> {
    let config = match config.and_then(|config| config.for_host(host)) {
        Ok(config) => config,
        Err(errors) => {
            errors
                .iter()
                .for_each(|error| findings.error(&error.path, &error.problem));
            return None;
        }
    };
    credential_files::check(&config, host, environment, findings);
    for (index, rule) in config.rules.rules().iter().enumerate() {
        if host == Host::Envoy && is_open(rule) {
            findings.warning(
                format!("audiences[{index}]"),
                "sends a token for one audience to whatever cluster Envoy picks, since it names no \
                 `cluster`; a client that gets a request routed elsewhere gets the token sent there: \
                 name the cluster",
            );
        }
    }
    if let rules @ [_, ..] = config.rules.rules()
        && rules.len() <= MAX_COMPARED_RULES
    {
        unreachable_rules(rules, findings);
    }
    Some(config)
}

fn is_open(rule: &Rule) -> bool {
    let literal = RuleAudience::is_literal;
    rule.cluster.is_none()
        && matches!(&rule.action, Action::Attach { audience, .. } if literal(audience))
}

fn unreachable_rules(rules: &[Rule], findings: &mut Findings<'_>) {
    for (index, rule) in rules.iter().enumerate() {
        let earlier = rules
            .iter()
            .take(index)
            .position(|earlier| covers(earlier, rule));
        if let Some(earlier) = earlier {
            findings.warning(
                format!("audiences[{index}]"),
                format!(
                    "is never reached, since audiences[{earlier}] matches all that it means and comes \
                     first; put the narrower rule first, or leave this one out"
                ),
            );
        }
    }
}

/// Whether every request that the later rule matches is taken by the earlier one. Two patterns count
/// only if they are the same text.
fn covers(earlier: &Rule, later: &Rule) -> bool {
    let cluster = match (&earlier.cluster, &later.cluster) {
        (None, None) => true,
        // A rule without a cluster leaves out passthrough clusters, which patterns may mean.
        (None, Some(later)) => later.exact().is_some_and(|name| !is_passthrough(name)),
        (Some(earlier), None) => earlier.is_everything(),
        (Some(earlier), Some(later)) => {
            earlier.is_everything()
                || earlier.as_str() == later.as_str()
                || later.exact().is_some_and(|name| earlier.matches(name))
        }
    };
    let authority = match (&earlier.authority, &later.authority) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => {
            let exact = later.exact().and_then(crate::rules::Authority::parse);
            earlier.as_str() == later.as_str() || exact.is_some_and(|exact| earlier.matches(&exact))
        }
    };
    let path = match (&earlier.path, &later.path) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => earlier.matches(later.as_str()),
    };
    cluster && authority && path && !needs_segment(earlier)
}

/// A rule whose template takes a segment leaves the paths without one to later rules.
fn needs_segment(rule: &Rule) -> bool {
    matches!(
        &rule.action,
        Action::Attach { audience: RuleAudience::Template(template), .. } if template.needs_path()
    )
}
