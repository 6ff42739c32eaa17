//! VirtualService and HTTPRoute: which names are led to which hosts.

use super::destination_rule::full_host;
use super::document::Document;
use crate::check::node::Node;

#[derive(Debug)]
pub(super) struct Route<'a> {
    /// The names that requests are for.
    pub(super) hosts: Vec<&'a str>,
    /// The hosts that they are led to, with the port if there is one.
    pub(super) destinations: Vec<(String, Option<u64>)>,
}

impl<'a> Route<'a> {
    pub(super) fn read(document: &Document<'a>) -> Option<Self> {
        let spec = &document.spec;
        let (hosts, destinations) = match (document.group, document.kind) {
            ("networking.istio.io", "VirtualService") => {
                let routes = spec.list("http");
                let routes = routes.iter().flat_map(|http| http.list("route"));
                let destination = |route: Node<'a>| {
                    let destination = route.get("destination")?;
                    let port = destination.get("port").and_then(|it| it.number("number"));
                    let host = full_host(destination.text("host")?, document.namespace);
                    Some((host, port))
                };
                (
                    spec.texts("hosts"),
                    routes.filter_map(destination).collect(),
                )
            }
            ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute") => {
                let rules = spec.list("rules");
                let backends = rules.iter().flat_map(|rule| rule.list("backend_refs"));
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
                let hosts = spec.texts("hostnames");
                let hosts = if hosts.is_empty() { vec!["*"] } else { hosts };
                (hosts, backends.filter_map(destination).collect())
            }
            _ => return None,
        };
        Some(Self {
            hosts,
            destinations,
        })
    }

    pub(super) fn leads_to(&self, host: &str, port: u64) -> bool {
        let mut destinations = self.destinations.iter();
        destinations.any(|(name, number)| name == host && number.is_none_or(|it| it == port))
    }
}
