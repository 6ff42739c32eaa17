use std::cell::RefCell;

use super::*;
use crate::audience::Audience;
use crate::config::Config;

mod properties;

/// A head that counts how often it is asked.
#[derive(Debug, Default, Clone)]
struct Head {
    cluster: Option<&'static str>,
    authority: Option<&'static str>,
    path: Option<&'static str>,
    annotations: Vec<(Annotation, Vec<u8>)>,
    asked: RefCell<Vec<&'static str>>,
}

impl Head {
    fn new(
        cluster: impl Into<Option<&'static str>>,
        authority: impl Into<Option<&'static str>>,
        path: impl Into<Option<&'static str>>,
    ) -> Self {
        let (cluster, authority, path) = (cluster.into(), authority.into(), path.into());
        Self {
            cluster,
            authority,
            path,
            ..Self::default()
        }
    }

    fn annotated(mut self, annotation: Annotation, value: impl AsRef<[u8]>) -> Self {
        self.annotations.push((annotation, value.as_ref().to_vec()));
        self
    }

    fn ask<T: ToString>(&self, what: &'static str, value: Option<T>) -> Option<String> {
        assert!(
            !self.asked.borrow().contains(&what),
            "{what} is asked for twice"
        );
        self.asked.borrow_mut().push(what);
        value.map(|value| value.to_string())
    }
}

impl RequestHead for Head {
    fn cluster(&self) -> Option<String> {
        self.ask("cluster", self.cluster)
    }

    fn authority(&self) -> Option<String> {
        self.ask("authority", self.authority)
    }

    fn path(&self) -> Option<String> {
        self.ask("path", self.path)
    }

    fn annotation(&self, annotation: Annotation) -> Option<Vec<u8>> {
        let found = self
            .annotations
            .iter()
            .find(|(name, _)| *name == annotation);
        found.map(|(_, value)| value.clone())
    }
}

fn rules(audiences: serde_json::Value) -> Rules {
    rules_with(audiences, false)
}

fn rules_with(audiences: serde_json::Value, audience_from_metadata: bool) -> Rules {
    let config = serde_json::json!({
        "credentials": {"type": "metadata"},
        "audiences": audiences,
        "audience_from_metadata": audience_from_metadata,
    });
    Config::from_value(config).unwrap().rules
}

/// What was decided, in short: `0 https://…`, `1 bypass`, `-`.
fn decided(rules: &Rules, head: &Head) -> String {
    match rules.decide(head) {
        Decision::NoRule => "-".to_owned(),
        Decision::Bypass { source } => format!("{source} bypass"),
        Decision::Attach { source, target, .. } => {
            format!("{source} {}", rules.wanted(&target).unwrap().as_str())
        }
        Decision::InvalidAnnotation {
            source, problem, ..
        } => format!("{source} {problem}"),
    }
}

/// The configuration in the design, as far as rules go.
fn design() -> Rules {
    rules(serde_json::json!([
        {"cluster": "profiles", "audience": "https://profiles-abc-uc.a.run.app"},
        {"cluster": "outbound|80||*.a.run.app", "authority": "*.a.run.app", "audience": "https://{authority}"},
        {"authority": "europe-west1-demo.cloudfunctions.net", "path": "/resize",
         "audience": "https://europe-west1-demo.cloudfunctions.net/resize"},
        {"authority": "*.internal.example.com", "audience": "iap.apps.googleusercontent.com",
         "header": "proxy-authorization"},
        {"authority": "health.example.com", "bypass": true},
        {"authority": "functions.example.com", "audience": "https://functions.example.com/{path_segment}"},
    ]))
}

#[test]
fn the_designs_rules_decide_as_the_design_says() {
    let rules = design();
    let decided = |cluster, authority, path| decided(&rules, &Head::new(cluster, authority, path));
    assert_eq!(
        decided("profiles", "x", "/"),
        "audiences[0] https://profiles-abc-uc.a.run.app"
    );
    assert_eq!(
        decided("outbound|80||*.a.run.app", "Search.a.run.app:80", "/"),
        "audiences[1] https://search.a.run.app"
    );
    assert_eq!(
        decided("outbound|80||search.a.run.app", "search.a.run.app", "/"),
        "audiences[1] https://search.a.run.app"
    );
    assert_eq!(decided("outbound|80||*.a.run.app", "evil.com", "/"), "-");
    assert_eq!(
        decided("outbound|80||*.a.run.app", "user@a.a.run.app", "/"),
        "-"
    );
    let functions = "europe-west1-demo.cloudfunctions.net";
    let resize = "audiences[2] https://europe-west1-demo.cloudfunctions.net/resize";
    assert_eq!(decided("x", functions, "/resize?width=1"), resize);
    assert_eq!(decided("x", functions, "/resizer"), "-");
    assert_eq!(
        decided("x", "a.internal.example.com", "/"),
        "audiences[3] iap.apps.googleusercontent.com"
    );
    assert_eq!(
        decided("x", "health.example.com", "/"),
        "audiences[4] bypass"
    );
    assert_eq!(
        decided("x", "functions.example.com", "/resize/a?b"),
        "audiences[5] https://functions.example.com/resize"
    );
    assert_eq!(decided("x", "functions.example.com", "/?b"), "-");
    assert_eq!(decided("x", "example.com", "/"), "-");
}

#[test]
fn a_rules_own_header_is_honoured() {
    let rules = design();
    let Decision::Attach { policy, .. } =
        rules.decide(&Head::new("x", "a.internal.example.com", "/"))
    else {
        panic!("no token");
    };
    let names: Vec<&str> = policy.names().map(|name| name.as_str()).collect();
    assert_eq!(names, ["proxy-authorization"]);
    let written: Vec<&str> = rules
        .headers_written()
        .names()
        .iter()
        .map(|n| n.as_str())
        .collect();
    assert_eq!(written, ["authorization", "proxy-authorization"]);
}

#[test]
fn passthrough_clusters_need_a_rule_that_names_a_cluster() {
    let open =
        rules(serde_json::json!([{"authority": "*.a.run.app", "audience": "https://{authority}"}]));
    let all = rules(serde_json::json!([
        {"authority": "*.a.run.app", "audience": "https://first.example.com"},
        {"cluster": "*", "authority": "b.a.run.app", "audience": "https://{authority}"},
        {"cluster": "nowhere", "bypass": true},
    ]));
    for cluster in [
        "PassthroughCluster",
        "InboundPassthroughCluster",
        "AllowAnyDynamicDNSCluster",
    ] {
        assert_eq!(decided(&open, &Head::new(cluster, "b.a.run.app", "/")), "-");
        assert_eq!(
            decided(&all, &Head::new(cluster, "b.a.run.app", "/")),
            "audiences[1] https://b.a.run.app"
        );
    }
    for cluster in [Some("passthroughcluster"), Some("other"), None] {
        assert_ne!(decided(&open, &Head::new(cluster, "b.a.run.app", "/")), "-");
    }
}

#[test]
fn nothing_is_asked_for_that_no_rule_needs() {
    let asked = |rules: &Rules, head: Head| {
        rules.decide(&head);
        head.asked.into_inner()
    };
    let literal = "https://a.run.app";
    let head = || Head::new("c", "b.a.run.app", "/x");

    let only = rules(serde_json::json!([{"cluster": "*", "audience": literal}]));
    assert_eq!(asked(&only, head()), Vec::<&str>::new());

    let by_cluster = rules(serde_json::json!([
        {"cluster": "c", "audience": literal},
        {"cluster": "d", "authority": "b.a.run.app", "path": "/", "audience": literal},
    ]));
    assert_eq!(asked(&by_cluster, head()), ["cluster"]);
    assert_eq!(
        asked(&by_cluster, Head::new("d", "b.a.run.app", "/")),
        ["cluster", "authority", "path"]
    );
    assert_eq!(
        asked(&by_cluster, Head::new("d", "a.run.app", "/")),
        ["cluster", "authority"]
    );

    // A rule without a cluster has to know whether it is a passthrough one, but only if it matches.
    let by_authority =
        rules(serde_json::json!([{"authority": "b.a.run.app", "audience": literal}]));
    assert_eq!(asked(&by_authority, head()), ["authority", "cluster"]);
    assert_eq!(
        asked(&by_authority, Head::new("c", "other", "/")),
        ["authority"]
    );

    let template = rules(serde_json::json!([
        {"cluster": "*", "authority": "*.a.run.app", "audience": "https://{authority}"},
    ]));
    assert_eq!(asked(&template, head()), ["authority"]);

    // What comes after a rule that has won costs nothing.
    let won = rules(serde_json::json!([
        {"cluster": "*", "audience": literal},
        {"cluster": "c", "authority": "b.a.run.app", "path": "/x", "bypass": true},
    ]));
    assert_eq!(asked(&won, head()), Vec::<&str>::new());
}

#[test]
fn one_audience_in_several_rules_is_one_literal() {
    let rules = rules(serde_json::json!([
        {"cluster": "a", "audience": "https://x.a.run.app"},
        {"cluster": "b", "custom_audience": "https://x.a.run.app"},
        {"cluster": "c", "audience": "https://y.a.run.app"},
        {"authority": "*.a.run.app", "audience": "https://{authority}"},
    ]));
    let literals: Vec<&str> = rules.literals().iter().map(Wanted::as_str).collect();
    assert_eq!(literals, ["https://x.a.run.app", "https://y.a.run.app"]);
    let target = |cluster, authority| match rules.decide(&Head::new(cluster, authority, "/")) {
        Decision::Attach { target, .. } => target,
        other => panic!("{other:?}"),
    };
    assert_eq!(target("b", "x"), Target::Literal(0));
    // Derived or not, one audience has one place.
    assert_eq!(target("z", "y.a.run.app"), Target::Literal(1));
    assert_eq!(
        target("z", "z.a.run.app"),
        Target::Derived(Audience::parse("https://z.a.run.app").unwrap().into())
    );
}

#[test]
fn a_derived_audience_that_is_none_is_an_error_and_no_bypass() {
    let rules = rules(serde_json::json!([
        {"cluster": "*", "audience": "https://x.net/{path_segment}"},
    ]));
    assert_eq!(
        decided(&rules, &Head::new("c", "x", "/{a}")),
        r#"audiences[0] "https://x.net/{a}" holds a curly bracket; only a rule's `audience` can be a template"#
    );
}

#[test]
fn annotations_go_before_rules_and_routes_before_clusters() {
    use Annotation::{
        ClusterAudience, ClusterDisabled, GcpAuthnMessage, GcpAuthnUrl, RouteAudience,
        RouteDisabled,
    };
    let literal = serde_json::json!([{"cluster": "*", "audience": "https://rule.run.app"}]);
    let honoured = rules_with(literal.clone(), true);
    let head = || Head::new("c", "x", "/");
    let decided = |head: Head| decided(&honoured, &head);

    assert_eq!(decided(head()), "audiences[0] https://rule.run.app");
    let gcp = head()
        .annotated(GcpAuthnUrl, "as it is")
        .annotated(GcpAuthnMessage, "\n\u{8}as it is");
    assert_eq!(decided(gcp.clone()), format!("{GcpAuthnUrl} as it is"));
    let cluster = gcp.annotated(ClusterAudience, "https://c.run.app");
    assert_eq!(
        decided(cluster.clone()),
        format!("{ClusterAudience} https://c.run.app")
    );
    let off = cluster.annotated(ClusterDisabled, [1]);
    assert_eq!(decided(off.clone()), format!("{ClusterDisabled} bypass"));
    let route = off.annotated(RouteAudience, "https://r.run.app");
    assert_eq!(
        decided(route.clone()),
        format!("{RouteAudience} https://r.run.app")
    );
    assert_eq!(
        decided(route.annotated(RouteDisabled, [1])),
        format!("{RouteDisabled} bypass")
    );

    // What is false or empty says nothing.
    let nothing = head()
        .annotated(RouteDisabled, [0])
        .annotated(RouteAudience, "");
    let nothing = nothing
        .annotated(GcpAuthnUrl, "")
        .annotated(GcpAuthnMessage, "");
    assert_eq!(decided(nothing), "audiences[0] https://rule.run.app");

    // Not asked for unless it is switched on.
    let ignored = rules_with(literal, false);
    let annotated = head().annotated(RouteAudience, "https://r.run.app");
    assert_eq!(
        super::tests::decided(&ignored, &annotated),
        "audiences[0] https://rule.run.app"
    );
}

#[test]
fn an_annotation_that_holds_no_audience_is_an_error_that_names_its_place() {
    use Annotation::{
        ClusterAudience, ClusterDisabled, GcpAuthnMessage, GcpAuthnUrl, RouteAudience,
        RouteDisabled,
    };
    let rules = rules_with(serde_json::json!([]), true);
    let decided = |annotation, value: &[u8]| {
        decided(
            &rules,
            &Head::new("c", "x", "/").annotated(annotation, value),
        )
    };
    assert_eq!(
        decided(RouteAudience, b"r.run.app"),
        r#"the route's filter_metadata.invoker.audience "r.run.app" has no scheme; write "https://r.run.app""#
    );
    assert_eq!(
        decided(ClusterAudience, &1.0f64.to_le_bytes()),
        "the cluster's filter_metadata.invoker.audience is no text; write a URL"
    );
    assert!(decided(ClusterAudience, &[1]).contains("control character"));
    assert!(decided(RouteAudience, b"https://{authority}").contains("curly bracket"));
    assert_eq!(
        decided(RouteDisabled, b"true"),
        "the route's filter_metadata.invoker.disabled is no boolean; write true or false, without quotes"
    );
    assert!(decided(ClusterDisabled, b"1").contains("is no boolean"));
    assert!(decided(GcpAuthnUrl, b"a\r\nb").contains("control character"));
    assert!(decided(GcpAuthnMessage, b"\x0a\x00").contains("gcp_authn\"] holds no url"));
}
