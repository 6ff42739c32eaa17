//! Gateways, Istio's own and the Gateway API's, as far as they tell what kind of proxy a plugin runs in.

use super::document::Document;

#[derive(Debug)]
pub(super) struct Gateway<'a> {
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
    /// The Pods of Istio's own kind.
    pub(super) selector: Vec<(&'a str, &'a str)>,
    /// The class of the Gateway API's kind.
    pub(super) class: Option<&'a str>,
}

impl<'a> Gateway<'a> {
    pub(super) fn read(document: &Document<'a>) -> Option<Self> {
        let is_istios = document.is("networking.istio.io", "Gateway");
        if !is_istios && !document.is("gateway.networking.k8s.io", "Gateway") {
            return None;
        }
        Some(Self {
            namespace: document.namespace,
            name: document.name,
            selector: if is_istios {
                document.labels(&["selector"])
            } else {
                Vec::new()
            },
            class: document.spec.text("gateway_class_name"),
        })
    }
}
