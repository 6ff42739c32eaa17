//! From text or a value to the schema, with the path of what does not fit and words for people.

use serde::de::DeserializeOwned;

use super::document::Document;
use super::error::ConfigErrors;

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, ConfigErrors> {
    // Said here, since serde would quote the text, and it might be a key.
    match text.trim_start().chars().next() {
        Some('{') => {}
        Some('[') => return Err(not_an_object("a list")),
        Some('"') => return Err(not_an_object("a string")),
        Some(_) => return Err(not_an_object("text that is not JSON")),
        None => return Err(not_an_object("nothing")),
    }
    match serde_json::from_str(text) {
        Ok(Document(value)) => from_value(value),
        Err(error) if error.is_data() => Err(ConfigErrors::one("", error.to_string())),
        Err(error) => Err(ConfigErrors::one("", format!("this is not JSON: {error}"))),
    }
}

pub(super) fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, ConfigErrors> {
    if !value.is_object() {
        return Err(not_an_object(kind(&value)));
    }
    serde_path_to_error::deserialize(value).map_err(humanise)
}

/// What a value is, without what it holds.
pub(super) fn kind(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "a boolean",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a string",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

/// A text as a problem repeats it: one that is longer than any name may be a key that stands in the wrong place,
/// and is only counted.
pub(super) fn quoted(text: &str) -> String {
    let length = text.chars().count();
    if length > MAX_QUOTED {
        return format!("a text of {length} characters");
    }
    format!("{text:?}")
}

/// Characters.
const MAX_QUOTED: usize = 100;

fn not_an_object(found: &str) -> ConfigErrors {
    ConfigErrors::one(
        "",
        format!("found {found}, expected an object with `credentials` and `audiences`"),
    )
}

fn humanise(error: serde_path_to_error::Error<serde_json::Error>) -> ConfigErrors {
    let path = error.path().to_string();
    let path = if path == "." { String::new() } else { path };
    let error = error.into_inner();
    ConfigErrors::one(path, in_plain_words(&error.to_string()))
}

/// serde's words are Rust's; these are JSON's and YAML's.
fn in_plain_words(problem: &str) -> String {
    let found = problem
        .strip_prefix("invalid type: ")
        .or_else(|| problem.strip_prefix("invalid value: "))
        .map(|rest| format!("found {rest}"));
    let problem = found.unwrap_or_else(|| {
        let value = problem.strip_prefix("unknown variant ");
        value.map_or_else(
            || problem.to_owned(),
            |rest| format!("unknown value {rest}"),
        )
    });
    let problem = without_a_long_string(problem);
    let problem = problem.replacen("found sequence", "found a list", 1);
    let problem = problem.replacen("found map", "found an object", 1);
    let problem = problem.replacen("expected a sequence", "expected a list", 1);
    problem.replacen("expected f64", "expected a number", 1)
}

fn without_a_long_string(problem: String) -> String {
    let text = problem.strip_prefix("found string \"");
    match text.and_then(|text| text.rsplit_once("\", expected ")) {
        Some((text, expected)) if text.chars().count() > MAX_QUOTED => {
            format!("found a string, expected {expected}")
        }
        _ => problem,
    }
}
