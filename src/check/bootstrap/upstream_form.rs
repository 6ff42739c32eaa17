//! The plugin as a cluster's upstream filter: it runs behind the router, on every attempt, and its
//! waiting counts against the route's timeouts. What the router did before it, mirrors and matches, can't
//! leak a token; what comes after an attempt can (`carried`).

use super::Configured;
use super::carried;
use super::coverage::can_match;
use super::manager::Route;
use crate::check::Findings;
use crate::credential_headers::{ExistingCredential, SERVERLESS_AUTHORIZATION};

/// `all` are the plugins of the bootstrap, this one too.
pub(super) fn check(
    configured: &Configured<'_>,
    name: &str,
    all: &[Configured<'_>],
    findings: &mut Findings<'_>,
) {
    let Some(cluster) = configured.envoy.cluster(name) else {
        return;
    };
    let routes = configured.envoy.managers.iter().map(|manager| {
        let routes = manager.routes.iter().flatten();
        let leads_here = |route: &&Route<'_>| route.targets.clusters.contains(&name);
        (manager, routes.filter(leads_here).collect::<Vec<_>>())
    });
    let routes: Vec<_> = routes.collect();
    let honoured = configured.config.rules.honours_annotations();
    let gets_tokens = !configured.policies(Some(name), None).is_empty()
        || honoured && cluster.is_annotated
        || routes.iter().any(|(_, routes)| {
            routes
                .iter()
                .any(|route| configured.gets_tokens(route, name))
        });
    for (index, rule) in configured.config.rules.rules().iter().enumerate() {
        if !can_match(rule, Some(name), None) {
            let place = configured.in_configuration(&format!("audiences[{index}].cluster"));
            let problem = format!(
                "never matches here: this filter sees only cluster {name:?}; write \
                                   \"*\", or leave the rule out"
            );
            if gets_tokens || honoured {
                findings.warning(place, problem);
            } else {
                findings.error(place, problem);
            }
        }
    }
    if !gets_tokens {
        return;
    }
    configured.secure(cluster, findings);
    for (manager, routes) in routes.iter().filter(|(_, routes)| !routes.is_empty()) {
        configured.idle_timeouts(manager, routes, findings);
        for route in routes {
            route_timeouts(configured, route, findings);
            forgeable(configured, route, findings);
        }
    }
    carried::check(configured, name, all, findings);
}

/// They run while a request waits for its token.
fn route_timeouts(configured: &Configured<'_>, route: &Route<'_>, findings: &mut Findings<'_>) {
    let Some(action) = route.action() else {
        return;
    };
    let timeout = configured.timeout_seconds();
    let retries = route.retry_policy();
    let mut timeouts = vec![(action.clone(), "timeout")];
    for field in ["per_try_timeout", "per_try_idle_timeout"] {
        timeouts.extend(retries.clone().map(|retries| (retries, field)));
    }
    for (place, field) in timeouts {
        if let Some(seconds) = place.seconds(field)
            && seconds > 0.0
            && seconds <= timeout
        {
            let problem = format!(
                "{seconds}s is not longer than Invoker's timeout ({timeout}s), and a \
                                   request's wait for its token counts: it ends with Envoy's 504 and no \
                                   reason; write more, or give Invoker a shorter timeout"
            );
            findings.warning(place.path_of(field), problem);
        }
    }
}

/// Cloud Run looks at `x-serverless-authorization` first: who leaves it in lets clients go before us.
pub(super) fn forgeable(
    configured: &Configured<'_>,
    route: &Route<'_>,
    findings: &mut Findings<'_>,
) {
    let leaves_it = configured.route_policies(route).iter().any(|policy| {
        policy.existing() == ExistingCredential::Replace
            && policy.names().any(|name| name.as_str() == "authorization")
            && policy
                .names()
                .all(|name| name.as_str() != SERVERLESS_AUTHORIZATION)
    });
    let removed = route.removed_headers();
    let is_removed = removed
        .iter()
        .filter_map(|name| name.value().as_str())
        .any(|name| name.eq_ignore_ascii_case(SERVERLESS_AUTHORIZATION));
    if leaves_it && !is_removed {
        let problem = format!(
            "lets callers set {SERVERLESS_AUTHORIZATION}, which Cloud Run checks before \
                               authorization; write request_headers_to_remove: [{SERVERLESS_AUTHORIZATION}] \
                               on the route or around it"
        );
        findings.warning(route.virtual_host.path(), problem);
    }
}
