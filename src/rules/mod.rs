//! From a request's head to what happens to it.
//!
//! The first rule that matches wins, and what decides must cost next to nothing: on the hit path
//! each value that is read from the host is dearer than the whole look-up. So each value is asked
//! for at most once, only when a rule that could still win names it, and the rules are indexed
//! (`index`) instead of tried.

use std::collections::HashMap;
use std::sync::Arc;

use crate::credential_headers::{HeaderPolicy, WrittenHeaders};
use crate::wanted::Wanted;

mod annotation;
mod authority;
mod cluster;
mod gcp_authn;
mod head;
mod index;
mod path;
mod pattern;
mod template;

pub use annotation::Annotation;
pub use authority::{Authority, AuthorityPattern, AuthorityPatternError};
#[cfg(not(target_family = "wasm"))]
pub(crate) use cluster::is_passthrough;
pub use cluster::{ClusterPattern, ClusterPatternError};
pub use head::RequestHead;
pub use path::{PathPrefix, PathPrefixError};
pub use template::{Template, TemplateError};

use head::Asked;
use index::Index;

/// One rule: what it names must all match.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The clusters that it means; without one, all but Istio's passthrough clusters.
    pub cluster: Option<ClusterPattern>,
    /// The authorities that it means.
    pub authority: Option<AuthorityPattern>,
    /// The paths that it means.
    pub path: Option<PathPrefix>,
    /// What happens to requests that match.
    pub action: Action,
}

/// What a rule does.
#[derive(Debug, Clone)]
pub enum Action {
    /// The request is left alone.
    Bypass,
    /// The request gets a token.
    Attach {
        /// Whom the token is for.
        audience: RuleAudience,
        /// How it is put into the request.
        policy: Arc<HeaderPolicy>,
    },
}

/// What a rule's requests need.
#[derive(Debug, Clone)]
pub enum RuleAudience {
    /// The same for all requests.
    Literal(Wanted),
    /// An ID token, with an audience put together from the request.
    Template(Template),
}

impl RuleAudience {
    /// Whether it is known before any request.
    pub fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing says anything about it: it is left alone.
    NoRule,
    /// It is to be left alone.
    Bypass {
        /// Who said so.
        source: RuleSource,
    },
    /// It gets a token.
    Attach {
        /// Who said so.
        source: RuleSource,
        /// Whom the token is for.
        target: Target,
        /// How it is put into the request.
        policy: Arc<HeaderPolicy>,
    },
    /// It needs a token, but what should say for whom is no audience: an error, never a bypass.
    InvalidAnnotation {
        /// Where that stands: an annotation, or a rule whose template made no valid audience.
        source: RuleSource,
        /// What is wrong, after the place's name.
        problem: String,
        /// How a token would have been put into the request.
        policy: Arc<HeaderPolicy>,
    },
}

/// What decided about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleSource {
    /// A rule, by its place in the configuration's `audiences`, from 0.
    Rule(usize),
    /// What the route or the cluster carries.
    Annotation(Annotation),
}

impl std::fmt::Display for RuleSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rule(index) => write!(formatter, "audiences[{index}]"),
            Self::Annotation(annotation) => annotation.fmt(formatter),
        }
    }
}

/// Which token a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One of [`Rules::literals`], by its place there.
    Literal(usize),
    /// Derived from the request or read from an annotation, and none of the literals.
    Derived(Wanted),
}

impl Target {
    /// What it asks for, if it says so itself.
    pub fn wanted(&self) -> Option<&Wanted> {
        match self {
            Self::Literal(_) => None,
            Self::Derived(wanted) => Some(wanted),
        }
    }
}

/// All rules of a configuration.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    /// For each rule with a literal audience, its place in `literals`.
    targets: Vec<Option<usize>>,
    literals: Vec<Wanted>,
    by_wanted: HashMap<Wanted, usize>,
    index: Index,
    /// What annotations get; `None` if they are not honoured.
    annotated: Option<Arc<HeaderPolicy>>,
    written: WrittenHeaders,
}

impl Rules {
    /// Takes the rules in their order. With `annotated`, what route and cluster carry is honoured
    /// too, before the rules, and written as that policy says.
    ///
    /// Without anything that attaches a token, `default` names the headers that are cleared after a
    /// redirect: so a cluster's own plugin with nothing but a `bypass` takes out what another
    /// cluster's plugin put in.
    pub fn new(
        rules: Vec<Rule>,
        annotated: Option<Arc<HeaderPolicy>>,
        default: &HeaderPolicy,
    ) -> Self {
        let mut literals = Vec::new();
        let mut by_wanted = HashMap::new();
        let targets = rules
            .iter()
            .map(|rule| {
                let Action::Attach {
                    audience: RuleAudience::Literal(wanted),
                    ..
                } = &rule.action
                else {
                    return None;
                };
                Some(*by_wanted.entry(wanted.clone()).or_insert_with(|| {
                    literals.push(wanted.clone());
                    literals.len() - 1
                }))
            })
            .collect();
        let policies = rules.iter().filter_map(|rule| match &rule.action {
            Action::Attach { policy, .. } => Some(&**policy),
            Action::Bypass => None,
        });
        let policies: Vec<_> = policies.chain(annotated.as_deref()).collect();
        let written = match policies.as_slice() {
            [] => WrittenHeaders::of([default]),
            policies => WrittenHeaders::of(policies.iter().copied()),
        };
        let index = Index::new(&rules);
        Self {
            rules,
            targets,
            literals,
            by_wanted,
            index,
            annotated,
            written,
        }
    }

    /// The rules in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is known beforehand to be needed, each once.
    pub fn literals(&self) -> &[Wanted] {
        &self.literals
    }

    /// Whether what route and cluster carry is honoured.
    pub fn honours_annotations(&self) -> bool {
        self.annotated.is_some()
    }

    /// All headers that a token can be written to.
    pub fn headers_written(&self) -> &WrittenHeaders {
        &self.written
    }

    /// What a decision asks for.
    pub fn wanted<'a>(&'a self, target: &'a Target) -> Option<&'a Wanted> {
        match target {
            Target::Literal(index) => self.literals.get(*index),
            Target::Derived(wanted) => Some(wanted),
        }
    }

    /// Decides about a request.
    pub fn decide(&self, head: &impl RequestHead) -> Decision {
        if let Some(policy) = &self.annotated
            && let Some(decision) = annotation::decide(head, |wanted| self.target(wanted), policy)
        {
            return decision;
        }
        let asked = Asked::new(head);
        match self.index.find(&self.rules, &asked) {
            Some(index) => self.apply(index, &asked),
            None => Decision::NoRule,
        }
    }

    fn apply(&self, index: usize, asked: &Asked<'_, impl RequestHead>) -> Decision {
        let source = RuleSource::Rule(index);
        let (audience, policy) = match self.rules.get(index).map(|rule| &rule.action) {
            None | Some(Action::Bypass) => return Decision::Bypass { source },
            Some(Action::Attach { audience, policy }) => (audience, policy),
        };
        let target = match (self.targets.get(index), audience) {
            (Some(Some(literal)), _) => Target::Literal(*literal),
            (_, RuleAudience::Literal(wanted)) => Target::Derived(wanted.clone()),
            (_, RuleAudience::Template(template)) => {
                let segment = template.needs_path().then(|| asked.path()).flatten();
                match template.derive(
                    asked.authority().map(Authority::as_str),
                    segment.and_then(path::first_segment),
                ) {
                    Ok(audience) => self.target(audience.into()),
                    Err(error) => {
                        return Decision::InvalidAnnotation {
                            source,
                            problem: error.to_string(),
                            policy: Arc::clone(policy),
                        };
                    }
                }
            }
        };
        Decision::Attach {
            source,
            target,
            policy: Arc::clone(policy),
        }
    }

    /// A literal's place, so that one audience never has two homes in the store.
    pub(crate) fn target(&self, wanted: Wanted) -> Target {
        match self.by_wanted.get(&wanted) {
            Some(literal) => Target::Literal(*literal),
            None => Target::Derived(wanted),
        }
    }
}

#[cfg(test)]
mod tests;
