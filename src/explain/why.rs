//! What a rule asks for, and why a request is not that.

use super::{MAX_LISTED_RULES, Mismatch, Question};
use crate::rules::{Authority, Rule, is_passthrough};

/// What a rule asks for.
pub(super) fn named(rule: &Rule) -> String {
    let fields = [
        rule.cluster
            .as_ref()
            .map(|cluster| format!("cluster {:?}", cluster.as_str())),
        rule.authority
            .as_ref()
            .map(|authority| format!("authority {:?}", authority.as_str())),
        rule.path
            .as_ref()
            .map(|path| format!("path {:?}", path.as_str())),
    ];
    let fields: Vec<String> = fields.into_iter().flatten().collect();
    if fields.is_empty() {
        "every request".to_owned()
    } else {
        fields.join(", ")
    }
}

pub(super) fn mismatches(rules: &[Rule], question: &Question) -> Vec<Mismatch> {
    let rules = rules.iter().take(MAX_LISTED_RULES).enumerate();
    let mismatch = |(rule, what)| Mismatch {
        rule,
        reason: reason(what, question),
    };
    rules.map(mismatch).collect()
}

/// The first thing that does not match.
fn reason(rule: &Rule, question: &Question) -> String {
    let cluster = question.cluster.as_deref();
    match (&rule.cluster, cluster) {
        (None, Some(name)) if is_passthrough(name) => {
            return format!("it names no cluster, and then {name} never matches");
        }
        (Some(pattern), None) if !pattern.is_everything() => {
            return format!(
                "it asks for cluster {:?}, and the request has none",
                pattern.as_str()
            );
        }
        (Some(pattern), Some(name)) if !pattern.matches(name) => {
            return format!("cluster {name:?} is not {:?}", pattern.as_str());
        }
        _ => {}
    }
    let sent = question.authority.as_deref().unwrap_or_default();
    match (&rule.authority, Authority::parse(sent)) {
        (Some(_), None) => return format!("authority {sent:?} is no plain host name"),
        (Some(pattern), Some(authority)) if !pattern.matches(&authority) => {
            return format!(
                "authority {:?} is not {:?}",
                authority.as_str(),
                pattern.as_str()
            );
        }
        _ => {}
    }
    match (&rule.path, &question.path) {
        (Some(prefix), None) => format!(
            "it asks for path {:?}; give one with --path",
            prefix.as_str()
        ),
        (Some(prefix), Some(path)) if !prefix.matches(path) => {
            format!(
                "path {path:?} is neither {:?} nor below it",
                prefix.as_str()
            )
        }
        (_, Some(path)) => format!("path {path:?} has no first segment for its audience"),
        (None, None) => "its audience takes a segment of the path; give one with --path".to_owned(),
    }
}
