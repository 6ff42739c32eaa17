//! Rules, from the schema to what decides.

use std::sync::Arc;

use super::error::Problems;
use super::schema::{OneOrMany, RawRule};
use crate::audience::Audience;
use crate::credential_headers::{ExistingCredential, HeaderName, HeaderPolicy};
use crate::rules::{
    Action, AuthorityPattern, ClusterPattern, PathPrefix, Rule, RuleAudience, Template,
    TemplateError,
};
use crate::wanted::{Scopes, Wanted};

/// What a rule without a `header` of its own gets.
pub(super) fn default_policy(
    header: Option<OneOrMany>,
    existing: ExistingCredential,
    problems: &mut Problems,
) -> Arc<HeaderPolicy> {
    let policy = header.and_then(|header| policy("header", header, existing, problems));
    Arc::new(policy.unwrap_or_else(|| HeaderPolicy::authorization(existing)))
}

pub(super) fn read_all(
    raw: Vec<RawRule>,
    default: &Arc<HeaderPolicy>,
    problems: &mut Problems,
) -> Vec<Rule> {
    let read = |(index, raw)| read(&format!("audiences[{index}]"), raw, default, problems);
    raw.into_iter().enumerate().filter_map(read).collect()
}

/// `None` if something is wrong, and that is noted.
fn read(
    place: &str,
    raw: RawRule,
    default: &Arc<HeaderPolicy>,
    problems: &mut Problems,
) -> Option<Rule> {
    let at = |field: &str| format!("{place}.{field}");
    let cluster = raw
        .cluster
        .as_deref()
        .map(ClusterPattern::parse)
        .transpose();
    let cluster = problems.take(at("cluster"), cluster);
    let authority = raw
        .authority
        .as_deref()
        .map(AuthorityPattern::parse)
        .transpose();
    let authority = problems.take(at("authority"), authority);
    let path = raw.path.as_deref().map(PathPrefix::parse).transpose();
    let path = problems.take(at("path"), path);
    let action = action(
        place,
        raw,
        authority.as_ref().map(Option::as_ref),
        default,
        problems,
    );
    Some(Rule {
        cluster: cluster?,
        authority: authority?,
        path: path?,
        action: action?,
    })
}

/// `authority` is `None` if it is wrong: what depends on it is not looked at then.
fn action(
    place: &str,
    raw: RawRule,
    authority: Option<Option<&AuthorityPattern>>,
    default: &Arc<HeaderPolicy>,
    problems: &mut Problems,
) -> Option<Action> {
    let at = |field: &str| format!("{place}.{field}");
    let bypass = raw.bypass.unwrap_or_default();
    let says = [
        ("audience", raw.audience.is_some()),
        ("custom_audience", raw.custom_audience.is_some()),
        ("scopes", raw.scopes.is_some()),
        ("bypass", bypass),
    ];
    let said: Vec<&str> = says
        .iter()
        .filter(|(_, said)| *said)
        .map(|(field, _)| *field)
        .collect();
    match said.as_slice() {
        [] => {
            problems.add(
                place,
                "says nothing; write `audience`, `custom_audience`, `scopes` or `bypass: true`",
            );
            return None;
        }
        [_] => {}
        several => {
            let found = several.join("` and `");
            problems.add(
                place,
                format!("has `{found}`, which exclude each other; keep one"),
            );
            return None;
        }
    }
    if bypass {
        if raw.header.is_some() {
            let problem =
                "has no meaning beside `bypass: true`, which writes nothing; leave it out";
            problems.add(at("header"), problem);
        }
        return Some(Action::Bypass);
    }
    let policy = match raw.header {
        Some(header) => policy(&at("header"), header, default.existing(), problems).map(Arc::new),
        None => Some(Arc::clone(default)),
    };
    let audience = match (raw.audience, raw.custom_audience, raw.scopes) {
        (Some(text), ..) => problems.take(at("audience"), audience(&text, authority?)),
        (None, Some(text), _) => {
            let audience = problems.take(at("custom_audience"), Audience::custom(&text));
            audience.map(|audience| RuleAudience::Literal(audience.into()))
        }
        (None, None, Some(scopes)) => {
            let scopes = problems.take(at("scopes"), Scopes::new(scopes));
            scopes.map(|scopes| RuleAudience::Literal(scopes.into()))
        }
        (None, None, None) => None,
    };
    Some(Action::Attach {
        audience: audience?,
        policy: policy?,
    })
}

fn audience(
    text: &str,
    authority: Option<&AuthorityPattern>,
) -> Result<RuleAudience, TemplateError> {
    if Template::is_template(text) {
        Template::parse(text, authority).map(RuleAudience::Template)
    } else {
        Ok(RuleAudience::Literal(Wanted::from(Audience::parse(text)?)))
    }
}

fn policy(
    place: &str,
    header: OneOrMany,
    existing: ExistingCredential,
    problems: &mut Problems,
) -> Option<HeaderPolicy> {
    let (texts, listed) = match header {
        OneOrMany::One(text) => (vec![text], false),
        OneOrMany::Many(texts) => (texts, true),
    };
    let count = texts.len();
    let parse = |(index, text): (usize, String)| {
        let place = if listed {
            format!("{place}[{index}]")
        } else {
            place.to_owned()
        };
        problems.take(place, HeaderName::parse(&text))
    };
    let names: Vec<HeaderName> = texts.into_iter().enumerate().filter_map(parse).collect();
    if names.len() < count {
        return None;
    }
    problems.take(place, HeaderPolicy::new(names, existing))
}
