//! ServiceEntry: hosts, and the ports at which Istio makes a cluster for each.

use std::net::IpAddr;

use super::document::Document;
use crate::check::Report;
use crate::check::node::Node;

#[derive(Debug)]
pub(super) struct ServiceEntry<'a> {
    pub(super) document: Document<'a>,
    pub(super) hosts: Vec<&'a str>,
    pub(super) ports: Vec<Port<'a>>,
    pub(super) is_external: bool,
    pub(super) resolution: &'a str,
    pub(super) endpoints: Vec<Node<'a>>,
    pub(super) selects_workloads: bool,
    /// Names that must be in the certificate, where a DestinationRule has none.
    pub(super) names_certificate: bool,
    pub(super) export_to: Vec<&'a str>,
}

#[derive(Debug)]
pub(super) struct Port<'a> {
    pub(super) node: Node<'a>,
    pub(super) number: u64,
    pub(super) name: &'a str,
    /// In capitals; empty if it is not said.
    pub(super) protocol: String,
    pub(super) target: Option<u64>,
}

impl<'a> ServiceEntry<'a> {
    pub(super) fn read(document: &Document<'a>, report: &mut Report) -> Option<Self> {
        if !document.is("networking.istio.io", "ServiceEntry") {
            return None;
        }
        let spec = &document.spec;
        let entry = Self {
            hosts: spec.texts("hosts"),
            ports: spec
                .list("ports")
                .into_iter()
                .filter_map(Port::read)
                .collect(),
            is_external: spec.text("location") != Some("MESH_INTERNAL"),
            resolution: spec.text("resolution").unwrap_or("NONE"),
            endpoints: spec.list("endpoints"),
            selects_workloads: spec.get("workload_selector").is_some(),
            names_certificate: !spec.list("subject_alt_names").is_empty(),
            export_to: spec.texts("export_to"),
            document: document.clone(),
        };
        let mut findings = document.findings(report);
        if entry.hosts.is_empty() {
            findings.error(
                spec.path_of("hosts"),
                "names no host; write hosts: [profiles-abc123-uc.a.run.app]",
            );
        }
        if entry.ports.is_empty() {
            findings.error(
                spec.path_of("ports"),
                "has no port with a number, so Istio makes no cluster of it; write \
                 {number: 80, name: http, protocol: HTTP}",
            );
        }
        Some(entry)
    }

    /// Whether Envoy looks up the name that a request is for.
    pub(super) fn is_dynamic(&self) -> bool {
        self.resolution == "DYNAMIC_DNS"
    }

    /// Whether all endpoints are on this machine.
    pub(super) fn is_local(&self) -> bool {
        let is_loopback = |endpoint: &Node<'_>| {
            let address = endpoint.text("address").unwrap_or_default();
            address.starts_with("unix://")
                || address.parse().is_ok_and(|it: IpAddr| it.is_loopback())
        };
        !self.endpoints.is_empty() && self.endpoints.iter().all(is_loopback)
    }

    /// Whether Envoy connects to that port of the host, or of an endpoint.
    pub(super) fn connects_to(&self, port: &Port<'_>, number: u64) -> bool {
        let usual = port.target.unwrap_or(port.number);
        if self.endpoints.is_empty() {
            return usual == number;
        }
        self.endpoints.iter().any(|endpoint| {
            let own = endpoint
                .get("ports")
                .and_then(|ports| ports.number(port.name));
            own.unwrap_or(usual) == number
        })
    }
}

impl<'a> Port<'a> {
    fn read(node: Node<'a>) -> Option<Self> {
        Some(Self {
            number: node.number("number")?,
            name: node.text("name").unwrap_or_default(),
            protocol: node
                .text("protocol")
                .unwrap_or_default()
                .to_ascii_uppercase(),
            target: node.number("target_port"),
            node,
        })
    }

    /// Whether Istio reads what goes there as HTTP; without a protocol it looks at the bytes.
    pub(super) fn is_http(&self) -> bool {
        matches!(
            self.protocol.as_str(),
            "" | "HTTP" | "HTTP2" | "HTTP_PROXY" | "GRPC" | "GRPC-WEB"
        )
    }

    pub(super) fn is_udp(&self) -> bool {
        self.protocol == "UDP"
    }
}
