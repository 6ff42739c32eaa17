//! A place in Envoy's configuration, with its path for messages.

use serde_json::Value;

/// Protobuf's JSON takes `snake_case` and `camelCase`, and so do we.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            value,
            path: String::new(),
        }
    }

    /// The top of a document that has a name, which every path in it begins with.
    pub(super) fn named(value: &'a Value, name: String) -> Self {
        Self { value, path: name }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a field that may not be there.
    pub(super) fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        }
    }

    /// A field, by its name in `snake_case`; `null` counts as absent, as in protobuf's JSON.
    pub(super) fn get(&self, field: &str) -> Option<Self> {
        let object = self.value.as_object()?;
        let (name, value) = object
            .get_key_value(field)
            .or_else(|| object.get_key_value(&camel_case(field)))?;
        (!value.is_null()).then(|| Self {
            value,
            path: self.path_of(name),
        })
    }

    /// A field below fields.
    pub(super) fn at(&self, fields: &[&str]) -> Option<Self> {
        let mut node = self.clone();
        for field in fields {
            node = node.get(field)?;
        }
        Some(node)
    }

    /// The items of a list below this place; none if there is no list.
    pub(super) fn list(&self, field: &str) -> Vec<Self> {
        let Some(list) = self.get(field) else {
            return Vec::new();
        };
        let items = list.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(index, value)| Self {
            value,
            path: format!("{}[{index}]", list.path),
        };
        items.iter().enumerate().map(item).collect()
    }

    pub(super) fn text(&self, field: &str) -> Option<&'a str> {
        self.get(field)?.value.as_str()
    }

    /// A list of texts; whatever is no text is left out.
    pub(super) fn texts(&self, field: &str) -> Vec<&'a str> {
        let items = self.list(field);
        items
            .iter()
            .filter_map(|item| item.value.as_str())
            .collect()
    }

    pub(super) fn number(&self, field: &str) -> Option<u64> {
        self.get(field)?.value.as_u64()
    }

    pub(super) fn is_true(&self, field: &str) -> bool {
        self.get(field)
            .is_some_and(|node| node.value.as_bool() == Some(true))
    }

    /// A protobuf duration (`0.250s`) in seconds.
    pub(super) fn seconds(&self, field: &str) -> Option<f64> {
        self.text(field)?.strip_suffix('s')?.parse().ok()
    }

    /// What `typed_config` holds, by the last part of its type's name, through a `TypedStruct` too.
    pub(super) fn typed(&self, field: &str) -> Option<(&'a str, Self)> {
        let node = self.get(field)?;
        let name = |kind: &'a str| kind.rsplit(['.', '/']).next().unwrap_or(kind);
        let kind = name(node.text("@type")?);
        if kind == "TypedStruct" {
            return Some((name(node.text("type_url")?), node.get("value")?));
        }
        Some((kind, node))
    }
}

fn camel_case(field: &str) -> String {
    let mut parts = field.split('_');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}
