//! `invoker check --istio`: each way in which Istio's resources can go wrong, as a change to a good set.

use super::{invoker, variant};

const PLUGIN: &str = "invoker.yaml";
const ENTRIES: &str = "entries.yaml";

/// Changes a text in one of the two files that are a good set, and says what is found.
fn found(name: &str, file: &str, changes: &[(&str, &str)]) -> String {
    let changed = variant(
        &format!("istio/{file}"),
        &format!("istio-{}-{file}", name.replace(' ', "-")),
        |text| {
            let change = |text: String, (from, to): &(&str, &str)| {
                assert!(text.contains(from), "{from} is not in {file}");
                text.replacen(from, to, 1)
            };
            changes.iter().fold(text.to_owned(), change)
        },
    );
    let changed = changed.to_str().unwrap();
    let other = if file == PLUGIN { ENTRIES } else { PLUGIN };
    let other = format!("istio/{other}");
    let mut files = [changed, &other];
    if file != PLUGIN {
        files.reverse();
    }
    let printed = invoker(&[&["check", "--istio"], &files[..]].concat());
    let printed = printed.replace(changed, file).replace("istio/", "");
    // The last two lines say what the others have said.
    let lines: Vec<&str> = printed.lines().collect();
    let [findings @ .., _, exit] = lines.as_slice() else {
        panic!("{printed}");
    };
    let is_error = findings.iter().any(|line| line.starts_with("error"));
    let expected = if is_error { "exit 1" } else { "exit 0" };
    assert_eq!(*exit, expected, "{printed}");
    format!("# {name}\n{}\n", findings.join("\n"))
}

/// A name, the file that is changed, and what in it becomes what.
type Change<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn all_found(changes: &[Change<'_>]) -> String {
    let found = |(name, file, changes): &Change<'_>| found(name, file, changes);
    changes.iter().map(found).collect()
}

#[test]
fn a_good_set_is_ok() {
    insta::assert_snapshot!(invoker(&["check", "--istio", "istio/invoker.yaml", "istio/entries.yaml"]), @r"
    istio/invoker.yaml, istio/entries.yaml: ok (0 errors, 0 warnings)
    exit 0
    ");
}

#[test]
fn files_are_read_together_and_have_to_hold_a_plugin() {
    insta::assert_snapshot!(invoker(&["check", "--istio", "istio/entries.yaml"]), @r#"
    error: istio/entries.yaml: there is no plugin of Invoker's in these files: a WasmPlugin whose pluginConfig has `credentials`, or whose url, pluginName or name has "invoker" in it (or such a module in an EnvoyFilter or an EnvoyExtensionPolicy)
    istio/entries.yaml: not ok (1 error, 0 warnings)
    exit 1
    "#);
    insta::assert_snapshot!(invoker(&["check", "--istio", "istio/invoker.yaml"]), @r#"
    error: istio/invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.credentials.cluster: there is no cluster "outbound|80||metadata.google.internal"; these files make none, since there is no ServiceEntry
    error: istio/invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].cluster: there is no cluster "outbound|80||profiles-abc123-uc.a.run.app"; these files make none, since there is no ServiceEntry
    warning: istio/invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].cluster: "outbound|*" means no cluster; these files make none, since there is no ServiceEntry
    warning: istio/invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[2].cluster: "outbound|80||*.a.run.app" means no cluster; these files make none, since there is no ServiceEntry
    error: istio/invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].authority: no ServiceEntry in these files has "search.example.com": Istio refuses such requests (REGISTRY_ONLY), or sends them on in the clear through PassthroughCluster, without a token; write one with hosts: [search.example.com]
    warning: istio/invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[2].authority: "*.a.run.app" means no host of these files; write a ServiceEntry for each of its hosts
    istio/invoker.yaml: not ok (3 errors, 3 warnings)
    exit 1
    "#);
    insta::assert_snapshot!(invoker(&["check", "--istio", "istio/invoker.yaml", "nowhere.yaml"]), @r"
    invoker: nowhere.yaml: No such file or directory (os error 2)
    exit 1
    ");
    insta::assert_snapshot!(invoker(&["check", "--istio", "istio/invoker.yaml", "twice.yaml"]), @r"
    invoker: twice.yaml: this is not YAML: duplicate mapping key `timeout` is not allowed here at line 2, column 1
    exit 1
    ");
    insta::assert_snapshot!(invoker(&["check", "--istio", "bad.yaml"]), @r#"
    error: bad.yaml: document 1 is no Kubernetes resource: it has no `apiVersion` and `kind`
    error: bad.yaml: there is no plugin of Invoker's in these files: a WasmPlugin whose pluginConfig has `credentials`, or whose url, pluginName or name has "invoker" in it (or such a module in an EnvoyFilter or an EnvoyExtensionPolicy)
    bad.yaml: not ok (2 errors, 0 warnings)
    exit 1
    "#);
}

#[test]
fn files_for_envoy_and_for_istio_are_not_mixed() {
    for other in [
        &["listener.invoker.yaml"][..],
        &["--bootstrap", "listener.yaml"],
        &["--host", "envoy"],
    ] {
        let printed = invoker(&[&["check"], other, &["--istio", "istio/invoker.yaml"]].concat());
        assert!(
            printed.contains("cannot be used with") && printed.ends_with("exit 2"),
            "{printed}"
        );
    }
    let printed = invoker(&["check"]);
    assert!(
        printed.contains("required") && printed.ends_with("exit 2"),
        "{printed}"
    );
}

#[test]
fn the_plugins_configuration_is_checked_like_a_file() {
    insta::assert_snapshot!(all_found(&[
        ("no scheme", PLUGIN, &[("audience: \"https://profiles", "audience: \"profiles")]),
        ("no configuration", PLUGIN, &[("pluginConfig:", "ignored:")]),
        ("a rule that is never reached", PLUGIN, &[("cluster: outbound|80||profiles-abc123-uc.a.run.app", "cluster: \"outbound|*\"")]),
    ]), @r#"
    # no scheme
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].audience: "profiles-abc123-uc.a.run.app" has no scheme; write "https://profiles-abc123-uc.a.run.app"
    # no configuration
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig: is missing; write Invoker's configuration here
    # a rule that is never reached
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1]: is never reached, since audiences[0] matches all that it means and comes first; put the narrower rule first, or leave this one out
    "#);
}

#[test]
fn clusters_that_are_named_come_from_an_entry() {
    insta::assert_snapshot!(all_found(&[
        ("misspelt callout cluster", PLUGIN, &[("outbound|80||metadata", "outbound|80|metadata")]),
        ("another port", PLUGIN, &[("cluster: outbound|80||profiles", "cluster: outbound|443||profiles")]),
        ("only the host", PLUGIN, &[("cluster: outbound|80||profiles-abc123", "cluster: profiles-abc123")]),
        ("a wrong letter", PLUGIN, &[("cluster: outbound|80||profiles-", "cluster: outbound|80||profile-")]),
        ("no such host", PLUGIN, &[("cluster: outbound|80||profiles-abc123-uc.a.run.app", "cluster: outbound|80||billing.example.com")]),
        ("a kubernetes service", PLUGIN, &[("cluster: outbound|80||profiles-abc123-uc.a.run.app", "cluster: outbound|80||profiles.login.svc.cluster.local")]),
        ("a pattern without a cluster", PLUGIN, &[("cluster: \"outbound|80||*.a.run.app\"", "cluster: \"outbound|8080||*.a.run.app\"")]),
        ("every cluster", PLUGIN, &[("cluster: \"outbound|*\"", "cluster: \"*\"")]),
        ("no subset", PLUGIN, &[("cluster: outbound|80||profiles", "cluster: outbound|80|v1|profiles")]),
        ("hidden in another namespace", ENTRIES, &[("{name: profiles, namespace: login}", "{name: profiles, namespace: other}")]),
        ("a port of bytes", PLUGIN, &[("cluster: \"outbound|*\"", "cluster: \"outbound|443||search.example.com\"")]),
    ]), @r#"
    # misspelt callout cluster
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.credentials.cluster: there is no cluster "outbound|80|metadata.google.internal"; did you mean "outbound|80||metadata.google.internal"?; these files make "outbound|80||metadata.google.internal", "outbound|80||profiles-abc123-uc.a.run.app", "outbound|80||search.example.com", "outbound|443||search.example.com", "outbound|80||*.a.run.app"
    # another port
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].cluster: there is no cluster "outbound|443||profiles-abc123-uc.a.run.app"; did you mean "outbound|80||profiles-abc123-uc.a.run.app"?; these files make "outbound|80||metadata.google.internal", "outbound|80||profiles-abc123-uc.a.run.app", "outbound|80||search.example.com", "outbound|443||search.example.com", "outbound|80||*.a.run.app"
    # only the host
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].cluster: there is no cluster "profiles-abc123-uc.a.run.app"; did you mean "outbound|80||profiles-abc123-uc.a.run.app"?; these files make "outbound|80||metadata.google.internal", "outbound|80||profiles-abc123-uc.a.run.app", "outbound|80||search.example.com", "outbound|443||search.example.com", "outbound|80||*.a.run.app"
    # a wrong letter
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].cluster: there is no cluster "outbound|80||profile-abc123-uc.a.run.app"; did you mean "outbound|80||profiles-abc123-uc.a.run.app"?; these files make "outbound|80||metadata.google.internal", "outbound|80||profiles-abc123-uc.a.run.app", "outbound|80||search.example.com", "outbound|443||search.example.com", "outbound|80||*.a.run.app"
    # no such host
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].cluster: there is no cluster "outbound|80||billing.example.com"; these files make "outbound|80||metadata.google.internal", "outbound|80||profiles-abc123-uc.a.run.app", "outbound|80||search.example.com", "outbound|443||search.example.com", "outbound|80||*.a.run.app"
    # a kubernetes service
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].cluster: "outbound|80||profiles.login.svc.cluster.local" is not made by these files; it has to come from a Kubernetes Service "profiles.login.svc.cluster.local"
    # a pattern without a cluster
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[2].cluster: "outbound|8080||*.a.run.app" means no cluster; these files make "outbound|80||metadata.google.internal", "outbound|80||profiles-abc123-uc.a.run.app", "outbound|80||search.example.com", "outbound|443||search.example.com", "outbound|80||*.a.run.app"
    # every cluster
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].cluster: "*" also means PassthroughCluster: tokens in the clear, to whatever address a client chose; write "outbound|*", or the clusters one by one
    # no subset
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].cluster: there is no cluster "outbound|80|v1|profiles-abc123-uc.a.run.app"; did you mean "outbound|80||profiles-abc123-uc.a.run.app"?; these files make "outbound|80||metadata.google.internal", "outbound|80||profiles-abc123-uc.a.run.app", "outbound|80||search.example.com", "outbound|443||search.example.com", "outbound|80||*.a.run.app"
    # hidden in another namespace
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].cluster: "outbound|80||profiles-abc123-uc.a.run.app" comes from ServiceEntry other/profiles, whose exportTo hides it from namespace login; add the namespace there
    # a port of bytes
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].cluster: port 443 is HTTPS to Istio, so Invoker never sees a request there; let the application speak plain HTTP to {number: 80, name: http, protocol: HTTP, targetPort: 443}, and a DestinationRule add TLS
    "#);
}

#[test]
fn subsets_and_kubernetes_services_make_clusters_too() {
    insta::assert_snapshot!(all_found(&[
        ("a subset of a rule", ENTRIES, &[("  exportTo: [\".\"]\n  trafficPolicy:", "  exportTo: [\".\"]\n  subsets: [{name: v1}]\n  trafficPolicy:")]),
        ("a service", ENTRIES, &[("apiVersion: v1\nkind: List", "apiVersion: v1\nkind: Service\nmetadata: {name: x, namespace: login}\nspec: {ports: [{port: 80}]}\n---\napiVersion: v1\nkind: List")]),
    ]), @r"
    # a subset of a rule

    # a service
    ");
}

#[test]
fn tokens_leave_a_proxy_only_under_tls() {
    insta::assert_snapshot!(all_found(&[
        ("no rule", ENTRIES, &[("kind: DestinationRule\nmetadata: {name: profiles", "kind: Ignored\nmetadata: {name: profiles"), ("host: \"*.a.run.app\"", "host: \"*.b.run.app\"")]),
        ("a wildcards rule for all", ENTRIES, &[("kind: DestinationRule\nmetadata: {name: profiles", "kind: Ignored\nmetadata: {name: profiles")]),
        ("another host", ENTRIES, &[("host: \"*.a.run.app\"", "host: \"*.b.run.app\"")]),
        ("no tls", ENTRIES, &[("    tls: {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}", "    loadBalancer: {simple: RANDOM}")]),
        ("tls off", ENTRIES, &[("mode: SIMPLE, sni", "mode: DISABLE, sni")]),
        ("another ports tls", ENTRIES, &[("port: {number: 80}\n", "port: {number: 443}\n")]),
        ("a port without tls", ENTRIES, &[("        tls: {mode: SIMPLE}\n", "        loadBalancer: {simple: RANDOM}\n      tls: {mode: SIMPLE}\n")]),
        ("a secret that sidecars dont get", ENTRIES, &[("mode: SIMPLE, sni", "credentialName: ca, mode: SIMPLE, sni")]),
        ("half a client certificate", ENTRIES, &[("mode: SIMPLE, sni", "mode: MUTUAL, clientCertificate: /c.pem, sni")]),
        ("a rule of another namespace", ENTRIES, &[("kind: DestinationRule\nmetadata: {name: profiles, namespace: login}", "kind: DestinationRule\nmetadata: {name: profiles, namespace: other}"), ("host: \"*.a.run.app\"", "host: \"*.b.run.app\"")]),
        ("a rule that its namespace keeps", ENTRIES, &[("{name: profiles, namespace: login}\nspec:\n  hosts: [profiles-abc123-uc.a.run.app]\n  exportTo: [\".\"]", "{name: profiles, namespace: other}\nspec:\n  hosts: [profiles-abc123-uc.a.run.app]"), ("kind: DestinationRule\nmetadata: {name: profiles, namespace: login}", "kind: DestinationRule\nmetadata: {name: profiles, namespace: other}"), ("host: \"*.a.run.app\"", "host: \"*.b.run.app\"")]),
        ("a rule for other workloads", ENTRIES, &[("  exportTo: [\".\"]\n  trafficPolicy:", "  workloadSelector: {matchLabels: {app: batch}}\n  trafficPolicy:"), ("host: \"*.a.run.app\"", "host: \"*.b.run.app\"")]),
    ]), @r#"
    # no rule
    error: entries.yaml: ServiceEntry login/profiles.spec.ports[0]: cluster "outbound|80||profiles-abc123-uc.a.run.app" would get tokens (audiences[0] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for profiles-abc123-uc.a.run.app; write one with trafficPolicy: {tls: {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}}
    error: entries.yaml: ServiceEntry login/cloud-run.spec.ports[0]: cluster "outbound|80||*.a.run.app" would get tokens (audiences[2] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for *.a.run.app; write one with trafficPolicy: {tls: {mode: SIMPLE}}
    # a wildcards rule for all

    # another host
    error: entries.yaml: ServiceEntry login/cloud-run.spec.ports[0]: cluster "outbound|80||*.a.run.app" would get tokens (audiences[2] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for *.a.run.app; write one with trafficPolicy: {tls: {mode: SIMPLE}}
    # no tls
    error: entries.yaml: DestinationRule login/profiles.spec.trafficPolicy.tls: cluster "outbound|80||profiles-abc123-uc.a.run.app" would get tokens (audiences[0] of WasmPlugin login/invoker) without TLS: it is missing; write {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}
    # tls off
    error: entries.yaml: DestinationRule login/profiles.spec.trafficPolicy.tls: cluster "outbound|80||profiles-abc123-uc.a.run.app" would get tokens (audiences[0] of WasmPlugin login/invoker) without TLS: its mode is DISABLE; write {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}
    # another ports tls
    error: entries.yaml: DestinationRule login/search.spec.trafficPolicy.tls: cluster "outbound|80||search.example.com" would get tokens (audiences[1] of WasmPlugin login/invoker) without TLS: it is missing; write {mode: SIMPLE, sni: search.example.com, subjectAltNames: [search.example.com]}
    # a port without tls
    error: entries.yaml: DestinationRule login/search.spec.trafficPolicy.portLevelSettings[0]: cluster "outbound|80||search.example.com" would get tokens (audiences[1] of WasmPlugin login/invoker) without TLS: a port's settings take the place of the others, and have no tls; write tls: {mode: SIMPLE, sni: search.example.com, subjectAltNames: [search.example.com]} here
    # a secret that sidecars dont get
    error: entries.yaml: DestinationRule login/profiles.spec.trafficPolicy.tls: cluster "outbound|80||profiles-abc123-uc.a.run.app" would get tokens (audiences[0] of WasmPlugin login/invoker) without TLS: a sidecar leaves TLS out if there is a credentialName and no workloadSelector; leave it out, or name the workloads
    # half a client certificate
    error: entries.yaml: DestinationRule login/profiles.spec.trafficPolicy.tls: cluster "outbound|80||profiles-abc123-uc.a.run.app" would get tokens (audiences[0] of WasmPlugin login/invoker) without TLS: Istio leaves TLS out if a client certificate is missing; write clientCertificate and privateKey, or mode: SIMPLE
    # a rule of another namespace
    error: entries.yaml: ServiceEntry login/profiles.spec.ports[0]: cluster "outbound|80||profiles-abc123-uc.a.run.app" would get tokens (audiences[0] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for profiles-abc123-uc.a.run.app that these workloads get (DestinationRule other/profiles is for others: see its exportTo and workloadSelector); write one with trafficPolicy: {tls: {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}}
    error: entries.yaml: ServiceEntry login/cloud-run.spec.ports[0]: cluster "outbound|80||*.a.run.app" would get tokens (audiences[2] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for *.a.run.app; write one with trafficPolicy: {tls: {mode: SIMPLE}}
    # a rule that its namespace keeps
    error: entries.yaml: ServiceEntry other/profiles.spec.ports[0]: cluster "outbound|80||profiles-abc123-uc.a.run.app" would get tokens (audiences[0] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for profiles-abc123-uc.a.run.app that these workloads get (DestinationRule other/profiles is for others: see its exportTo and workloadSelector); write one with trafficPolicy: {tls: {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}}
    error: entries.yaml: ServiceEntry login/cloud-run.spec.ports[0]: cluster "outbound|80||*.a.run.app" would get tokens (audiences[2] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for *.a.run.app; write one with trafficPolicy: {tls: {mode: SIMPLE}}
    # a rule for other workloads
    error: entries.yaml: ServiceEntry login/profiles.spec.ports[0]: cluster "outbound|80||profiles-abc123-uc.a.run.app" would get tokens (audiences[0] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for profiles-abc123-uc.a.run.app that these workloads get (DestinationRule login/profiles is for others: see its exportTo and workloadSelector); write one with trafficPolicy: {tls: {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}}
    error: entries.yaml: ServiceEntry login/cloud-run.spec.ports[0]: cluster "outbound|80||*.a.run.app" would get tokens (audiences[2] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for *.a.run.app; write one with trafficPolicy: {tls: {mode: SIMPLE}}
    "#);
}

#[test]
fn what_goes_to_this_machine_or_gets_no_token_needs_no_tls() {
    insta::assert_snapshot!(all_found(&[
        ("loopback", ENTRIES, &[("    tls: {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}", "    loadBalancer: {simple: RANDOM}"), ("targetPort: 443}\n  resolution: DNS", "targetPort: 8443}\n  resolution: STATIC\n  endpoints: [{address: 127.0.0.1}]")]),
        ("bypass", PLUGIN, &[("audience: \"https://profiles-abc123-uc.a.run.app\"", "bypass: true")]),
    ]), @r"
    # loopback

    # bypass
    ");
    let no_tls = (
        "    tls: {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}",
        "    loadBalancer: {simple: RANDOM}",
    );
    let entries = variant("istio/entries.yaml", "istio-no-tls.yaml", |text| {
        text.replacen(no_tls.0, no_tls.1, 1)
    });
    let bypass = |to: &'static str| {
        move |text: &str| text.replacen("audience: \"https://profiles-abc123-uc.a.run.app\"", to, 1)
    };
    let checked = |name: &str, to: &'static str| {
        let plugin = variant("istio/invoker.yaml", name, bypass(to));
        let printed = invoker(&[
            "check",
            "--istio",
            plugin.to_str().unwrap(),
            entries.to_str().unwrap(),
        ]);
        printed.matches("without TLS").count()
    };
    assert_eq!(checked("istio-bypass.yaml", "bypass: true"), 0);
    assert_eq!(
        checked("istio-bypass-path.yaml", "path: /health, bypass: true"),
        1
    );
    assert_eq!(
        checked(
            "istio-bypass-authority.yaml",
            "authority: profiles-abc123-uc.a.run.app, bypass: true"
        ),
        0
    );
}

#[test]
fn tls_is_with_whom_it_should_be() {
    insta::assert_snapshot!(all_found(&[
        ("no verification", ENTRIES, &[("mode: SIMPLE, sni", "insecureSkipVerify: true, mode: SIMPLE, sni")]),
        ("a name that nobody looks at", ENTRIES, &[(", subjectAltNames: [profiles-abc123-uc.a.run.app]", "")]),
        ("one name for all", ENTRIES, &[("host: \"*.a.run.app\"\n  trafficPolicy:\n    tls: {mode: SIMPLE}", "host: \"*.a.run.app\"\n  trafficPolicy:\n    tls: {mode: SIMPLE, sni: a.run.app}")]),
        ("the meshs own", ENTRIES, &[("mode: SIMPLE, sni", "mode: ISTIO_MUTUAL, sni")]),
        ("port 80", ENTRIES, &[(", targetPort: 443}", "}")]),
        ("port 80 of the entry and 443 of its endpoints", ENTRIES, &[(", targetPort: 443}\n  resolution: DNS", "}\n  resolution: DNS\n  endpoints: [{address: profiles.example.com, ports: {http: 443}}]")]),
    ]), @r#"
    # no verification
    error: entries.yaml: DestinationRule login/profiles.spec.trafficPolicy.tls.insecureSkipVerify: cluster "outbound|80||profiles-abc123-uc.a.run.app" would give its tokens to whoever answers; leave it out
    # a name that nobody looks at
    warning: entries.yaml: DestinationRule login/profiles.spec.trafficPolicy.tls.sni: with sni alone every certificate is taken that a known authority has signed, whosever it is; write subjectAltNames: [profiles-abc123-uc.a.run.app] beside it, or leave both out
    # one name for all
    error: entries.yaml: DestinationRule login/cloud-run.spec.trafficPolicy.tls.sni: "a.run.app" would be asked for whatever host of *.a.run.app a request is for; leave it out
    # the meshs own
    error: entries.yaml: DestinationRule login/profiles.spec.trafficPolicy.tls.mode: ISTIO_MUTUAL is for workloads of the mesh, and profiles-abc123-uc.a.run.app is outside; write {mode: SIMPLE, sni: profiles-abc123-uc.a.run.app, subjectAltNames: [profiles-abc123-uc.a.run.app]}
    # port 80
    error: entries.yaml: ServiceEntry login/profiles.spec.ports[0]: cluster "outbound|80||profiles-abc123-uc.a.run.app" would speak TLS to port 80; write targetPort: 443
    # port 80 of the entry and 443 of its endpoints
    "#);
}

#[test]
fn hosts_that_rules_are_for_are_known_to_istio() {
    insta::assert_snapshot!(all_found(&[
        ("no entry", PLUGIN, &[("authority: search.example.com", "authority: find.example.com")]),
        ("no entry and no cluster", PLUGIN, &[("cluster: \"outbound|*\", authority: search.example.com", "authority: \"find.example.com:8080\"")]),
        ("no wildcard", PLUGIN, &[("cluster: \"outbound|*\", authority: search.example.com, audience: \"https://search-abc123-uc.a.run.app\"", "authority: \"*.b.run.app\", audience: \"https://{authority}\"")]),
        ("another hosts cluster", PLUGIN, &[("cluster: \"outbound|*\", authority: search.example.com", "cluster: outbound|80||metadata.google.internal, authority: search.example.com")]),
        ("inside the cluster", PLUGIN, &[("authority: search.example.com", "authority: search.login.svc.cluster.local")]),
        ("hidden", ENTRIES, &[("metadata: {name: search, namespace: login}\n  spec:\n", "metadata: {name: search, namespace: other}\n  spec:\n    exportTo: [\".\"]\n")]),
    ]), @r#"
    # no entry
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].authority: no ServiceEntry in these files has "find.example.com": Istio refuses such requests (REGISTRY_ONLY), or sends them on in the clear through PassthroughCluster, without a token; write one with hosts: [find.example.com]
    # no entry and no cluster
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1]: sends a token for one audience to whatever cluster Envoy picks, since it names no `cluster`; a client that gets a request routed elsewhere gets the token sent there: name the cluster
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].authority: no ServiceEntry in these files has "find.example.com:8080": Istio refuses such requests (REGISTRY_ONLY), or sends them on in the clear through PassthroughCluster, without a token; write one with hosts: [find.example.com]
    # no wildcard
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].authority: "*.b.run.app" means no host of these files; write a ServiceEntry for each of its hosts
    # another hosts cluster
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].authority: requests for "search.example.com" don't go to the cluster beside it, so the rule never matches; write the cluster of the ServiceEntry that has this host
    # inside the cluster

    # hidden
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].authority: ServiceEntry other/search has "search.example.com", but its exportTo hides it from namespace login: Istio refuses such requests (REGISTRY_ONLY), or sends them on in the clear through PassthroughCluster, without a token; add the namespace there
    "#);
}

#[test]
fn the_plugin_runs_on_what_the_workload_sends() {
    insta::assert_snapshot!(all_found(&[
        ("no match", PLUGIN, &[("  match:\n  - mode: CLIENT\n", "")]),
        ("both ways", PLUGIN, &[("mode: CLIENT", "mode: CLIENT_AND_SERVER")]),
        ("a rule for what comes in", PLUGIN, &[("  - mode: CLIENT\n", "  - ports: [{number: 80}]\n"), ("cluster: \"outbound|*\", authority: search", "authority: search")]),
        ("the wrong way", PLUGIN, &[("mode: CLIENT", "mode: SERVER")]),
        ("phase", PLUGIN, &[("phase: AUTHN", "phase: STATS")]),
        ("no phase", PLUGIN, &[("  phase: AUTHN\n", "")]),
        ("type", PLUGIN, &[("type: HTTP", "type: NETWORK")]),
    ]), @r"
    # no match
    warning: invoker.yaml: WasmPlugin login/invoker.spec.match: lets the plugin run on requests that come in, too, for nothing; write match: [{mode: CLIENT}]
    # both ways
    warning: invoker.yaml: WasmPlugin login/invoker.spec.match[0].mode: lets the plugin run on requests that come in, too, for nothing; write match: [{mode: CLIENT}]
    # a rule for what comes in
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1]: sends a token for one audience to whatever cluster Envoy picks, since it names no `cluster`; a client that gets a request routed elsewhere gets the token sent there: name the cluster
    error: invoker.yaml: WasmPlugin login/invoker.spec.match[0].mode: lets the plugin run on requests that come in, too, and pluginConfig.audiences[1] can mean those: the workload would get tokens for other services; write match: [{mode: CLIENT}]
    # the wrong way
    error: invoker.yaml: WasmPlugin login/invoker.spec.match[0].mode: leaves out all that the workload sends, so nothing gets a token; write match: [{mode: CLIENT}]
    # phase
    warning: invoker.yaml: WasmPlugin login/invoker.spec.phase: puts Invoker behind other plugins, which then see the caller's own credential in place of the token; write AUTHN
    # no phase
    warning: invoker.yaml: WasmPlugin login/invoker.spec.phase: puts Invoker behind other plugins, which then see the caller's own credential in place of the token; write AUTHN
    # type
    error: invoker.yaml: WasmPlugin login/invoker.spec.type: NETWORK runs the module on connections, where there are no headers; write HTTP
    ");
}

#[test]
fn a_gateway_is_no_sidecar() {
    let gateway = (
        "matchLabels: {app: login}",
        "matchLabels: {istio: egressgateway}",
    );
    insta::assert_snapshot!(all_found(&[
        ("a gateway", PLUGIN, &[gateway, ("phase: AUTHN", "phase: STATS")]),
        ("a gateway without match", PLUGIN, &[gateway, ("  match:\n  - mode: CLIENT\n", ""), ("  phase: AUTHN\n", "")]),
        ("a gateway in front of authentication", PLUGIN, &[gateway]),
        ("a gateway the wrong way", PLUGIN, &[gateway, ("mode: CLIENT", "mode: SERVER"), ("phase: AUTHN", "phase: STATS")]),
        ("a gateway by its resource", PLUGIN, &[("---\n# Kinds", "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge, namespace: login}\nspec: {selector: {app: login}}\n---\n# Kinds"), ("phase: AUTHN", "phase: STATS")]),
        ("a gateway by reference", PLUGIN, &[("selector:\n    matchLabels: {app: login}", "targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: edge}]"), ("phase: AUTHN", "phase: STATS")]),
        ("a waypoint", PLUGIN, &[("selector:\n    matchLabels: {app: login}", "targetRefs: [{kind: ServiceEntry, group: networking.istio.io, name: profiles}]"), ("  phase: AUTHN\n", "")]),
    ]), @r#"
    # a gateway

    # a gateway without match

    # a gateway in front of authentication
    warning: invoker.yaml: WasmPlugin login/invoker.spec.phase: AUTHN puts Invoker in front of Istio's own authentication, which would take the token for the caller's; write STATS
    # a gateway the wrong way
    error: invoker.yaml: WasmPlugin login/invoker.spec.match[0].mode: never means a gateway's traffic, all of which is CLIENT; write match: [{mode: CLIENT}]
    # a gateway by its resource

    # a gateway by reference

    # a waypoint
    error: invoker.yaml: WasmPlugin login/invoker.spec.match[0].mode: never means a waypoint's traffic, all of which is SERVER; leave match out
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.credentials.cluster: a waypoint has "outbound|80||metadata.google.internal" only if a route leads there; what goes through it goes to "inbound-vip|80|http|metadata.google.internal"
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[0].cluster: a waypoint has "outbound|80||profiles-abc123-uc.a.run.app" only if a route leads there; what goes through it goes to "inbound-vip|80|http|profiles-abc123-uc.a.run.app"
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[1].cluster: "outbound|*" means no cluster; these files make "inbound-vip|80|http|metadata.google.internal", "inbound-vip|80|http|profiles-abc123-uc.a.run.app", "inbound-vip|80|http|search.example.com", "inbound-vip|443|http|search.example.com", "inbound-vip|80|http|*.a.run.app"
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.audiences[2].cluster: "outbound|80||*.a.run.app" means no cluster; these files make "inbound-vip|80|http|metadata.google.internal", "inbound-vip|80|http|profiles-abc123-uc.a.run.app", "inbound-vip|80|http|search.example.com", "inbound-vip|443|http|search.example.com", "inbound-vip|80|http|*.a.run.app"
    "#);
}

#[test]
fn only_a_gateway_gets_the_secret_of_a_rule_for_all() {
    let entries = variant("istio/entries.yaml", "istio-secret.yaml", |text| {
        text.replacen(
            "mode: SIMPLE, sni",
            "credentialName: ca, mode: SIMPLE, sni",
            1,
        )
    });
    let without_tls = |name: &str, labels: &str, phase: &str| {
        let plugin = variant("istio/invoker.yaml", name, |text| {
            text.replace("{app: login}", labels).replace("AUTHN", phase)
        });
        let files = [plugin.to_str().unwrap(), entries.to_str().unwrap()];
        let printed = invoker(&[&["check", "--istio"], &files[..]].concat());
        printed.contains("without TLS")
    };
    assert!(without_tls(
        "istio-secret-sidecar.yaml",
        "{app: login}",
        "AUTHN"
    ));
    assert!(!without_tls(
        "istio-secret-gateway.yaml",
        "{istio: egressgateway}",
        "STATS"
    ));
}

#[test]
fn a_host_of_its_own_can_lead_to_a_cluster() {
    let route = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: search, namespace: login}\nspec:\n  hosts: [find.example.com]\n  http:\n  - route:\n    - destination: {host: search.example.com, port: {number: 443}}\n---\n# Kinds";
    insta::assert_snapshot!(all_found(&[
        ("a route to the port that is not plain", PLUGIN, &[("authority: search.example.com", "authority: find.example.com"), ("---\n# Kinds", route)]),
    ]), @r#"
    # a route to the port that is not plain
    error: entries.yaml: DestinationRule login/search.spec.trafficPolicy.tls: cluster "outbound|443||search.example.com" would get tokens (audiences[1] of WasmPlugin login/invoker) without TLS: it is missing; write {mode: SIMPLE, sni: search.example.com, subjectAltNames: [search.example.com]}
    "#);
}

#[test]
fn a_module_that_fails_does_not_let_requests_out() {
    let policy = "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {name: invoker, namespace: login}\nspec:\n  wasm:\n  - name: invoker\n    failOpen: true\n    config:\n      credentials: {type: metadata, cluster: httproute/login/metadata/rule/0}\n      audiences: [{cluster: httproute/login/profiles/rule/0, audience: \"https://profiles-abc123-uc.a.run.app\"}]\n---\n# Kinds";
    insta::assert_snapshot!(all_found(&[
        ("fail open", PLUGIN, &[("FAIL_RELOAD", "FAIL_OPEN")]),
        ("fail open by choice", PLUGIN, &[("FAIL_RELOAD", "FAIL_OPEN"), ("pluginConfig:\n", "pluginConfig:\n    failure_mode: allow\n")]),
        ("fail closed for good", PLUGIN, &[("FAIL_RELOAD", "FAIL_CLOSE")]),
        ("nothing said", PLUGIN, &[("  failStrategy: FAIL_RELOAD\n", "")]),
        ("envoy gateways way", PLUGIN, &[("---\n# Kinds", policy)]),
    ]), @r"
    # fail open
    error: invoker.yaml: WasmPlugin login/invoker.spec.failStrategy: lets requests out without a token if the module fails or can't be fetched, while failure_mode is deny; write FAIL_RELOAD
    # fail open by choice

    # fail closed for good
    warning: invoker.yaml: WasmPlugin login/invoker.spec.failStrategy: refuses every request after a crash, until the proxy is started anew; write FAIL_RELOAD
    # nothing said
    warning: invoker.yaml: WasmPlugin login/invoker.spec.failStrategy: refuses every request after a crash, until the proxy is started anew; write FAIL_RELOAD
    # envoy gateways way
    error: invoker.yaml: EnvoyExtensionPolicy login/invoker.spec.wasm[0].failOpen: lets requests out without a token if the module fails, while failure_mode is deny; leave it out
    ");
}

#[test]
fn keys_come_from_the_proxys_environment() {
    let key = (
        "type: metadata, cluster: outbound|80||metadata.google.internal",
        "type: service_account_key, key: {env: INVOKER_TEST_KEY}, cluster: outbound|80||oauth2.googleapis.com",
    );
    let entry = (
        "---\n# Kinds",
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: oauth2, namespace: login}\nspec: {hosts: [oauth2.googleapis.com], ports: [{number: 80, protocol: HTTP, targetPort: 443}], resolution: DNS}\n---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: oauth2, namespace: login}\nspec: {host: oauth2.googleapis.com, trafficPolicy: {tls: {mode: SIMPLE}}}\n---\n# Kinds",
    );
    let config = |variable: &'static str| ("  pluginConfig:\n", variable);
    insta::assert_snapshot!(all_found(&[
        ("not given", PLUGIN, &[key, entry]),
        ("given by the proxy", PLUGIN, &[key, entry, config("  vmConfig: {env: [{name: INVOKER_TEST_KEY, valueFrom: HOST}]}\n  pluginConfig:\n")]),
        ("in sight", PLUGIN, &[key, entry, config("  vmConfig: {env: [{name: INVOKER_TEST_KEY, value: \"no key\"}]}\n  pluginConfig:\n")]),
        ("credentials in the clear", PLUGIN, &[key, (entry.0, entry.1), ("mode: SIMPLE}}}", "mode: DISABLE}}}"), config("  vmConfig: {env: [{name: INVOKER_TEST_KEY, valueFrom: HOST}]}\n  pluginConfig:\n")]),
    ]), @r#"
    # not given
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.credentials.key: is in the environment variable INVOKER_TEST_KEY, which the module won't see; write {name: NAME, valueFrom: HOST} in vmConfig.env
    # given by the proxy
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.credentials.key: is in the environment variable INVOKER_TEST_KEY, which is not set here: it was not checked
    # in sight
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.credentials.key: is in the environment variable INVOKER_TEST_KEY, whose value stands in vmConfig.env, where everybody sees it who reads this resource or Envoy's config_dump; give it to the istio-proxy container from a Secret, and write valueFrom: HOST without a value
    error: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.credentials.key: the environment variable INVOKER_TEST_KEY is neither JSON nor its base64
    # credentials in the clear
    warning: invoker.yaml: WasmPlugin login/invoker.spec.pluginConfig.credentials.key: is in the environment variable INVOKER_TEST_KEY, which is not set here: it was not checked
    error: invoker.yaml: DestinationRule login/oauth2.spec.trafficPolicy.tls: cluster "outbound|80||oauth2.googleapis.com" would send credentials to the key's token_uri (oauth2.googleapis.com:443; for a key of another universe domain its iamcredentials) without TLS: its mode is DISABLE; write {mode: SIMPLE, sni: oauth2.googleapis.com, subjectAltNames: [oauth2.googleapis.com]}
    "#);
}

#[test]
fn the_metadata_server_speaks_plain_http() {
    insta::assert_snapshot!(all_found(&[
        ("http2", ENTRIES, &[("protocol: HTTP}\n  resolution: DNS", "protocol: HTTP2}\n  resolution: DNS")]),
        ("tcp", ENTRIES, &[("protocol: HTTP}\n  resolution: DNS", "protocol: TCP}\n  resolution: DNS")]),
        ("another port", ENTRIES, &[("protocol: HTTP}\n  resolution: DNS", "protocol: HTTP, targetPort: 443}\n  resolution: DNS")]),
        ("no resolution", ENTRIES, &[("protocol: HTTP}\n  resolution: DNS", "protocol: HTTP}")]),
        ("static without endpoints", ENTRIES, &[("protocol: HTTP}\n  resolution: DNS", "protocol: HTTP}\n  resolution: STATIC")]),
        ("of the mesh", ENTRIES, &[("location: MESH_EXTERNAL", "location: MESH_INTERNAL")]),
        ("a rule with tls", ENTRIES, &[("host: \"*.a.run.app\"", "host: metadata.google.internal")]),
        ("a rule with http2", ENTRIES, &[("host: \"*.a.run.app\"\n  trafficPolicy:\n    tls: {mode: SIMPLE}", "host: \"*.google.internal\"\n  trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}")]),
    ]), @r#"
    # http2
    error: entries.yaml: ServiceEntry login/metadata.spec.ports[0].protocol: HTTP2 is HTTP/2, and the metadata server speaks only HTTP/1.1; write HTTP
    # tcp
    warning: entries.yaml: ServiceEntry login/metadata.spec.ports[0].protocol: the metadata server speaks plain HTTP, and TCP is something else to Istio; write HTTP
    # another port
    error: entries.yaml: ServiceEntry login/metadata.spec.ports[0]: does not lead to port 80, the only one that the metadata server has; write {number: 80, name: http, protocol: HTTP}, without targetPort
    # no resolution
    error: entries.yaml: ServiceEntry login/metadata.spec.resolution: NONE, which is also the default, follows the address that a client has looked up, and a callout to metadata.google.internal has none; write DNS, or STATIC with endpoints
    # static without endpoints
    error: entries.yaml: ServiceEntry login/metadata.spec.endpoints: are missing, and STATIC knows no others; write endpoints: [{address: …}], or resolution: DNS
    # of the mesh
    warning: entries.yaml: ServiceEntry login/metadata.spec.location: the metadata server is not of the mesh; write MESH_EXTERNAL
    # a rule with tls
    error: entries.yaml: DestinationRule login/cloud-run.spec.trafficPolicy.tls: cluster "outbound|80||metadata.google.internal" speaks TLS, and the metadata server does not; leave it out, or write mode: DISABLE
    error: entries.yaml: ServiceEntry login/cloud-run.spec.ports[0]: cluster "outbound|80||*.a.run.app" would get tokens (audiences[2] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for *.a.run.app; write one with trafficPolicy: {tls: {mode: SIMPLE}}
    # a rule with http2
    error: entries.yaml: DestinationRule login/cloud-run.spec.trafficPolicy.connectionPool.http.h2UpgradePolicy: cluster "outbound|80||metadata.google.internal" speaks HTTP/2, and the metadata server only HTTP/1.1; leave it out
    error: entries.yaml: ServiceEntry login/cloud-run.spec.ports[0]: cluster "outbound|80||*.a.run.app" would get tokens (audiences[2] of WasmPlugin login/invoker) without TLS: there is no DestinationRule for *.a.run.app; write one with trafficPolicy: {tls: {mode: SIMPLE}}
    "#);
}

#[test]
fn a_module_does_not_change_unseen() {
    let url = "url: oci://registry.example.com/invoker:0.1.0";
    insta::assert_snapshot!(all_found(&[
        ("no tag", PLUGIN, &[(url, "url: registry.example.com:5000/invoker")]),
        ("latest", PLUGIN, &[(url, "url: oci://registry.example.com/invoker:latest")]),
        ("a digest", PLUGIN, &[(url, "url: oci://registry.example.com/invoker@sha256:0123")]),
        ("http", PLUGIN, &[(url, "url: https://modules.example.com/invoker.wasm")]),
        ("http with checksum", PLUGIN, &[(url, "url: https://modules.example.com/invoker.wasm\n  sha256: \"0123\"")]),
        ("no url", PLUGIN, &[(url, "")]),
    ]), @r#"
    # no tag
    warning: invoker.yaml: WasmPlugin login/invoker.spec.url: "registry.example.com:5000/invoker" is another module tomorrow; write a version's tag, or better its digest (…@sha256:…)
    # latest
    warning: invoker.yaml: WasmPlugin login/invoker.spec.url: "oci://registry.example.com/invoker:latest" is another module tomorrow; write a version's tag, or better its digest (…@sha256:…)
    # a digest

    # http
    warning: invoker.yaml: WasmPlugin login/invoker.spec.url: "https://modules.example.com/invoker.wasm" can change unseen, and who changes it gets the tokens; write the module's sha256 beside it
    # http with checksum

    # no url
    error: invoker.yaml: WasmPlugin login/invoker.spec.url: is missing; write where the module is, such as oci://REGISTRY/invoker:VERSION
    "#);
}

#[test]
fn two_plugins_do_not_meet_in_one_proxy() {
    let second = |namespace: &str, selector: &str| {
        format!(
            "---\napiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: second, namespace: {namespace}}}\nspec:\n  selector: {{matchLabels: {selector}}}\n  url: oci://registry.example.com/invoker:0.1.0\n  match: [{{mode: CLIENT}}]\n  phase: AUTHN\n  failStrategy: FAIL_RELOAD\n  pluginConfig:\n    credentials: {{type: metadata, cluster: outbound|80||metadata.google.internal}}\n    audiences: [{{cluster: outbound|80||search.example.com, audience: \"https://search-abc123-uc.a.run.app\"}}]\n---\n# Kinds"
        )
    };
    let (same, other, elsewhere) = (
        second("login", "{tier: web}"),
        second("login", "{app: batch}"),
        second("other", "{app: login}"),
    );
    insta::assert_snapshot!(all_found(&[
        ("the same", PLUGIN, &[("---\n# Kinds", &same)]),
        ("another workload", PLUGIN, &[("---\n# Kinds", &other)]),
        ("another namespace", PLUGIN, &[("---\n# Kinds", &elsewhere)]),
    ]), @r"
    # the same
    warning: invoker.yaml: WasmPlugin login/second.spec: runs in the same proxies as WasmPlugin login/invoker: each asks for tokens of its own, and what one writes the other may overwrite; put their rules into one plugin
    # another workload

    # another namespace
    ");
}

#[test]
fn a_patch_is_checked_like_a_plugin() {
    let filter = "typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {failure_policy: FAIL_RELOAD, vm_config: {code: {local: {filename: /etc/invoker.wasm}}}, configuration: {\"@type\": type.googleapis.com/google.protobuf.StringValue, value: '{\"credentials\": {\"type\": \"metadata\", \"cluster\": \"outbound|80||metadata.google.internal\"}, \"audiences\": [{\"cluster\": \"*\", \"audience\": \"https://profiles-abc123-uc.a.run.app\"}]}'}}}";
    let resource = |patch: String| {
        format!(
            "---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: invoker, namespace: login}}\nspec:\n  workloadSelector: {{labels: {{app: batch}}}}\n  configPatches:\n  - {patch}\n---\n# Kinds"
        )
    };
    let upstream = resource(format!(
        "applyTo: CLUSTER\n    match: {{context: SIDECAR_OUTBOUND, cluster: {{service: profiles-abc123-uc.a.run.app, portNumber: 80}}}}\n    patch:\n      operation: MERGE\n      value:\n        typed_extension_protocol_options:\n          envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n            http_filters:\n            - name: invoker\n              {filter}\n            - name: envoy.filters.http.upstream_codec"
    ));
    let listener = resource(format!(
        "applyTo: HTTP_FILTER\n    match: {{context: SIDECAR_OUTBOUND}}\n    patch:\n      operation: INSERT_BEFORE\n      value:\n        name: invoker\n        {filter}"
    ));
    let place = "---\n# Kinds";
    let upstream_and = |from: &str, to: &str| {
        assert!(upstream.contains(from), "{from}");
        upstream.replacen(from, to, 1)
    };
    let everywhere = listener.replace("SIDECAR_OUTBOUND", "ANY");
    insta::assert_snapshot!(all_found(&[
        ("an upstream filter", PLUGIN, &[(place, &upstream)]),
        ("for a cluster that is not there", PLUGIN, &[(place, &upstream_and("portNumber: 80", "portNumber: 443"))]),
        ("without a name in the certificate", PLUGIN, &[(place, &upstream_and("profiles-abc123-uc.a.run.app, portNumber", "search.example.com, portNumber"))]),
        ("for a wildcard", PLUGIN, &[(place, &upstream_and("profiles-abc123-uc.a.run.app, portNumber", "\"*.a.run.app\", portNumber"))]),
        ("for another cluster than its rules", PLUGIN, &[(place, &upstream_and("\"*\"", "\"outbound|80||search.example.com\""))]),
        ("an upstream filter that fails open", PLUGIN, &[(place, &upstream_and("FAIL_RELOAD", "FAIL_OPEN"))]),
        ("a misspelt callout cluster of a patch", PLUGIN, &[(place, &upstream_and("80||metadata", "8080||metadata"))]),
        ("a listeners filter", PLUGIN, &[(place, &listener.replace("\"*\"", "\"outbound|80||profiles-abc123-uc.a.run.app\""))]),
        ("a listeners filter that means too much", PLUGIN, &[(place, &everywhere)]),
    ]), @r#"
    # an upstream filter

    # for a cluster that is not there
    error: invoker.yaml: EnvoyFilter login/invoker.spec.configPatches[0].match.cluster: means no cluster; these files make "outbound|80||metadata.google.internal", "outbound|80||profiles-abc123-uc.a.run.app", "outbound|80||search.example.com", "outbound|443||search.example.com", "outbound|80||*.a.run.app"
    # without a name in the certificate
    error: entries.yaml: DestinationRule login/search.spec.trafficPolicy.portLevelSettings[0].tls.sni: is missing, and what Istio does without it the EnvoyFilter replaces: nobody looks at the certificate's name; write {mode: SIMPLE, sni: search.example.com, subjectAltNames: [search.example.com]}
    # for a wildcard
    error: entries.yaml: DestinationRule login/cloud-run.spec.trafficPolicy.tls.sni: is missing, and what Istio does without it the EnvoyFilter replaces: nobody looks at the certificate's name; write a ServiceEntry for each host, or use a WasmPlugin
    # for another cluster than its rules
    error: invoker.yaml: EnvoyFilter login/invoker.spec.configPatches[0].patch.value.typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.http_filters[0].typed_config.config.configuration.value.audiences[0].cluster: never matches here: this filter sees only "outbound|80||profiles-abc123-uc.a.run.app"; write "*", or leave the rule out
    # an upstream filter that fails open
    error: invoker.yaml: EnvoyFilter login/invoker.spec.configPatches[0].patch.value.typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.http_filters[0].typed_config.config.failure_policy: lets requests out without a token if the module fails, while failure_mode is deny; write failure_policy: FAIL_RELOAD
    # a misspelt callout cluster of a patch
    error: invoker.yaml: EnvoyFilter login/invoker.spec.configPatches[0].patch.value.typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.http_filters[0].typed_config.config.configuration.value.credentials.cluster: there is no cluster "outbound|8080||metadata.google.internal"; did you mean "outbound|80||metadata.google.internal"?; these files make "outbound|80||metadata.google.internal", "outbound|80||profiles-abc123-uc.a.run.app", "outbound|80||search.example.com", "outbound|443||search.example.com", "outbound|80||*.a.run.app"
    # a listeners filter

    # a listeners filter that means too much
    warning: invoker.yaml: EnvoyFilter login/invoker.spec.configPatches[0].match.context: ANY also means requests that come in, or only those; write SIDECAR_OUTBOUND
    error: invoker.yaml: EnvoyFilter login/invoker.spec.configPatches[0].patch.value.typed_config.config.configuration.value.audiences[0].cluster: "*" also means PassthroughCluster: tokens in the clear, to whatever address a client chose; write "outbound|*", or the clusters one by one
    "#);
}

#[test]
fn a_route_does_not_carry_a_token_elsewhere() {
    let route = |more: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: search, namespace: login}}\nspec:\n  hosts: [search.example.com]\n  http:\n  - route:\n    - destination: {{host: search.example.com, port: {{number: 80}}}}\n    {more}\n---\n# Kinds"
        )
    };
    let mirror = route("mirror: {host: other.example.com}");
    let mirrors = route("mirrors: [{destination: {host: other.example.com}}]");
    let matched =
        route("match: [{headers: {Authorization: {exact: x}}}, {withoutHeaders: {x-user: {}}}]");
    let changed =
        route("headers: {request: {remove: [authorization, x-serverless-authorization]}}");
    let elsewhere = mirror.replace(
        "host: search.example.com, port",
        "host: third.example.com, port",
    );
    let gateway_api = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: search, namespace: login}\nspec:\n  hostnames: [search.example.com]\n  rules:\n  - matches: [{headers: [{name: authorization, value: x}]}]\n    filters:\n    - {type: RequestMirror, requestMirror: {backendRef: {name: other, port: 80}}}\n    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: authorization, value: x}]}}\n    backendRefs: [{group: networking.istio.io, kind: Hostname, name: search.example.com, port: 80}]\n---\n# Kinds";
    let place = "---\n# Kinds";
    insta::assert_snapshot!(all_found(&[
        ("mirror", PLUGIN, &[(place, &mirror)]),
        ("mirrors", PLUGIN, &[(place, &mirrors)]),
        ("match on a written header", PLUGIN, &[(place, &matched)]),
        ("change of a written header", PLUGIN, &[(place, &changed)]),
        ("a mirror of requests without a token", PLUGIN, &[(place, &elsewhere)]),
        ("the gateway apis way", PLUGIN, &[(place, gateway_api)]),
    ]), @r#"
    # mirror
    error: invoker.yaml: VirtualService login/search.spec.http[0].mirror: copies the request, with the token in it, to another host; leave it out
    # mirrors
    error: invoker.yaml: VirtualService login/search.spec.http[0].mirrors[0]: copies the request, with the token in it, to another host; leave it out
    # match on a written header
    error: invoker.yaml: VirtualService login/search.spec.http[0].match[0].headers.Authorization: matches on "Authorization", which Invoker writes: with the token there Envoy picks the route anew, and the token can go elsewhere; match on another header
    # change of a written header
    error: invoker.yaml: VirtualService login/search.spec.http[0].headers.request.remove[0]: changes "authorization" after Invoker has written its token there; leave it out
    # a mirror of requests without a token

    # the gateway apis way
    error: invoker.yaml: HTTPRoute login/search.spec.rules[0].filters[0].requestMirror: copies the request, with the token in it, to another host; leave it out
    error: invoker.yaml: HTTPRoute login/search.spec.rules[0].matches[0].headers[0]: matches on "authorization", which Invoker writes: with the token there Envoy picks the route anew, and the token can go elsewhere; match on another header
    error: invoker.yaml: HTTPRoute login/search.spec.rules[0].filters[1].requestHeaderModifier.set[0]: changes "authorization" after Invoker has written its token there; leave it out
    "#);
}
