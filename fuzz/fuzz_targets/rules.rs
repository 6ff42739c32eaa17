//! Rules and requests of any shape: the index finds the rule that comes first among those that match alone, and what a client writes never becomes
//! more than a part of an audience.

#![no_main]

use arbitrary::Arbitrary;
use invoker::audience::Audience;
use invoker::config::Config;
use invoker::rules::{Annotation, Decision, RequestHead, RuleSource, Rules, Target};
use invoker::wanted::Wanted;
use invoker_fuzz::belongs_in_a_header;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    rules: Vec<RawRule<'a>>,
    head: Head<'a>,
    honours_annotations: bool,
}

#[derive(Arbitrary, Debug)]
struct RawRule<'a> {
    cluster: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    audience: Option<&'a str>,
}

#[derive(Arbitrary, Debug)]
struct Head<'a> {
    cluster: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    annotation: Option<&'a [u8]>,
}

impl RequestHead for Head<'_> {
    fn cluster(&self) -> Option<String> {
        self.cluster.map(str::to_owned)
    }

    fn authority(&self) -> Option<String> {
        self.authority.map(str::to_owned)
    }

    fn path(&self) -> Option<String> {
        self.path.map(str::to_owned)
    }

    fn annotation(&self, _: Annotation) -> Option<Vec<u8>> {
        self.annotation.map(<[u8]>::to_vec)
    }
}

fuzz_target!(|input: Input<'_>| {
    let rules: Vec<Value> = input.rules.iter().take(8).map(raw).collect();
    let config = json!({
        "credentials": {"type": "metadata", "cluster": "metadata"},
        "audiences": rules,
        "audience_from_metadata": input.honours_annotations,
    });
    let Ok(config) = Config::from_value(config) else {
        return;
    };
    let decision = config.rules.decide(&input.head);
    if let Decision::Attach {
        target: target @ Target::Derived(_),
        ..
    } = &decision
        && let Some(Wanted::IdToken(audience)) = config.rules.wanted(target)
    {
        assert!(Audience::parse(audience.as_str()).is_ok(), "{audience:?}");
        assert!(belongs_in_a_header(audience.as_str()), "{audience:?}");
    }
    let place = match &decision {
        Decision::NoRule => None,
        Decision::Bypass { source }
        | Decision::Attach { source, .. }
        | Decision::InvalidAnnotation { source, .. } => match source {
            RuleSource::Rule(place) => Some(*place),
            RuleSource::Annotation(_) => return,
        },
    };
    let matches_alone = |rule: &invoker::rules::Rule| {
        let alone = Rules::new(vec![rule.clone()], None, &config.headers);
        alone.decide(&input.head) != Decision::NoRule
    };
    assert_eq!(
        place,
        config.rules.rules().iter().position(matches_alone),
        "{decision:?}"
    );
});

fn raw(rule: &RawRule<'_>) -> Value {
    let mut object = serde_json::Map::new();
    for (name, value) in [
        ("cluster", rule.cluster),
        ("authority", rule.authority),
        ("path", rule.path),
        ("audience", rule.audience),
    ] {
        if let Some(value) = value {
            object.insert(name.into(), value.into());
        }
    }
    if rule.audience.is_none() {
        object.insert("bypass".into(), true.into());
    }
    Value::Object(object)
}
