//! DestinationRule: how Envoy talks to a host, TLS above all.

use super::document::Document;
use crate::check::node::Node;

#[derive(Debug)]
pub(super) struct DestinationRule<'a> {
    pub(super) document: Document<'a>,
    pub(super) host: String,
    pub(super) subsets: Vec<&'a str>,
    /// The workloads that it is for; empty for all.
    pub(super) workloads: Vec<(&'a str, &'a str)>,
    pub(super) export_to: Vec<&'a str>,
}

/// What it says about TLS at one port.
#[derive(Debug)]
pub(super) enum Tls<'a> {
    /// Nothing, at the place where it would have to stand.
    Unsaid(Node<'a>),
    Said(TlsSettings<'a>),
}

#[derive(Debug)]
pub(super) struct TlsSettings<'a> {
    pub(super) node: Node<'a>,
    pub(super) mode: &'a str,
    pub(super) sni: Option<&'a str>,
    pub(super) names_certificate: bool,
    pub(super) skips_verification: bool,
    /// A Secret, not a ConfigMap.
    pub(super) secret: Option<&'a str>,
    pub(super) has_client_certificate: bool,
}

impl<'a> DestinationRule<'a> {
    pub(super) fn read(document: &Document<'a>) -> Option<Self> {
        if !document.is("networking.istio.io", "DestinationRule") {
            return None;
        }
        let spec = &document.spec;
        let subsets = spec.list("subsets");
        Some(Self {
            host: full_host(spec.text("host").unwrap_or_default(), document.namespace),
            subsets: subsets
                .iter()
                .filter_map(|subset| subset.text("name"))
                .collect(),
            workloads: document.labels(&["workload_selector", "match_labels"]),
            export_to: spec.texts("export_to"),
            document: document.clone(),
        })
    }

    pub(super) fn has_policy(&self) -> bool {
        self.document.spec.get("traffic_policy").is_some()
    }

    /// Whether it is for this host: by name, or by a wildcard.
    pub(super) fn is_for(&self, host: &str) -> bool {
        match self.host.strip_prefix('*') {
            None => self.host == host,
            Some(suffix) => host.ends_with(suffix),
        }
    }

    pub(super) fn tls(&self, port: u64, subset: Option<&str>) -> Tls<'a> {
        let of_subset = subset.and_then(|name| {
            let subsets = self.document.spec.list("subsets");
            let subset = subsets
                .into_iter()
                .find(|it| it.text("name") == Some(name))?;
            policy(&subset, port)?.get("tls")
        });
        let policy =
            policy(&self.document.spec, port).unwrap_or_else(|| self.document.spec.clone());
        match of_subset.or_else(|| policy.get("tls")) {
            Some(node) => Tls::Said(TlsSettings::read(node)),
            None => Tls::Unsaid(policy),
        }
    }

    /// Where it turns HTTP/1.1 into HTTP/2.
    pub(super) fn upgrade(&self, port: u64) -> Option<Node<'a>> {
        let http = policy(&self.document.spec, port)?.at(&["connection_pool", "http"])?;
        let upgrade = http.get("h2_upgrade_policy")?;
        (upgrade.value().as_str() == Some("UPGRADE")).then_some(upgrade)
    }
}

impl<'a> TlsSettings<'a> {
    fn read(node: Node<'a>) -> Self {
        let secret = node.text("credential_name");
        Self {
            mode: node.text("mode").unwrap_or("DISABLE"),
            sni: node.text("sni").filter(|sni| !sni.is_empty()),
            names_certificate: !node.list("subject_alt_names").is_empty(),
            skips_verification: node.is_true("insecure_skip_verify"),
            has_client_certificate: secret.is_some()
                || (node.text("client_certificate").is_some()
                    && node.text("private_key").is_some()),
            secret: secret.filter(|name| !name.starts_with("configmap://")),
            node,
        }
    }
}

/// A port's own policy takes the place of the general one: nothing of that is inherited.
fn policy<'a>(parent: &Node<'a>, port: u64) -> Option<Node<'a>> {
    let general = parent.get("traffic_policy")?;
    let own = general
        .list("port_level_settings")
        .into_iter()
        .find(|own| own.get("port").and_then(|it| it.number("number")) == Some(port));
    Some(own.unwrap_or(general))
}

/// A name without a dot is a Kubernetes Service beside the resource.
pub(super) fn full_host(host: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) if !host.contains('.') && !host.starts_with('*') => {
            format!("{host}.{namespace}.svc.cluster.local")
        }
        _ => host.to_owned(),
    }
}
