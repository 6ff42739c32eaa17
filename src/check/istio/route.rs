//! VirtualService and HTTPRoute: which names are led to which hosts.

use super::destination_rule::full_host;
use super::document::Document;
use crate::check::node::Node;

#[derive(Debug)]
pub(super) struct Route<'a> {
    pub(super) document: Document<'a>,
    /// The names that requests are for.
    pub(super) hosts: Vec<&'a str>,
    pub(super) rules: Vec<RouteRule<'a>>,
}

/// An entry of a VirtualService's `http`, or of an HTTPRoute's `rules`.
#[derive(Debug)]
pub(super) struct RouteRule<'a> {
    pub(super) node: Node<'a>,
    /// The hosts that it leads to, with the port if there is one.
    destinations: Vec<(String, Option<u64>)>,
}

impl<'a> Route<'a> {
    pub(super) fn read(document: &Document<'a>) -> Option<Self> {
        let spec = &document.spec;
        let (hosts, rules) = match (document.group, document.kind) {
            ("networking.istio.io", "VirtualService") => {
                let destination = |route: Node<'a>| {
                    let destination = route.get("destination")?;
                    let port = destination.get("port").and_then(|it| it.number("number"));
                    let host = full_host(destination.text("host")?, document.namespace);
                    Some((host, port))
                };
                let rule = |node: Node<'a>| RouteRule {
                    destinations: node
                        .list("route")
                        .into_iter()
                        .filter_map(destination)
                        .collect(),
                    node,
                };
                let rules = spec.list("http").into_iter().map(rule);
                (spec.texts("hosts"), rules.collect())
            }
            ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute") => {
                let destination = |backend: Node<'a>| {
                    let namespace = backend.text("namespace").or(document.namespace);
                    let name = backend.text("name")?;
                    let host = match backend.text("kind") {
                        None | Some("Service") => full_host(name, namespace),
                        // Istio's `Hostname`, and what else names a host itself.
                        Some(_) => name.to_owned(),
                    };
                    Some((host, backend.number("port")))
                };
                let rule = |node: Node<'a>| {
                    let backends = node.list("backend_refs").into_iter();
                    RouteRule {
                        destinations: backends.filter_map(destination).collect(),
                        node,
                    }
                };
                let hosts = spec.texts("hostnames");
                let hosts = if hosts.is_empty() { vec!["*"] } else { hosts };
                let rules = spec.list("rules").into_iter().map(rule);
                (hosts, rules.collect())
            }
            _ => return None,
        };
        Some(Self {
            document: document.clone(),
            hosts,
            rules,
        })
    }

    pub(super) fn leads_to(&self, host: &str, port: u64) -> bool {
        self.rules.iter().any(|rule| rule.leads_to(host, port))
    }
}

impl RouteRule<'_> {
    pub(super) fn leads_to(&self, host: &str, port: u64) -> bool {
        let mut destinations = self.destinations.iter();
        destinations.any(|(name, number)| name == host && number.is_none_or(|it| it == port))
    }
}
