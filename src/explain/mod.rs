//! What would happen to a request, in words: `invoker explain`.
//!
//! The same code decides as in a proxy ([`Rules::decide`](crate::rules::Rules::decide)), and the same
//! source says which callouts it would make.

use serde::Serialize;

use crate::config::{Config, Environment, ErrorDetails, FailureMode};
use crate::credential_headers::{ExistingCredential, HeaderPolicy};
use crate::http::Request;
use crate::rules::{Action, Annotation, Decision, RequestHead, Rule, RuleAudience, RuleSource};
use crate::wanted::Wanted;

mod why;
mod words;

use why::{mismatches, named};

/// How many rules that do not match are listed.
const MAX_LISTED_RULES: usize = 20;

/// A request that somebody wonders about.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The cluster that it goes to; none outside Envoy.
    pub cluster: Option<String>,
    /// Its `:authority` or `Host`.
    pub authority: Option<String>,
    /// Its path, with the query.
    pub path: Option<String>,
}

impl RequestHead for Question {
    fn cluster(&self) -> Option<String> {
        self.cluster.clone()
    }

    fn authority(&self) -> Option<String> {
        self.authority.clone()
    }

    fn path(&self) -> Option<String> {
        self.path.clone()
    }

    fn annotation(&self, _: Annotation) -> Option<Vec<u8>> {
        None
    }
}

/// The answer; as JSON, the fields of its `decision` stand beside that.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// What happens.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether route and cluster can say something else, which goes first.
    pub audience_from_metadata: bool,
}

/// What happens to the request.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "decision", rename_all = "lowercase")]
pub enum Outcome {
    /// It goes on as it is: no rule matches.
    None {
        /// Why not, for the first rules.
        rules: Vec<Mismatch>,
        /// How many more there are.
        more_rules: usize,
    },
    /// It goes on as it is: a rule says so.
    Bypass {
        /// The rule's place, from 0.
        rule: usize,
        /// What the rule asks for.
        matches: String,
    },
    /// It gets a token.
    Attach(Box<Attach>),
    /// A rule matches and makes no valid audience of the request.
    Error {
        /// The rule's place, from 0.
        rule: usize,
        /// What is wrong.
        problem: String,
        /// What becomes of the request.
        failure_mode: FailureMode,
    },
}

/// Why a rule does not match.
#[derive(Debug, Clone, Serialize)]
pub struct Mismatch {
    /// The rule's place, from 0.
    pub rule: usize,
    /// What does not match.
    pub reason: String,
}

/// How a request gets its token.
#[derive(Debug, Clone, Serialize)]
pub struct Attach {
    /// The rule's place, from 0.
    pub rule: usize,
    /// What the rule asks for.
    pub matches: String,
    /// Whom the token is for, if it is an ID token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// What the token is good for, if it is an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// What the audience was derived from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The headers that the token is written to.
    pub headers: Vec<String>,
    /// What becomes of the caller's own credential.
    pub existing_credential: ExistingCredential,
    /// What becomes of the request without a token.
    pub failure_mode: FailureMode,
    /// What a denial's body says.
    pub error_details: ErrorDetails,
    /// How long the request may wait, in seconds.
    pub timeout_seconds: f64,
    /// Whether the token is fetched before the first request.
    pub prefetched: bool,
    /// The callouts that a token takes, if none is at hand.
    pub callouts: Vec<Callout>,
    /// Why they can't be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callouts_unknown: Option<String>,
}

/// A callout that would be made.
#[derive(Debug, Clone, Serialize)]
pub struct Callout {
    /// `GET` or `POST`.
    pub method: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host and port.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// The Envoy cluster that it goes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The names of its headers; values can be credentials.
    pub headers: Vec<String>,
    /// How long it may take, in seconds.
    pub timeout_seconds: f64,
}

/// Says what would happen to a request. `environment` has the credentials that the configuration names.
pub fn explain(config: &Config, question: &Question, environment: Environment<'_>) -> Explanation {
    let rules = config.rules.rules();
    let place = |source: RuleSource| match source {
        RuleSource::Rule(index) => index,
        // A question carries no annotation.
        RuleSource::Annotation(_) => rules.len(),
    };
    let matches = |index: usize| rules.get(index).map(named).unwrap_or_default();
    let outcome = match config.rules.decide(question) {
        Decision::NoRule => Outcome::None {
            rules: mismatches(rules, question),
            more_rules: rules.len().saturating_sub(MAX_LISTED_RULES),
        },
        Decision::Bypass { source } => Outcome::Bypass {
            rule: place(source),
            matches: matches(place(source)),
        },
        Decision::InvalidAnnotation {
            source, problem, ..
        } => Outcome::Error {
            rule: place(source),
            problem,
            failure_mode: config.failure_mode,
        },
        Decision::Attach {
            source,
            target,
            policy,
        } => {
            let rule = place(source);
            let wanted = config.rules.wanted(&target);
            let template = rules.get(rule).and_then(template);
            let (callouts, callouts_unknown) = match callouts(config, wanted, environment) {
                Ok(callouts) => (callouts, None),
                Err(reason) => (Vec::new(), Some(reason)),
            };
            Outcome::Attach(Box::new(Attach {
                rule,
                matches: matches(rule),
                audience: wanted.and_then(Wanted::audience).map(ToString::to_string),
                scopes: wanted.and_then(scopes),
                prefetched: config.prefetch && template.is_none(),
                template,
                headers: headers(&policy),
                existing_credential: policy.existing(),
                failure_mode: config.failure_mode,
                error_details: config.error_details,
                timeout_seconds: config.timing.timeout.as_secs_f64(),
                callouts,
                callouts_unknown,
            }))
        }
    };
    Explanation {
        outcome,
        audience_from_metadata: config.rules.honours_annotations(),
    }
}

fn headers(policy: &HeaderPolicy) -> Vec<String> {
    policy.names().map(ToString::to_string).collect()
}

fn template(rule: &Rule) -> Option<String> {
    match &rule.action {
        Action::Attach {
            audience: RuleAudience::Template(template),
            ..
        } => Some(template.to_string()),
        _ => None,
    }
}

fn scopes(wanted: &Wanted) -> Option<Vec<String>> {
    match wanted {
        Wanted::IdToken(_) => None,
        Wanted::AccessToken(scopes) => Some(scopes.iter().map(str::to_owned).collect()),
    }
}

fn callouts(
    config: &Config,
    wanted: Option<&Wanted>,
    environment: Environment<'_>,
) -> Result<Vec<Callout>, String> {
    let source = config.source(environment).map_err(|it| it.to_string())?;
    let timeout = config.timing.callout_timeout;
    let requests = wanted.map(|wanted| source.outline(wanted, timeout));
    let callout = |request: Request| Callout {
        method: request.method.to_owned(),
        scheme: request.scheme.as_str(),
        headers: request
            .headers
            .iter()
            .map(|(name, _)| name.to_string())
            .collect(),
        authority: request.authority,
        path: request.path,
        cluster: Some(request.cluster).filter(|cluster| !cluster.is_empty()),
        timeout_seconds: timeout.as_secs_f64(),
    };
    Ok(requests
        .unwrap_or_default()
        .into_iter()
        .map(callout)
        .collect())
}
