//! Kubernetes resources in files: what they are called, and where they stand.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::check::file::{FileError, read_values};
use crate::check::node::Node;
use crate::check::{Findings, Report};

/// The namespace whose resources Istio applies to all others, unless `meshConfig.rootNamespace` says otherwise.
pub(super) const ROOT_NAMESPACE: &str = "istio-system";

/// What one file holds.
#[derive(Debug)]
pub(super) struct File {
    name: String,
    values: Vec<Value>,
}

impl File {
    pub(super) fn read(path: &PathBuf) -> Result<Self, FileError> {
        Ok(Self {
            name: path.display().to_string(),
            values: read_values(Path::new(path))?,
        })
    }

    pub(super) fn findings<'r>(&'r self, report: &'r mut Report) -> Findings<'r> {
        findings(&self.name, report)
    }

    /// Its resources, those in lists too. What is none is told.
    pub(super) fn documents(&self, report: &mut Report) -> Vec<Document<'_>> {
        let mut documents = Vec::new();
        for (index, value) in self.values.iter().enumerate() {
            let items = value.get("items").and_then(Value::as_array);
            let values = match items {
                Some(items) if kind(value).is_some_and(|kind| kind.ends_with("List")) => {
                    items.iter().collect()
                }
                _ => vec![value],
            };
            for value in values {
                match Document::read(&self.name, value) {
                    Some(document) => documents.push(document),
                    None => findings(&self.name, report).error(
                        "",
                        format!(
                            "document {} is no Kubernetes resource: it has no `apiVersion` and `kind`",
                            index + 1
                        ),
                    ),
                }
            }
        }
        documents
    }
}

/// One resource.
#[derive(Debug, Clone)]
pub(super) struct Document<'a> {
    pub(super) file: &'a str,
    /// The API group without its version; empty for Kubernetes' own core.
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    /// Without one it is whatever `kubectl` is told.
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
    /// `spec`, or the resource itself if that is missing.
    pub(super) spec: Node<'a>,
}

impl<'a> Document<'a> {
    fn read(file: &'a str, value: &'a Value) -> Option<Self> {
        let metadata = value.get("metadata");
        let text = |field: &str| metadata?.get(field)?.as_str();
        let version = value.get("apiVersion")?.as_str()?;
        let (kind, namespace) = (kind(value)?, text("namespace"));
        let name = text("name").unwrap_or("(without a name)");
        let full_name = match namespace {
            Some(namespace) => format!("{kind} {namespace}/{name}"),
            None => format!("{kind} {name}"),
        };
        let root = Node::named(value, full_name);
        Some(Self {
            file,
            group: version.split_once('/').map_or("", |(group, _)| group),
            kind,
            namespace,
            name,
            spec: root.get("spec").unwrap_or(root),
        })
    }

    pub(super) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    /// `WasmPlugin login/invoker`
    pub(super) fn full_name(&self) -> &str {
        let path = self.spec.path();
        path.strip_suffix(".spec").unwrap_or(path)
    }

    /// The labels of a selector, such as `selector.matchLabels`.
    pub(super) fn labels(&self, fields: &[&str]) -> Vec<(&'a str, &'a str)> {
        let labels = self.spec.at(fields).and_then(|it| it.value().as_object());
        let pairs = labels.into_iter().flatten();
        pairs
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect()
    }

    /// Findings in its file; paths are whole ones.
    pub(super) fn findings<'r>(&self, report: &'r mut Report) -> Findings<'r>
    where
        'a: 'r,
    {
        findings(self.file, report)
    }
}

/// Whether two resources can be in one namespace, as far as they say.
pub(super) fn same_namespace(one: Option<&str>, other: Option<&str>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// Whether what is in `namespace` with this `exportTo` can be seen from another.
pub(super) fn is_visible(export_to: &[&str], namespace: Option<&str>, from: Option<&str>) -> bool {
    let Some(from) = from else {
        return true;
    };
    export_to.is_empty()
        || export_to.iter().any(|to| match *to {
            "*" => true,
            "." => same_namespace(namespace, Some(from)),
            to => to == from,
        })
}

fn kind(value: &Value) -> Option<&str> {
    value.get("kind")?.as_str()
}

fn findings<'r>(file: &'r str, report: &'r mut Report) -> Findings<'r> {
    Findings {
        file,
        prefix: String::new(),
        report,
    }
}
