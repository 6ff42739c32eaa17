//! What a route does with a request after Invoker has put a token into it. In the upstream form Invoker comes behind that.

use super::Configured;
use super::route::RouteRule;
use crate::check::node::Node;
use crate::check::{Findings, Report};

impl Configured<'_, '_> {
    pub(super) fn carried(&self, report: &mut Report) {
        for route in &self.mesh.routes {
            let mut findings = route.document.findings(report);
            for rule in route.rules.iter().filter(|rule| self.gets_tokens(rule)) {
                mirrors(rule, &mut findings);
                self.matches(rule, &mut findings);
                self.changes(rule, &mut findings);
            }
        }
    }

    fn gets_tokens(&self, rule: &RouteRule<'_>) -> bool {
        self.clusters.iter().any(|cluster| {
            rule.leads_to(cluster.host, cluster.port.number) && self.token_rule(cluster).is_some()
        })
    }

    /// A header that the filter writes makes Envoy pick the route anew.
    fn matches(&self, rule: &RouteRule<'_>, findings: &mut Findings<'_>) {
        for entry in rule.node.list("match") {
            for field in ["headers", "without_headers"] {
                for (name, path) in names(&entry, field) {
                    self.matched(name, path, findings);
                }
            }
        }
        for entry in rule.node.list("matches") {
            for header in entry.list("headers") {
                let name = header.text("name").unwrap_or_default();
                self.matched(name, header.path().to_owned(), findings);
            }
        }
    }

    fn matched(&self, name: &str, path: String, findings: &mut Findings<'_>) {
        if self.writes(name) {
            findings.error(
                path,
                format!(
                    "matches on {name:?}, which Invoker writes: with the token there Envoy picks the route anew, and \
                     the token can go elsewhere; match on another header"
                ),
            );
        }
    }

    /// What the router does to headers, it does after the filter.
    fn changes(&self, rule: &RouteRule<'_>, findings: &mut Findings<'_>) {
        let routes = rule.node.list("route");
        let istios = std::iter::once(&rule.node).chain(&routes);
        let istios = istios.filter_map(|node| node.at(&["headers", "request"]));
        let modifiers = rule.node.list("filters").into_iter();
        let modifiers = modifiers.filter_map(|filter| filter.get("request_header_modifier"));
        for change in istios.chain(modifiers) {
            for field in ["set", "add", "remove"] {
                for (name, path) in names(&change, field) {
                    if self.writes(name) {
                        findings.error(
                            path,
                            format!("changes {name:?} after Invoker has written its token there; leave it out"),
                        );
                    }
                }
            }
        }
    }

    fn writes(&self, name: &str) -> bool {
        let written = self.config.rules.headers_written().names();
        written
            .iter()
            .any(|written| written.as_str().eq_ignore_ascii_case(name))
    }
}

/// A copy of the request, with the token in it.
fn mirrors(rule: &RouteRule<'_>, findings: &mut Findings<'_>) {
    let single = rule.node.get("mirror");
    let filters = rule.node.list("filters").into_iter();
    let filters = filters.filter_map(|filter| filter.get("request_mirror"));
    for mirror in single
        .into_iter()
        .chain(rule.node.list("mirrors"))
        .chain(filters)
    {
        findings.error(
            mirror.path(),
            "copies the request, with the token in it, to another host; leave it out",
        );
    }
}

/// Headers' names: an object's fields, a list of texts, or a list of objects with a `name`.
fn names<'a>(parent: &Node<'a>, field: &str) -> Vec<(&'a str, String)> {
    let Some(node) = parent.get(field) else {
        return Vec::new();
    };
    if let Some(object) = node.value().as_object() {
        let fields = object
            .keys()
            .map(|name| (name.as_str(), node.path_of(name)));
        return fields.collect();
    }
    let items = parent.list(field).into_iter();
    let name = |item: Node<'a>| {
        let name = item.text("name").or_else(|| item.value().as_str())?;
        Some((name, item.path().to_owned()))
    };
    items.filter_map(name).collect()
}
