//! Envoy takes an upstream filter's token on to other clusters: each way as one change to a bootstrap in
//! which Invoker stands in all clusters that can be reached.

use super::{invoker, variant};

/// Makes each change alone, and says what is found.
fn all_found(test: &str, changes: &[(&str, &[(&str, &str)])]) -> String {
    let found = |(name, replacements): &(&str, &[(&str, &str)])| {
        let bootstrap = variant(
            "two_upstreams.yaml",
            &format!("carried-{test}-{name}.yaml"),
            |text| {
                let replace = |text: String, (from, to): &(&str, &str)| {
                    assert!(text.contains(from), "{from} is not in two_upstreams.yaml");
                    text.replacen(from, to, 1)
                };
                replacements.iter().fold(text.to_owned(), replace)
            },
        );
        let bootstrap = bootstrap.to_str().unwrap();
        let printed = invoker(&["check", "upstream.invoker.json", "--bootstrap", bootstrap]);
        let printed = printed.replace(bootstrap, "envoy.yaml").replace(
            "static_resources.listeners[0].filter_chains[0].filters[0].typed_config",
            "HCM",
        );
        format!("# {name}\n{printed}\n")
    };
    changes.iter().map(found).collect()
}

const PROFILES: &str = "route: {cluster: profiles, internal_redirect_policy: {}}";
const SEARCH: &str = "route: {cluster: search}";
const WEIGHTED: &str = "{name: search, weight: 1}";
const SEARCH_RULES: &str =
    "audiences: [{cluster: \"*\", audience: \"https://search.demo.run.app\"}]";

#[test]
fn what_leads_only_to_clusters_with_invoker_is_ok() {
    insta::assert_snapshot!(all_found("ok", &[
        ("as it is", &[]),
        ("no token after a redirect", &[
            (SEARCH_RULES, "audiences: [{cluster: \"*\", bypass: true}]"),
            (", refresh_cluster_on_retry: true", ""),
        ]),
        ("a mirror of the first request", &[
            (PROFILES, "route: {cluster: profiles, request_mirror_policies: [{cluster: plain}]}"),
        ]),
        ("redirects are passed on", &[
            (PROFILES, "route: {cluster: profiles, internal_redirect_action: PASS_THROUGH_INTERNAL_REDIRECT}"),
            (SEARCH, "route: {cluster: plain}"),
        ]),
        ("a redirect from a cluster without tokens", &[
            (PROFILES, "route: {cluster: plain, internal_redirect_policy: {}}"),
        ]),
        ("a retry at the same clusters", &[
            (WEIGHTED, "{name: plain, weight: 1}"),
            ("refresh_cluster_on_retry: true", "refresh_cluster_on_retry: false"),
            (PROFILES, "route: {cluster: profiles}"),
        ]),
    ]), @r"
    # as it is
    upstream.invoker.json: ok (0 errors, 0 warnings)
    exit 0
    # no token after a redirect
    upstream.invoker.json: ok (0 errors, 0 warnings)
    exit 0
    # a mirror of the first request
    upstream.invoker.json: ok (0 errors, 0 warnings)
    exit 0
    # redirects are passed on
    upstream.invoker.json: ok (0 errors, 0 warnings)
    exit 0
    # a redirect from a cluster without tokens
    upstream.invoker.json: ok (0 errors, 0 warnings)
    exit 0
    # a retry at the same clusters
    upstream.invoker.json: ok (0 errors, 0 warnings)
    exit 0
    ");
}

#[test]
fn a_redirect_does_not_carry_a_token_elsewhere() {
    insta::assert_snapshot!(all_found("redirect", &[
        ("a cluster without invoker", &[(SEARCH, "route: {cluster: plain}")]),
        ("another spelling", &[
            (PROFILES, "route: {cluster: profiles, internalRedirectPolicy: {}}"),
            (SEARCH, "route: {cluster: plain}"),
        ]),
        ("another header", &[
            (SEARCH_RULES, "audiences: [{cluster: \"*\", audience: \"https://search.demo.run.app\", header: proxy-authorization}]"),
            (", refresh_cluster_on_retry: true", ""),
        ]),
        ("a mirror of the redirected request", &[(SEARCH, "route: {cluster: search, request_mirror_policies: [{cluster: plain}]}")]),
        ("a mirror that a header chooses", &[(SEARCH, "route: {cluster: search, request_mirror_policies: [{cluster_header: x-mirror}]}")]),
        ("a header chooses", &[(SEARCH, "route: {cluster_header: x-cluster}")]),
        ("an extension chooses, here", &[(PROFILES, "route: {inline_cluster_specifier_plugin: {}, internal_redirect_policy: {}}")]),
        ("virtual hosts from elsewhere", &[("virtual_hosts:\n", "vhds: {config_source: {ads: {}}}\n            virtual_hosts:\n")]),
        ("no such cluster", &[(SEARCH, "route: {cluster: serach}")]),
        ("a cluster from elsewhere", &[
            (SEARCH, "route: {cluster: outbound}"),
            ("static_resources:", "dynamic_resources: {cds_config: {ads: {}}}\nstatic_resources:"),
        ]),
        ("routes from elsewhere", &[("route_config:", "rds: {route_config_name: x, config_source: {ads: {}}}\n          ignored:")]),
    ]), @r#"
    # a cluster without invoker
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says, and cluster "plain" has no Invoker that takes it out of "authorization"; leave the policy out, or make Invoker an upstream filter there too, with the same `header` (where no token belongs, with {cluster: "*", bypass: true})
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # another spelling
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internalRedirectPolicy: runs the request again, with the token in it, wherever the answer says, and cluster "plain" has no Invoker that takes it out of "authorization"; leave the policy out, or make Invoker an upstream filter there too, with the same `header` (where no token belongs, with {cluster: "*", bypass: true})
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # another header
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says, and cluster "search" has no Invoker that takes it out of "authorization"; leave the policy out, or make Invoker an upstream filter there too, with the same `header` (where no token belongs, with {cluster: "*", bypass: true})
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # a mirror of the redirected request
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says, and cluster "plain" has no Invoker that takes it out of "authorization"; leave the policy out, or make Invoker an upstream filter there too, with the same `header` (where no token belongs, with {cluster: "*", bypass: true})
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # a mirror that a header chooses
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says, and HCM.route_config.virtual_hosts[1].routes[0].route.request_mirror_policies[0].cluster_header leads to clusters that are not named here, perhaps without Invoker; leave it out
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # a header chooses
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says, and HCM.route_config.virtual_hosts[1].routes[0].route.cluster_header leads to clusters that are not named here, perhaps without Invoker; leave it out
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # an extension chooses, here
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says, and HCM.route_config.virtual_hosts[0].routes[0].route.inline_cluster_specifier_plugin leads to clusters that are not named here, perhaps without Invoker; leave it out
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # virtual hosts from elsewhere
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says, and HCM.route_config.vhds leads to clusters that are not named here, perhaps without Invoker; leave it out
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # no such cluster
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says, and cluster "serach" has no Invoker that takes it out of "authorization"; leave the policy out, or make Invoker an upstream filter there too, with the same `header` (where no token belongs, with {cluster: "*", bypass: true})
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # a cluster from elsewhere
    warning: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says; "outbound" is not among static_resources.clusters, and what the control plane makes of it needs Invoker as an upstream filter too
    upstream.invoker.json: ok (0 errors, 1 warning)
    exit 0
    # routes from elsewhere
    warning: envoy.yaml: HCM: has its routes from elsewhere, so that they can't be checked: an internal_redirect_policy, or a retry_policy with refresh_cluster_on_retry, among them can take a token on to a cluster without Invoker
    upstream.invoker.json: ok (0 errors, 1 warning)
    exit 0
    "#);
}

#[test]
fn a_retry_does_not_carry_a_token_elsewhere() {
    let refresh = "retry_policy: {retry_on: 5xx, refresh_cluster_on_retry: true}";
    let weighted =
        "weighted_clusters: {clusters: [{name: profiles, weight: 1}, {name: search, weight: 1}]}";
    let to_plain = (WEIGHTED, "{name: plain, weight: 1}");
    // Redirects are another matter.
    let passed_on = (PROFILES, "route: {cluster: profiles}");
    insta::assert_snapshot!(all_found("retry", &[
        ("a cluster without invoker", &[passed_on, to_plain]),
        ("for a whole virtual host", &[
            passed_on,
            to_plain,
            (&format!("\n                  {refresh}"), ""),
            ("domains: [\"*\"]", &format!("domains: [\"*\"]\n              {refresh}")),
        ]),
        ("said by the cluster", &[
            passed_on,
            to_plain,
            (&format!("\n                  {refresh}"), ""),
            ("explicit_http_config:", &format!("{refresh}\n        explicit_http_config:")),
        ]),
        ("bypass", &[passed_on, (SEARCH_RULES, "audiences: [{cluster: \"*\", bypass: true}]")]),
        ("another header", &[passed_on, (SEARCH_RULES, "audiences: [{cluster: \"*\", audience: \"https://search.demo.run.app\", header: proxy-authorization}]")]),
        ("kept", &[passed_on, (SEARCH_RULES, &format!("existing_credential: keep\n                  {SEARCH_RULES}"))]),
        ("not every request", &[passed_on, (SEARCH_RULES, "audiences: [{cluster: \"*\", path: /v1, audience: \"https://search.demo.run.app\"}]")]),
        ("annotated", &[
            passed_on,
            (SEARCH_RULES, "audience_from_metadata: true"),
            ("  - name: search\n    type", "  - name: search\n    metadata: {filter_metadata: {invoker: {audience: https://search.run.app}}}\n    type"),
        ]),
        ("annotated and switched off", &[
            passed_on,
            (SEARCH_RULES, &format!("audience_from_metadata: true\n                  {SEARCH_RULES}")),
            ("  - name: search\n    type", "  - name: search\n    metadata: {filter_metadata: {invoker: {disabled: true}}}\n    type"),
        ]),
        ("an extension chooses", &[passed_on, (weighted, "inline_cluster_specifier_plugin: {}")]),
        ("a cluster from elsewhere", &[
            passed_on,
            (WEIGHTED, "{name: outbound, weight: 1}"),
            ("static_resources:", "dynamic_resources: {cds_config: {ads: {}}}\nstatic_resources:"),
        ]),
    ]), @r#"
    # a cluster without invoker
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and cluster "plain" has no Invoker that writes over "authorization" on every request; leave it out, or make Invoker an upstream filter there too, with {cluster: "*", audience: …}, the same `header` and existing_credential: replace (bypass: true lets the token through)
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # for a whole virtual host
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and cluster "plain" has no Invoker that writes over "authorization" on every request; leave it out, or make Invoker an upstream filter there too, with {cluster: "*", audience: …}, the same `header` and existing_credential: replace (bypass: true lets the token through)
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # said by the cluster
    error: envoy.yaml: static_resources.clusters[0].typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and cluster "plain" has no Invoker that writes over "authorization" on every request; leave it out, or make Invoker an upstream filter there too, with {cluster: "*", audience: …}, the same `header` and existing_credential: replace (bypass: true lets the token through)
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # bypass
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and cluster "search" has no Invoker that writes over "authorization" on every request; leave it out, or make Invoker an upstream filter there too, with {cluster: "*", audience: …}, the same `header` and existing_credential: replace (bypass: true lets the token through)
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # another header
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and cluster "search" has no Invoker that writes over "authorization" on every request; leave it out, or make Invoker an upstream filter there too, with {cluster: "*", audience: …}, the same `header` and existing_credential: replace (bypass: true lets the token through)
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and cluster "profiles" has no Invoker that writes over "proxy-authorization" on every request; leave it out, or make Invoker an upstream filter there too, with {cluster: "*", audience: …}, the same `header` and existing_credential: replace (bypass: true lets the token through)
    upstream.invoker.json: not ok (2 errors, 0 warnings)
    exit 1
    # kept
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and cluster "search" has no Invoker that writes over "authorization" on every request; leave it out, or make Invoker an upstream filter there too, with {cluster: "*", audience: …}, the same `header` and existing_credential: replace (bypass: true lets the token through)
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # not every request
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and cluster "search" has no Invoker that writes over "authorization" on every request; leave it out, or make Invoker an upstream filter there too, with {cluster: "*", audience: …}, the same `header` and existing_credential: replace (bypass: true lets the token through)
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # annotated
    upstream.invoker.json: ok (0 errors, 0 warnings)
    exit 0
    # annotated and switched off
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and cluster "search" has no Invoker that writes over "authorization" on every request; leave it out, or make Invoker an upstream filter there too, with {cluster: "*", audience: …}, the same `header` and existing_credential: replace (bypass: true lets the token through)
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # an extension chooses
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster, and HCM.route_config.virtual_hosts[2].routes[0].route.inline_cluster_specifier_plugin leads to clusters that are not named here, perhaps without Invoker; leave it out
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    # a cluster from elsewhere
    warning: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.retry_policy.refresh_cluster_on_retry: sends the request again, with the token in it, to another cluster; "outbound" is not among static_resources.clusters, and what the control plane makes of it needs Invoker as an upstream filter too
    upstream.invoker.json: ok (0 errors, 1 warning)
    exit 0
    "#);
}
