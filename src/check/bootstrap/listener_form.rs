//! The plugin as a listener's filter: what the router does afterwards, it does with the token in the
//! request.

use super::cluster::Cluster;
use super::manager::{Manager, Route};
use super::{Configured, upstream_form};
use crate::check::Findings;
use crate::rules::Action;

pub(super) fn check(configured: &Configured<'_>, manager: usize, findings: &mut Findings<'_>) {
    let Some(manager) = configured.envoy.managers.get(manager) else {
        return;
    };
    configured.named_clusters(findings);
    let Some(routes) = &manager.routes else {
        findings.warning(
            manager.node.path(),
            "has its routes from elsewhere, so that they can't be checked: no redirect policy, mirror, \
             or match on a header that Invoker writes may be among them",
        );
        return;
    };
    let covered: Vec<&Route<'_>> = routes
        .iter()
        .filter(|route| !configured.route_policies(route).is_empty())
        .collect();
    configured.idle_timeouts(manager, &covered, findings);
    for route in &covered {
        configured.targets(route, findings);
        redirects_and_mirrors(route, findings);
        retries(configured, route, findings);
        configured.router_headers(route, findings);
        upstream_form::forgeable(configured, route, findings);
    }
    for route in routes {
        let shares_host =
            |other: &&Route<'_>| other.virtual_host.path() == route.virtual_host.path();
        if covered.iter().any(shares_host) {
            configured.matches_on_written_header(route, findings);
        }
    }
}

impl Configured<'_> {
    /// Each cluster that a rule names exists, and a pattern means one.
    fn named_clusters(&self, findings: &mut Findings<'_>) {
        for (index, rule) in self.config.rules.rules().iter().enumerate() {
            let Some(pattern) = rule
                .cluster
                .as_ref()
                .filter(|pattern| !pattern.is_everything())
            else {
                continue;
            };
            let place = self.in_configuration(&format!("audiences[{index}].cluster"));
            let gets_token = matches!(rule.action, Action::Attach { .. });
            if let Some(name) = pattern.exact() {
                let cluster = self.existing_cluster(name, &place, findings);
                if let Some(cluster) = cluster.filter(|_| gets_token) {
                    self.secure_with_members(cluster, findings);
                }
                continue;
            }
            let mut means_any = false;
            for cluster in &self.envoy.clusters {
                if pattern.matches(cluster.name) {
                    means_any = true;
                    if gets_token {
                        self.secure_with_members(cluster, findings);
                    }
                }
            }
            if !means_any {
                findings.warning(
                    place,
                    format!("{:?} means none of the clusters here", pattern.as_str()),
                );
            }
        }
    }

    fn targets(&self, route: &Route<'_>, findings: &mut Findings<'_>) {
        for name in &route.targets.clusters {
            if let Some(cluster) = self.envoy.cluster(name)
                && self.gets_tokens(route, name)
            {
                self.secure_with_members(cluster, findings);
            }
        }
        if route.targets.chooser.is_some() {
            let problem = "is led to clusters that are not named here, so that it can't be checked \
                           whether they are secure";
            findings.warning(route.node.path(), problem);
        }
    }

    fn secure_with_members(&self, cluster: &Cluster<'_>, findings: &mut Findings<'_>) {
        if cluster.members.is_empty() {
            return self.secure(cluster, findings);
        }
        for member in cluster
            .members
            .iter()
            .filter_map(|name| self.envoy.cluster(name))
        {
            self.secure(member, findings);
        }
    }

    pub(super) fn idle_timeouts(
        &self,
        manager: &Manager<'_>,
        routes: &[&Route<'_>],
        findings: &mut Findings<'_>,
    ) {
        let timeout = self.timeout_seconds();
        for (path, seconds) in manager.idle_timeouts(routes) {
            if seconds == 0.0 {
                let problem = "is 0: a request that waits in a Wasm VM that has crashed would hang for \
                               ever; write 60s, for one";
                findings.error(path, problem);
            } else if seconds <= timeout {
                let problem = format!(
                    "{seconds}s is not longer than Invoker's timeout ({timeout}s), so \
                                       that it ends requests that wait for their token; write more"
                );
                findings.error(path, problem);
            }
        }
    }

    /// The router changes headers after the filter has run.
    fn router_headers(&self, route: &Route<'_>, findings: &mut Findings<'_>) {
        let policies = self.route_policies(route);
        let written = crate::credential_headers::WrittenHeaders::of(policies.iter().map(|p| &**p));
        let is_written = |name: &str| {
            written
                .names()
                .iter()
                .any(|written| written.as_str().eq_ignore_ascii_case(name))
        };
        for removed in route.removed_headers() {
            let name = removed.value().as_str().unwrap_or_default();
            if is_written(name) {
                let problem = format!(
                    "removes {name:?} after Invoker has written its token there; \
                                       leave it out"
                );
                findings.error(removed.path(), problem);
            }
        }
        for added in route.added_headers() {
            let name = added
                .get("header")
                .and_then(|header| header.text("key"))
                .unwrap_or_default();
            if is_written(name) {
                let problem = format!(
                    "adds to {name:?} after Invoker has written its token there; \
                                       leave it out"
                );
                findings.error(added.path(), problem);
            }
        }
    }

    /// A header that the filter writes makes Envoy pick the route anew.
    fn matches_on_written_header(&self, route: &Route<'_>, findings: &mut Findings<'_>) {
        let Some(matched) = route.node.get("match") else {
            return;
        };
        for header in matched.list("headers") {
            let name = header.text("name").unwrap_or_default();
            let written = self.config.rules.headers_written().names();
            if written
                .iter()
                .any(|written| written.as_str().eq_ignore_ascii_case(name))
            {
                let problem = format!(
                    "matches on {name:?}, which Invoker writes: with the token there \
                                       Envoy picks the route anew, and the token can go elsewhere; \
                                       match on another header"
                );
                findings.error(header.path(), problem);
            }
        }
    }
}

fn redirects_and_mirrors(route: &Route<'_>, findings: &mut Findings<'_>) {
    if let Some(policy) = route.redirect_policy() {
        let problem = "runs the request again, with the token in it, wherever the answer says; \
                       leave it out, or make Invoker an upstream filter of every cluster that these \
                       routes reach";
        findings.error(policy.path(), problem);
    }
    for mirror in route.mirrors() {
        let problem = "copies the request, with the token in it, to another cluster; leave it out, or \
                       make Invoker an upstream filter of the cluster";
        findings.error(mirror.path(), problem);
    }
}

/// A retry can go to another cluster than the one that the token was for.
fn retries(configured: &Configured<'_>, route: &Route<'_>, findings: &mut Findings<'_>) {
    let Some(policy) = route.retry_policy() else {
        return;
    };
    let has_members = |name: &&str| {
        configured
            .envoy
            .cluster(name)
            .is_some_and(|cluster| !cluster.members.is_empty())
    };
    let is_open = route.targets.chooser.is_some()
        || route.targets.clusters.len() > 1
        || route.targets.clusters.iter().any(has_members);
    if is_open {
        let problem = "can send a request again to another cluster than the one that its token is for; \
                       make Invoker an upstream filter of the clusters";
        findings.warning(policy.path(), problem);
    }
}
