//! The schema as it is written. Every field is optional here, so that what is missing can be said in
//! our own words; `null` is not the same as nothing, since a rule with `authority:` and nothing behind it
//! would match every authority.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IntoDeserializer, SeqAccess, Visitor};

use super::{ErrorDetails, FailureMode};
use crate::credential_headers::ExistingCredential;

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct RawConfig {
    #[serde(default, deserialize_with = "present")]
    pub(super) credentials: Option<serde_json::Value>,
    #[serde(default, deserialize_with = "present")]
    pub(super) audiences: Option<Vec<RawRule>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) audience_from_metadata: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    pub(super) header: Option<OneOrMany>,
    #[serde(default, deserialize_with = "choice")]
    pub(super) existing_credential: Option<ExistingCredential>,
    #[serde(default, deserialize_with = "choice")]
    pub(super) failure_mode: Option<FailureMode>,
    #[serde(default, deserialize_with = "choice")]
    pub(super) error_details: Option<ErrorDetails>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) timeout: Option<String>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) callout_timeout: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) max_waiting_requests: Option<f64>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) refresh_margin: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) prefetch: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    pub(super) allow_insecure: Option<bool>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a rule, such as {cluster: profiles, audience: \"https://…\"}"
)]
pub(super) struct RawRule {
    #[serde(default, deserialize_with = "present")]
    pub(super) cluster: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) authority: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) path: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) audience: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) custom_audience: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) scopes: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) bypass: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    pub(super) header: Option<OneOrMany>,
}

/// Like `Option`'s own, but `null` is an error.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// One of a few words. Read as a text first, since JSON's reader calls any other type a syntax error.
fn choice<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let word = String::deserialize(deserializer)?;
    T::deserialize(word.into_deserializer()).map(Some)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Duration;

    impl Visitor<'_> for Duration {
        type Value = String;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a duration with its unit, such as \"5s\"")
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
    }

    deserializer.deserialize_str(Duration).map(Some)
}

/// One text, or a list of them.
#[derive(Debug)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Headers;

        impl<'de> Visitor<'de> for Headers {
            type Value = OneOrMany;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a header's name or a list of names")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<OneOrMany, A::Error> {
                let mut many = Vec::new();
                while let Some(name) = names.next_element()? {
                    many.push(name);
                }
                Ok(OneOrMany::Many(many))
            }
        }

        deserializer.deserialize_any(Headers)
    }
}
