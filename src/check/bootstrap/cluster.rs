//! Envoy's clusters: where they lead, and how.

use std::net::IpAddr;

use crate::check::node::Node;

pub(in crate::check) const HTTP_OPTIONS: &str =
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

#[derive(Debug)]
pub(super) struct Cluster<'a> {
    pub(super) name: &'a str,
    pub(super) node: Node<'a>,
    pub(super) transport: Transport,
    pub(super) protocol: Protocol,
    /// Members of an aggregate cluster; a retry can go from one to another.
    pub(super) members: Vec<&'a str>,
    /// Whether it carries an audience of its own.
    pub(super) is_annotated: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tls,
    /// All endpoints are on this machine.
    Local,
    /// Neither, and why.
    Plain(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    /// Where that is said, and what it is.
    Other(String, &'static str),
}

pub(super) fn read_all<'a>(root: &Node<'a>) -> Vec<Cluster<'a>> {
    let Some(resources) = root.get("static_resources") else {
        return Vec::new();
    };
    resources.list("clusters").into_iter().map(read).collect()
}

fn read(node: Node<'_>) -> Cluster<'_> {
    Cluster {
        name: node.text("name").unwrap_or_default(),
        transport: transport(&node),
        protocol: protocol(&node),
        members: members(&node),
        is_annotated: is_annotated(&node),
        node,
    }
}

/// An aggregate cluster's own sockets are not used; its members are looked at one by one.
fn members<'a>(node: &Node<'a>) -> Vec<&'a str> {
    let config = node
        .get("cluster_type")
        .and_then(|kind| kind.typed("typed_config"));
    match config {
        Some(("ClusterConfig", config)) => config
            .list("clusters")
            .iter()
            .filter_map(|name| name.value().as_str())
            .collect(),
        _ => Vec::new(),
    }
}

fn is_annotated(node: &Node<'_>) -> bool {
    node.at(&["metadata", "filter_metadata", "invoker", "audience"])
        .is_some()
        || node
            .at(&[
                "metadata",
                "typed_filter_metadata",
                "envoy.filters.http.gcp_authn",
            ])
            .is_some()
}

fn transport(node: &Node<'_>) -> Transport {
    let matches = node.list("transport_socket_matches");
    let mut sockets: Vec<Option<Node<'_>>> = matches
        .iter()
        .map(|entry| entry.get("transport_socket"))
        .collect();
    if matches.is_empty() || node.get("transport_socket").is_some() {
        sockets.push(node.get("transport_socket"));
    }
    if sockets
        .iter()
        .all(|socket| socket.as_ref().is_some_and(is_encrypted))
    {
        return Transport::Tls;
    }
    match remote_endpoint(node) {
        None => Transport::Local,
        Some(_) if !matches.is_empty() => {
            Transport::Plain("some of its transport_socket_matches have none".to_owned())
        }
        Some(endpoint) => Transport::Plain(endpoint),
    }
}

/// TLS, QUIC or ALTS, perhaps inside another socket (a proxy protocol, a tap).
fn is_encrypted(socket: &Node<'_>) -> bool {
    let Some((kind, config)) = socket.typed("typed_config") else {
        return false;
    };
    match kind {
        "UpstreamTlsContext" | "QuicUpstreamTransport" | "Alts" => true,
        _ => config
            .get("transport_socket")
            .is_some_and(|inner| is_encrypted(&inner)),
    }
}

/// An endpoint that is not on this machine, in words.
fn remote_endpoint(node: &Node<'_>) -> Option<String> {
    let Some(assignment) = node.get("load_assignment") else {
        return Some("where its endpoints are is not said here".to_owned());
    };
    let localities = assignment.list("endpoints");
    let endpoints = localities
        .iter()
        .flat_map(|locality| locality.list("lb_endpoints"));
    endpoints.into_iter().find_map(|endpoint| {
        let address = endpoint.at(&["endpoint", "address"])?;
        if address.get("pipe").is_some() {
            return None;
        }
        let host = address
            .get("socket_address")
            .and_then(|socket| socket.text("address"));
        match host {
            Some(host) if is_loopback(host) => None,
            Some(host) => Some(format!("it leads to {host}")),
            None => Some("it leads to an address of another kind".to_owned()),
        }
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn protocol(node: &Node<'_>) -> Protocol {
    let other = |node: Node<'_>, what| Protocol::Other(node.path().to_owned(), what);
    if let Some(options) = node.get("http2_protocol_options") {
        return other(options, "HTTP/2");
    }
    let Some(options) = node.at(&["typed_extension_protocol_options", HTTP_OPTIONS]) else {
        return Protocol::Http1;
    };
    if let Some(auto) = options.get("auto_config") {
        return other(auto, "whatever TLS negotiates");
    }
    for kind in ["explicit_http_config", "use_downstream_protocol_config"] {
        let Some(config) = options.get(kind) else {
            continue;
        };
        if let Some(options) = config.get("http3_protocol_options") {
            return other(options, "HTTP/3");
        }
        if let Some(options) = config.get("http2_protocol_options") {
            return other(options, "HTTP/2");
        }
    }
    Protocol::Http1
}
