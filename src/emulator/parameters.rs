//! A request's query or form, decoded exactly once.
//!
//! The metadata server reads its query as a form: `+` is a space, and what an audience holds of `&`, `#`,
//! `+` and `%` must have been sent percent-encoded. That is what this must not soften: a client
//! that forgets to encode is to get the audience that the real server would read.

use std::fmt;

use percent_encoding::percent_decode_str;

/// The parameters, in order. Values of a form may be secrets, so the `Debug` form has names alone.
#[derive(Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads what stands behind the `?`, or a form. A parameter that is not UTF-8 is left out.
    pub(super) fn parse(text: &str) -> Self {
        let parameters = text.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        });
        Self(parameters.collect())
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(candidate, _)| candidate == name);
        first
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Names and values as they came; an empty value too.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

fn decode(text: &str) -> Option<String> {
    // Before the percent-decoding, or an encoded plus sign would become a space too.
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(query: &str) -> Option<String> {
        Parameters::parse(query)
            .value("audience")
            .map(str::to_owned)
    }

    #[test]
    fn an_encoded_audience_survives_byte_for_byte() {
        let sent = "audience=https%3A%2F%2Fa.run.app%2F%3Fx%3D1%26y%3D%2B%2523%23z&format=full";
        assert_eq!(audience(sent).unwrap(), "https://a.run.app/?x=1&y=+%23#z");
        assert_eq!(audience("audience=%2541").unwrap(), "%41");
        assert_eq!(
            audience("format=full&audience=gr%C3%BC%C3%9Fe").unwrap(),
            "grüße"
        );
    }

    #[test]
    fn an_audience_that_was_not_encoded_is_read_as_the_real_server_reads_it() {
        assert_eq!(
            audience("audience=https://a/?x=1&y=2").unwrap(),
            "https://a/?x=1"
        );
        assert_eq!(audience("audience=a+b").unwrap(), "a b");
    }

    #[test]
    fn an_empty_or_unreadable_audience_is_none() {
        for query in ["", "audience", "audience=", "audience=%FF", "Audience=x"] {
            assert_eq!(audience(query), None, "{query:?}");
        }
    }

    #[test]
    fn the_debug_form_shows_names_alone() {
        let form = Parameters::parse("client_secret=hush&grant_type=x");
        assert_eq!(format!("{form:?}"), r#"{"client_secret", "grant_type"}"#);
    }

    #[test]
    fn the_first_of_two_audiences_counts() {
        assert_eq!(audience("audience=a&audience=b").unwrap(), "a");
    }
}
