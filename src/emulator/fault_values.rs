//! The values that a fault's JSON is made of, each parsed once into a type that can't be wrong.

use std::{collections::BTreeMap, time::Duration};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::clock::ClockOffset;

/// A path, or with a `*` at its end all paths that begin so.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PathPattern {
    text: String,
    is_prefix: bool,
}

impl PathPattern {
    pub(super) fn matches(&self, path: &str) -> bool {
        if self.is_prefix {
            path.starts_with(&self.text)
        } else {
            path == self.text
        }
    }
}

impl TryFrom<String> for PathPattern {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, Self::Error> {
        let (text, is_prefix) = match pattern.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (pattern.as_str(), false),
        };
        let problem = if text.contains('*') {
            "has a * before its end; only the last character can be one"
        } else if text.contains('?') {
            "has a query; a path ends before the ? (use audience to choose calls by audience)"
        } else if !(text.starts_with('/') || is_prefix && text.is_empty()) {
            "does not begin with /"
        } else {
            let text = text.to_owned();
            return Ok(Self { text, is_prefix });
        };
        Err(format!("{pattern:?} {problem}"))
    }
}

/// Changes to an answer's headers: a value that is set, or `None` for a header that is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, Option<String>>")]
pub(super) struct Headers(Vec<(HeaderName, Option<HeaderValue>)>);

impl Headers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => headers.insert(name, value.clone()),
                None => headers.remove(name),
            };
        }
    }
}

impl TryFrom<BTreeMap<String, Option<String>>> for Headers {
    type Error = String;

    fn try_from(posted: BTreeMap<String, Option<String>>) -> Result<Self, Self::Error> {
        let parse = |(name, value): (String, Option<String>)| {
            let parsed =
                HeaderName::try_from(&name).map_err(|_| format!("{name:?} is no header's name"))?;
            if parsed == header::CONTENT_LENGTH || parsed == header::TRANSFER_ENCODING {
                return Err(format!(
                    "{name} follows from the body; set body or body_size"
                ));
            }
            let value = value.map(HeaderValue::try_from).transpose();
            let value = value.map_err(|_| format!("{name}: not a header's value"))?;
            Ok((parsed, value))
        };
        posted
            .into_iter()
            .map(parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A final status: 1xx would promise another answer.
pub(super) fn status<'de, D: Deserializer<'de>>(input: D) -> Result<Option<StatusCode>, D::Error> {
    let Some(number) = Option::<u16>::deserialize(input)? else {
        return Ok(None);
    };
    let status = StatusCode::from_u16(number).ok();
    let status = status.filter(|status| (200..600).contains(&status.as_u16()));
    let unfit = || D::Error::custom(format!("{number} is not a status from 200 to 599"));
    status.ok_or_else(unfit).map(Some)
}

/// A duration as humantime writes it: `2s`, `300ms`.
pub(super) fn wait<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(input)?;
    humantime::parse_duration(&text).map_err(|error| {
        D::Error::custom(format!(
            "{text:?} is no duration ({error}); write for instance \"300ms\""
        ))
    })
}

/// A duration in whole seconds that may have a minus sign: `90s`, `-10s`.
pub(super) fn signed_seconds<'de, D>(input: D) -> Result<Option<i64>, D::Error>
where
    D: Deserializer<'de>,
{
    let Some(text) = Option::<String>::deserialize(input)? else {
        return Ok(None);
    };
    let offset = text.parse::<ClockOffset>().map_err(D::Error::custom)?;
    Ok(Some(offset.seconds()))
}
