//! Whether the file that is checked is what Envoy would run.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::plugin::Plugin;
use crate::check::Findings;

/// One plugin has to run the file's configuration; if none does, what differs in the nearest is told.
pub(super) fn with_file(
    file: &Value,
    file_name: &str,
    plugins: &[Plugin<'_>],
    findings: &mut Findings<'_>,
) {
    let differences = plugins.iter().filter_map(|plugin| {
        let embedded = plugin.configuration.as_ref().ok()?.value();
        Some((plugin, differences(&embedded, file)))
    });
    let Some((nearest, differing)) = differences.min_by_key(|(_, differing)| differing.len())
    else {
        return;
    };
    if !differing.is_empty() {
        findings.error(
            nearest.node.path_of("configuration.value"),
            format!(
                "is not what {file_name} says, and no other plugin here runs that: {}",
                differing.join("; ")
            ),
        );
    }
}

/// What differs, by field, and by rule among the rules.
fn differences(here: &Value, file: &Value) -> Vec<String> {
    let (here, file) = (effective(here), effective(file));
    let fields: BTreeSet<&String> = here.keys().chain(file.keys()).collect();
    let mut differing = Vec::new();
    for field in fields {
        let (here, file) = (here.get(field), file.get(field));
        if here == file {
            continue;
        }
        match (here, file) {
            (Some(Value::Array(here)), Some(Value::Array(file))) if field == "audiences" => {
                for index in 0..here.len().max(file.len()) {
                    if here.get(index) != file.get(index) {
                        differing.push(difference(
                            &format!("audiences[{index}]"),
                            here.get(index),
                            file.get(index),
                        ));
                    }
                }
            }
            // Credentials may be secret.
            _ if field == "credentials" => differing.push("credentials differ".to_owned()),
            _ => differing.push(difference(field, here, file)),
        }
    }
    differing
}

fn difference(field: &str, here: Option<&Value>, file: Option<&Value>) -> String {
    let show = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    format!("{field} is {} here and {} there", show(here), show(file))
}

/// With what a missing field means, so that writing a default is no difference.
fn effective(value: &Value) -> Map<String, Value> {
    let mut fields = value.as_object().cloned().unwrap_or_default();
    let defaults = json!({
        "audience_from_metadata": false,
        "header": "authorization",
        "existing_credential": "replace",
        "failure_mode": "deny",
        "error_details": "body",
        "timeout": "5s",
        "max_waiting_requests": 1024.0,
        "refresh_margin": "5m",
        "prefetch": true,
        "allow_insecure": false,
    });
    for (field, default) in defaults.as_object().into_iter().flatten() {
        fields
            .entry(field.clone())
            .or_insert_with(|| default.clone());
    }
    if let Some(Value::Object(credentials)) = fields.get_mut("credentials")
        && credentials
            .get("type")
            .is_some_and(|kind| kind == "metadata")
    {
        credentials
            .entry("service_account")
            .or_insert_with(|| "default".into());
    }
    // Envoy's Struct knows only doubles.
    if let Some(number) = fields.get("max_waiting_requests").and_then(Value::as_f64) {
        fields.insert("max_waiting_requests".to_owned(), number.into());
    }
    if let Some(Value::Array(names)) = fields.get("header")
        && let [name] = names.as_slice()
    {
        let name = name.clone();
        fields.insert("header".to_owned(), name);
    }
    fields
}
