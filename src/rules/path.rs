//! Paths: a rule's prefix, and the segment that a template takes.

use std::fmt;

/// A path that matches itself and all that lies below it; the query is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathPrefix(Box<str>);

/// Why a text is no path's prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathPrefixError {
    /// Nothing is written.
    #[error("is empty; write \"/\" for every path, or leave the field out")]
    Empty,
    /// No slash in front.
    #[error("{0:?} has no slash in front; write \"/{0}\"")]
    NoSlash(String),
    /// Stars are for clusters and authorities.
    #[error(
        "{found:?} has a star in it; a path matches all that lies below it anyway: write {instead:?}"
    )]
    Star {
        /// The whole text.
        found: String,
        /// What stands before the star.
        instead: String,
    },
    /// A query or fragment, blank space or a control character.
    #[error(
        "{found:?} has {character:?} in it; write a path without query, fragment and blank space"
    )]
    Character {
        /// The whole text.
        found: String,
        /// The first character that is wrong.
        character: char,
    },
}

impl PathPrefix {
    /// Takes a path that begins with a slash.
    pub fn parse(text: &str) -> Result<Self, PathPrefixError> {
        if text.is_empty() {
            return Err(PathPrefixError::Empty);
        }
        if !text.starts_with('/') {
            return Err(PathPrefixError::NoSlash(text.to_owned()));
        }
        if let Some((before, _)) = text.split_once('*') {
            let whole = before.trim_end_matches(|c| c != '/');
            let instead = if whole.len() > 1 {
                whole.trim_end_matches('/')
            } else {
                "/"
            };
            let instead = instead.to_owned();
            return Err(PathPrefixError::Star {
                found: text.to_owned(),
                instead,
            });
        }
        let wrong = |c: &char| matches!(c, '?' | '#') || c.is_whitespace() || c.is_control();
        match text.chars().find(wrong) {
            Some(character) => Err(PathPrefixError::Character {
                found: text.to_owned(),
                character,
            }),
            None => Ok(Self(text.into())),
        }
    }

    /// The prefix as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a request's path lies at or below this one.
    pub fn matches(&self, path: &str) -> bool {
        without_query(path)
            .strip_prefix(&*self.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.0.ends_with('/'))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The first segment as it was sent; `None` where there is none.
pub(super) fn first_segment(path: &str) -> Option<&str> {
    let segment = without_query(path).strip_prefix('/')?.split('/').next()?;
    (!segment.is_empty()).then_some(segment)
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let resize = PathPrefix::parse("/resize").unwrap();
        for path in [
            "/resize",
            "/resize/",
            "/resize/a",
            "/resize?width=1",
            "/resize#x",
        ] {
            assert!(resize.matches(path), "{path}");
        }
        for path in [
            "/resizer",
            "/",
            "",
            "/a/resize",
            "/a?/resize",
            "resize",
            "/Resize",
        ] {
            assert!(!resize.matches(path), "{path}");
        }
        let below = PathPrefix::parse("/resize/").unwrap();
        assert!(
            below.matches("/resize/") && below.matches("/resize/a") && !below.matches("/resize")
        );
        assert!(
            PathPrefix::parse("/").unwrap().matches("/a")
                && !PathPrefix::parse("/").unwrap().matches("*")
        );
    }

    #[test]
    fn the_first_segment_is_taken_as_sent() {
        assert_eq!(first_segment("/resize/a?b"), Some("resize"));
        assert_eq!(first_segment("/r%2Fs?b"), Some("r%2Fs"));
        for path in ["/", "", "//a", "/?a", "*", "resize"] {
            assert_eq!(first_segment(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_wrong_names_what_to_write_instead() {
        let problem = |text| PathPrefix::parse(text).unwrap_err().to_string();
        assert_eq!(
            problem("resize"),
            r#""resize" has no slash in front; write "/resize""#
        );
        assert!(problem("/a/re*").ends_with(r#"write "/a""#));
        assert!(problem("/*").ends_with(r#"write "/""#));
        assert!(problem("/a?b").starts_with(r#""/a?b" has '?' in it"#));
        for blank in ["/a b", "/a\tb", "/a\0b", "/a\u{7f}"] {
            let character = blank.chars().nth(2).unwrap();
            let told = format!("{blank:?} has {character:?} in it");
            assert!(problem(blank).starts_with(&told), "{told}");
        }
        assert!(problem("").starts_with("is empty"));
        assert_eq!(PathPrefix::parse("/a/").unwrap().as_str(), "/a/");
    }
}
