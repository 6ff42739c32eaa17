//! Audiences that are put together from the request.

use std::fmt;

use super::authority::AuthorityPattern;
use crate::audience::{Audience, AudienceError};

/// How many labels at the end of an authority a client must not be able to choose.
const LITERAL_LABELS: usize = 2;

/// An audience with `{authority}` or `{path_segment}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Authority,
    PathSegment,
}

/// Why a template would let a client choose too much, or can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It would make no valid audience.
    #[error(transparent)]
    Audience(#[from] AudienceError),
    /// A bracket without its other half.
    #[error(
        "{0:?} has a curly bracket without its other half; write {{authority}} or {{path_segment}}"
    )]
    Unbalanced(String),
    /// A placeholder that is none.
    #[error("{found:?} has {{{name}}} in it; templates know {{authority}} and {{path_segment}}")]
    UnknownPlaceholder {
        /// The whole text.
        found: String,
        /// What stands between the brackets.
        name: String,
    },
    /// `{authority}` in a rule that matches any.
    #[error(
        "{0:?} needs an `authority` beside it, such as \"*.a.run.app\": else a client could choose any audience"
    )]
    NoAuthority(String),
    /// `{authority}` with a pattern that leaves too much open.
    #[error(
        "{found:?} needs an `authority` that ends in at least two literal labels, such as \"*.a.run.app\"; \
         {pattern:?} lets a client choose the audience"
    )]
    OpenAuthority {
        /// The whole text.
        found: String,
        /// The rule's authority.
        pattern: String,
    },
    /// `{path_segment}` in the host, or behind a host that is not literal.
    #[error(
        "{0:?} has {{path_segment}} elsewhere than behind a literal host; write \"https://HOST/{{path_segment}}\""
    )]
    OpenHost(String),
}

impl Template {
    /// Whether a rule's audience is meant as a template.
    pub(crate) fn is_template(text: &str) -> bool {
        text.contains(['{', '}'])
    }

    /// Takes a rule's audience, with the rule's authority.
    pub fn parse(text: &str, authority: Option<&AuthorityPattern>) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        let template = Self {
            text: text.into(),
            parts,
        };
        if template.needs_authority() {
            let pattern = authority.ok_or_else(|| TemplateError::NoAuthority(text.to_owned()))?;
            let labels = pattern
                .literal_labels()
                .split('.')
                .filter(|label| !label.is_empty());
            if labels.count() < LITERAL_LABELS {
                let (found, pattern) = (text.to_owned(), pattern.to_string());
                return Err(TemplateError::OpenAuthority { found, pattern });
            }
        }
        if template.needs_path() && !template.has_literal_host() {
            return Err(TemplateError::OpenHost(text.to_owned()));
        }
        if !text.starts_with("https://") && !text.starts_with("http://") {
            return Err(AudienceError::without_scheme(text).into());
        }
        template.derive(Some("a.a"), Some("a"))?;
        Ok(template)
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path is part of the audience; a request without a first segment does not match.
    pub fn needs_path(&self) -> bool {
        self.parts.contains(&Part::PathSegment)
    }

    fn needs_authority(&self) -> bool {
        self.parts.contains(&Part::Authority)
    }

    /// Puts the audience together. What is not needed may be missing.
    pub(super) fn derive(
        &self,
        authority: Option<&str>,
        segment: Option<&str>,
    ) -> Result<Audience, AudienceError> {
        let mut text = String::with_capacity(self.text.len() + authority.map_or(0, str::len));
        for part in &self.parts {
            text.push_str(match part {
                Part::Literal(literal) => literal,
                Part::Authority => authority.unwrap_or_default(),
                Part::PathSegment => segment.unwrap_or_default(),
            });
        }
        Audience::parse(&text)
    }

    /// Whether scheme and host, up to the slash, come before the first placeholder.
    fn has_literal_host(&self) -> bool {
        let Some(Part::Literal(start)) = self.parts.first() else {
            return false;
        };
        start
            .split_once("://")
            .is_some_and(|(_, rest)| rest.find('/').is_some_and(|end| end > 0))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let unbalanced = || TemplateError::Unbalanced(text.to_owned());
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((literal, tail)) = rest.split_once('{') {
        push_literal(&mut parts, literal, text)?;
        let (name, tail) = tail.split_once('}').ok_or_else(unbalanced)?;
        parts.push(match name {
            "authority" => Part::Authority,
            "path_segment" => Part::PathSegment,
            _ => {
                let (found, name) = (text.to_owned(), name.to_owned());
                return Err(TemplateError::UnknownPlaceholder { found, name });
            }
        });
        rest = tail;
    }
    push_literal(&mut parts, rest, text)?;
    Ok(parts)
}

fn push_literal(parts: &mut Vec<Part>, literal: &str, text: &str) -> Result<(), TemplateError> {
    if literal.contains('}') {
        return Err(TemplateError::Unbalanced(text.to_owned()));
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.into()));
    }
    Ok(())
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
