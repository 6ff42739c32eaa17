//! Which clusters a rule means.

use std::fmt;

use super::pattern::Pattern;

/// Istio's clusters for plaintext to whatever the client chose: an address, or (with Istio 1.31's
/// `ALLOW_ANY_DYNAMIC_DNS`) a host. No rule means them unless it names a cluster.
pub(crate) fn is_passthrough(cluster: &str) -> bool {
    matches!(
        cluster,
        "PassthroughCluster" | "InboundPassthroughCluster" | "AllowAnyDynamicDNSCluster"
    )
}

/// A cluster's name, in which `*` stands for any characters, none included. Istio's names have
/// literal stars in them (`outbound|80||*.a.run.app`), which a star matches too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterPattern {
    text: Box<str>,
    pattern: Pattern,
}

/// Why a text can't be a cluster's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterPatternError {
    /// Nothing is written.
    #[error("is empty; write a cluster's name, \"*\" for all of them, or leave the field out")]
    Empty,
    /// A control character, or blank space at an end.
    #[error("{0:?} has a control character, or blank space at an end; no cluster is called so")]
    Characters(String),
}

impl ClusterPattern {
    /// Takes a cluster's name, with or without stars.
    pub fn parse(text: &str) -> Result<Self, ClusterPatternError> {
        if text.is_empty() {
            return Err(ClusterPatternError::Empty);
        }
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(ClusterPatternError::Characters(text.to_owned()));
        }
        Ok(Self {
            text: text.into(),
            pattern: Pattern::parse(text),
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The cluster's name, if there is no star in it.
    pub fn exact(&self) -> Option<&str> {
        self.pattern.exact()
    }

    /// Whether it is `*`, which needs no look at the cluster.
    pub fn is_everything(&self) -> bool {
        self.pattern.is_everything()
    }

    /// Whether the cluster is meant.
    pub fn matches(&self, cluster: &str) -> bool {
        self.pattern.matches(cluster, 0)
    }
}

impl fmt::Display for ClusterPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_istios_literal_star_too() {
        let pattern = ClusterPattern::parse("outbound|80||*.a.run.app").unwrap();
        assert!(pattern.matches("outbound|80||*.a.run.app"));
        assert!(pattern.matches("outbound|80||profiles-abc-uc.a.run.app"));
        assert!(!pattern.matches("outbound|443||*.a.run.app"));
        assert!(!pattern.matches("outbound|80||*.a.run.app.evil"));
    }
}
