//! Each way in which a bootstrap and a configuration do not go together, as one change to a good pair.

use std::path::Path;

use super::{invoker, variant};

/// Changes `from` to `to` in the bootstrap, and says what is found: a line each, without the paths'
/// common beginning.
fn found(form: &str, name: &str, from: &str, to: &str) -> String {
    let file = if form == "listener" {
        "listener.invoker.yaml"
    } else {
        "upstream.invoker.json"
    };
    let bootstrap = variant(
        &format!("{form}.yaml"),
        &format!("{form}-{name}.yaml"),
        |text| {
            assert!(text.contains(from), "{from} is not in {form}.yaml");
            text.replacen(from, to, 1)
        },
    );
    found_in(file, &bootstrap)
}

fn found_in(file: &str, bootstrap: &Path) -> String {
    let bootstrap = bootstrap.to_str().unwrap();
    let printed = invoker(&["check", file, "--bootstrap", bootstrap]);
    let printed = printed.replace(bootstrap, "envoy.yaml");
    let printed = printed.replace(
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config",
        "HCM",
    );
    let printed = printed.replace("static_resources.clusters", "CLUSTERS");
    let plugin = "HCM.http_filters[0].typed_config.config";
    printed.replace(plugin, "PLUGIN")
}

fn all_found(form: &str, changes: &[(&str, &str, &str)]) -> String {
    let found = |(name, from, to): &(&str, &str, &str)| {
        format!("# {name}\n{}\n", found(form, name, from, to))
    };
    changes.iter().map(found).collect()
}

#[test]
fn good_pairs_are_ok() {
    insta::assert_snapshot!(
        invoker(&["check", "listener.invoker.yaml", "--bootstrap", "listener.yaml"]),
        @r"
        listener.invoker.yaml: ok (0 errors, 0 warnings)
        exit 0
        "
    );
    insta::assert_snapshot!(
        invoker(&["check", "upstream.invoker.json", "--bootstrap", "upstream.yaml"]),
        @r"
        upstream.invoker.json: ok (0 errors, 0 warnings)
        exit 0
        "
    );
}

#[test]
fn clusters_that_are_named_exist() {
    insta::assert_snapshot!(all_found("listener", &[
        ("no metadata cluster", "- name: metadata\n    type: STRICT_DNS", "- name: gce\n    type: STRICT_DNS"),
        ("no such cluster in a rule", "cluster: search, audience", "cluster: serach, audience"),
        ("a pattern without a cluster", "cluster: search, audience", "cluster: \"outbound|*\", audience"),
    ]), @r#"
    # no metadata cluster
    error: envoy.yaml: PLUGIN.configuration.value.credentials.cluster: there is no cluster "metadata"; there are "profiles", "search", "plain", "gce"
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # no such cluster in a rule
    error: envoy.yaml: PLUGIN.configuration.value.audiences[1].cluster: there is no cluster "serach"; there are "profiles", "search", "plain", "metadata"
    error: envoy.yaml: PLUGIN.configuration.value: is not what listener.invoker.yaml says, and no other plugin here runs that: audiences[1] is {"audience":"https://search.demo.run.app","cluster":"serach"} here and {"audience":"https://search.demo.run.app","cluster":"search"} there
    listener.invoker.yaml: not ok (2 errors, 0 warnings)
    exit 1
    # a pattern without a cluster
    warning: envoy.yaml: PLUGIN.configuration.value.audiences[1].cluster: "outbound|*" means none of the clusters here
    error: envoy.yaml: PLUGIN.configuration.value: is not what listener.invoker.yaml says, and no other plugin here runs that: audiences[1] is {"audience":"https://search.demo.run.app","cluster":"outbound|*"} here and {"audience":"https://search.demo.run.app","cluster":"search"} there
    listener.invoker.yaml: not ok (1 error, 1 warning)
    exit 1
    "#);
}

#[test]
fn a_control_plane_may_bring_the_clusters_that_are_missing() {
    let bootstrap = variant("listener.yaml", "dynamic.yaml", |text| {
        let text = text.replace("- name: metadata\n", "- name: gce\n");
        format!("dynamic_resources: {{cds_config: {{ads: {{}}}}}}\n{text}")
    });
    insta::assert_snapshot!(found_in("listener.invoker.yaml", &bootstrap), @r#"
    warning: envoy.yaml: PLUGIN.configuration.value.credentials.cluster: "metadata" is not among CLUSTERS; it has to come from the control plane
    listener.invoker.yaml: ok (0 errors, 1 warning)
    exit 0
    "#);
}

#[test]
fn annotated_clusters_need_tls_if_they_are_heard() {
    let annotated = |heard: &str| {
        let bootstrap = variant(
            "listener.yaml",
            &format!("annotated-{heard}.yaml"),
            |text| {
                let text = text.replace(
                "  - name: plain\n    type",
                "  - name: plain\n    metadata: {filter_metadata: {invoker: {audience: https://plain.run.app}}}\n    type",
            );
                let audiences = "                    audiences:";
                text.replace(
                    audiences,
                    &format!("                    audience_from_metadata: {heard}\n{audiences}"),
                )
            },
        );
        let invoker = variant(
            "listener.invoker.yaml",
            &format!("heard-{heard}.yaml"),
            |text| format!("{text}audience_from_metadata: {heard}\n"),
        );
        let invoker = invoker.to_str().unwrap();
        found_in(invoker, &bootstrap).replace(invoker, "invoker.yaml")
    };
    insta::assert_snapshot!(annotated("false"), @r"
    invoker.yaml: ok (0 errors, 0 warnings)
    exit 0
    ");
    insta::assert_snapshot!(annotated("true"), @r#"
    error: envoy.yaml: CLUSTERS[2]: cluster "plain" would get tokens without TLS (it leads to plain.example.com); give it a transport_socket with an UpstreamTlsContext (only loopback may go without)
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says; leave it out, or make Invoker an upstream filter of every cluster that these routes reach
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.request_mirror_policies[0]: copies the request, with the token in it, to another cluster; leave it out, or make Invoker an upstream filter of the cluster
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].match.headers[0]: matches on "authorization", which Invoker writes: with the token there Envoy picks the route anew, and the token can go elsewhere; match on another header
    invoker.yaml: not ok (4 errors, 0 warnings)
    exit 1
    "#);
}

#[test]
fn tokens_travel_only_under_tls_or_on_this_machine() {
    insta::assert_snapshot!(all_found("listener", &[
        ("no tls", "    transport_socket:\n      name: envoy.transport_sockets.tls\n      typed_config: {\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext}\n", ""),
        ("another socket", "transport_sockets.tls.v3.UpstreamTlsContext", "transport_sockets.raw_buffer.v3.RawBuffer"),
        ("not loopback", "127.0.0.1, port_value: 18120", "10.0.0.1, port_value: 18120"),
        ("endpoints from elsewhere", "    load_assignment:\n      cluster_name: search\n", "    ignored:\n"),
        ("a rule for everything reaches it", "cluster: search, audience", "cluster: \"*\", audience"),
    ]), @r#"
    # no tls
    error: envoy.yaml: CLUSTERS[0]: cluster "profiles" would get tokens without TLS (it leads to profiles.demo.run.app); give it a transport_socket with an UpstreamTlsContext (only loopback may go without)
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # another socket
    error: envoy.yaml: CLUSTERS[0]: cluster "profiles" would get tokens without TLS (it leads to profiles.demo.run.app); give it a transport_socket with an UpstreamTlsContext (only loopback may go without)
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # not loopback
    error: envoy.yaml: CLUSTERS[1]: cluster "search" would get tokens without TLS (it leads to 10.0.0.1); give it a transport_socket with an UpstreamTlsContext (only loopback may go without)
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # endpoints from elsewhere
    error: envoy.yaml: CLUSTERS[1]: cluster "search" would get tokens without TLS (where its endpoints are is not said here); give it a transport_socket with an UpstreamTlsContext (only loopback may go without)
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # a rule for everything reaches it
    error: envoy.yaml: CLUSTERS[2]: cluster "plain" would get tokens without TLS (it leads to plain.example.com); give it a transport_socket with an UpstreamTlsContext (only loopback may go without)
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.internal_redirect_policy: runs the request again, with the token in it, wherever the answer says; leave it out, or make Invoker an upstream filter of every cluster that these routes reach
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].route.request_mirror_policies[0]: copies the request, with the token in it, to another cluster; leave it out, or make Invoker an upstream filter of the cluster
    error: envoy.yaml: HCM.route_config.virtual_hosts[2].routes[0].match.headers[0]: matches on "authorization", which Invoker writes: with the token there Envoy picks the route anew, and the token can go elsewhere; match on another header
    error: envoy.yaml: PLUGIN.configuration.value: is not what listener.invoker.yaml says, and no other plugin here runs that: audiences[1] is {"audience":"https://search.demo.run.app","cluster":"*"} here and {"audience":"https://search.demo.run.app","cluster":"search"} there
    listener.invoker.yaml: not ok (5 errors, 0 warnings)
    exit 1
    "#);
    insta::assert_snapshot!(all_found("upstream", &[
        ("no tls", "transport_sockets.tls.v3.UpstreamTlsContext", "transport_sockets.raw_buffer.v3.RawBuffer"),
    ]), @r#"
    # no tls
    error: envoy.yaml: CLUSTERS[0]: cluster "profiles" would get tokens without TLS (it leads to profiles.demo.run.app); give it a transport_socket with an UpstreamTlsContext (only loopback may go without)
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    "#);
}

#[test]
fn a_module_that_fails_does_not_let_requests_out() {
    insta::assert_snapshot!(all_found("listener", &[
        ("fail open", "failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN"),
        ("fail open, the old way", "failure_policy: FAIL_RELOAD", "fail_open: true"),
        ("fail closed for good", "failure_policy: FAIL_RELOAD", "failure_policy: FAIL_CLOSED"),
        ("nothing said", "                failure_policy: FAIL_RELOAD\n", ""),
    ]), @r"
    # fail open
    error: envoy.yaml: PLUGIN.failure_policy: lets requests out without a token if the module fails, while failure_mode is deny; write failure_policy: FAIL_RELOAD
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # fail open, the old way
    error: envoy.yaml: PLUGIN.fail_open: lets requests out without a token if the module fails, while failure_mode is deny; write failure_policy: FAIL_RELOAD
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # fail closed for good
    warning: envoy.yaml: PLUGIN.failure_policy: refuses every request after a crash, until Envoy is restarted; write failure_policy: FAIL_RELOAD
    listener.invoker.yaml: ok (0 errors, 1 warning)
    exit 0
    # nothing said
    warning: envoy.yaml: PLUGIN.failure_policy: refuses every request after a crash, until Envoy is restarted; write failure_policy: FAIL_RELOAD
    listener.invoker.yaml: ok (0 errors, 1 warning)
    exit 0
    ");
}

#[test]
fn the_router_does_not_carry_a_token_elsewhere() {
    insta::assert_snapshot!(all_found("listener", &[
        ("redirect", "route: {cluster: profiles}", "route: {cluster: profiles, internalRedirectPolicy: {}}"),
        ("mirror", "route: {cluster: profiles}", "route: {cluster: profiles, request_mirror_policies: [{cluster: plain}]}"),
        ("mirror of a virtual host", "domains: [profiles.localhost]", "domains: [profiles.localhost]\n              request_mirror_policies: [{cluster: plain}]"),
        ("match on a written header", "              - match: {prefix: /}\n                route: {cluster: profiles}", "              - match: {prefix: /, headers: [{name: Authorization, present_match: true}]}\n                route: {cluster: plain}\n              - match: {prefix: /}\n                route: {cluster: profiles}"),
        ("retry elsewhere", "route: {cluster: profiles}", "route: {weighted_clusters: {clusters: [{name: profiles, weight: 1}, {name: search, weight: 1}]}, retry_policy: {retry_on: 5xx}}"),
        ("retry at the same place", "route: {cluster: profiles}", "route: {cluster: profiles, retry_policy: {retry_on: 5xx}}"),
        ("a header chooses", "route: {cluster: profiles}", "route: {cluster_header: x-cluster}"),
        ("routes from elsewhere", "route_config:", "rds: {route_config_name: x, config_source: {ads: {}}}\n          ignored:"),
    ]), @r#"
    # redirect
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.internalRedirectPolicy: runs the request again, with the token in it, wherever the answer says; leave it out, or make Invoker an upstream filter of every cluster that these routes reach
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # mirror
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.request_mirror_policies[0]: copies the request, with the token in it, to another cluster; leave it out, or make Invoker an upstream filter of the cluster
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # mirror of a virtual host
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].request_mirror_policies[0]: copies the request, with the token in it, to another cluster; leave it out, or make Invoker an upstream filter of the cluster
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # match on a written header
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].match.headers[0]: matches on "Authorization", which Invoker writes: with the token there Envoy picks the route anew, and the token can go elsewhere; match on another header
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # retry elsewhere
    warning: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.retry_policy: can send a request again to another cluster than the one that its token is for; make Invoker an upstream filter of the clusters
    listener.invoker.yaml: ok (0 errors, 1 warning)
    exit 0
    # retry at the same place
    listener.invoker.yaml: ok (0 errors, 0 warnings)
    exit 0
    # a header chooses
    warning: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0]: is led to clusters that are not named here, so that it can't be checked whether they are secure
    listener.invoker.yaml: ok (0 errors, 1 warning)
    exit 0
    # routes from elsewhere
    warning: envoy.yaml: HCM: has its routes from elsewhere, so that they can't be checked: no redirect policy, mirror, or match on a header that Invoker writes may be among them
    listener.invoker.yaml: ok (0 errors, 1 warning)
    exit 0
    "#);
}

#[test]
fn the_router_leaves_the_token_in_its_header() {
    insta::assert_snapshot!(all_found("listener", &[
        ("removed", "[x-serverless-authorization]", "[x-serverless-authorization, Authorization]"),
        ("added to", "route: {cluster: profiles}", "route: {cluster: profiles}\n                request_headers_to_add: [{header: {key: authorization, value: x}}]"),
        ("forged", "            request_headers_to_remove: [x-serverless-authorization]\n", ""),
    ]), @r#"
    # removed
    error: envoy.yaml: HCM.route_config.request_headers_to_remove[1]: removes "Authorization" after Invoker has written its token there; leave it out
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # added to
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].request_headers_to_add[0]: adds to "authorization" after Invoker has written its token there; leave it out
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # forged
    warning: envoy.yaml: HCM.route_config.virtual_hosts[0]: lets callers set x-serverless-authorization, which Cloud Run checks before authorization; write request_headers_to_remove: [x-serverless-authorization] on the route or around it
    warning: envoy.yaml: HCM.route_config.virtual_hosts[1]: lets callers set x-serverless-authorization, which Cloud Run checks before authorization; write request_headers_to_remove: [x-serverless-authorization] on the route or around it
    listener.invoker.yaml: ok (0 errors, 2 warnings)
    exit 0
    "#);
    insta::assert_snapshot!(all_found("upstream", &[
        ("removed before the token is written", "[x-serverless-authorization]", "[x-serverless-authorization, authorization]"),
        ("forged", "            request_headers_to_remove: [x-serverless-authorization]\n", ""),
    ]), @r"
    # removed before the token is written
    upstream.invoker.json: ok (0 errors, 0 warnings)
    exit 0
    # forged
    warning: envoy.yaml: HCM.route_config.virtual_hosts[0]: lets callers set x-serverless-authorization, which Cloud Run checks before authorization; write request_headers_to_remove: [x-serverless-authorization] on the route or around it
    upstream.invoker.json: ok (0 errors, 1 warning)
    exit 0
    ");
}

#[test]
fn requests_have_time_to_wait_and_do_not_wait_for_ever() {
    insta::assert_snapshot!(all_found("listener", &[
        ("never", "stream_idle_timeout: 60s", "stream_idle_timeout: 0s"),
        ("too short", "stream_idle_timeout: 60s", "stream_idle_timeout: 5s"),
        ("a route never", "route: {cluster: profiles}", "route: {cluster: profiles, idle_timeout: 0s}"),
        ("a route's own", "route: {cluster: profiles}", "route: {cluster: profiles, idle_timeout: 1.5s}"),
        ("a route without tokens", "route: {cluster: plain,", "route: {cluster: plain, idle_timeout: 0s,"),
        ("envoy's default", "          stream_idle_timeout: 60s\n", ""),
    ]), @r"
    # never
    error: envoy.yaml: HCM.stream_idle_timeout: is 0: a request that waits in a Wasm VM that has crashed would hang for ever; write 60s, for one
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # too short
    error: envoy.yaml: HCM.stream_idle_timeout: 5s is not longer than Invoker's timeout (5s), so that it ends requests that wait for their token; write more
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # a route never
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.idle_timeout: is 0: a request that waits in a Wasm VM that has crashed would hang for ever; write 60s, for one
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # a route's own
    error: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.idle_timeout: 1.5s is not longer than Invoker's timeout (5s), so that it ends requests that wait for their token; write more
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # a route without tokens
    listener.invoker.yaml: ok (0 errors, 0 warnings)
    exit 0
    # envoy's default
    listener.invoker.yaml: ok (0 errors, 0 warnings)
    exit 0
    ");
    insta::assert_snapshot!(all_found("upstream", &[
        ("the route's timeout", "timeout: 15s", "timeout: 5s"),
        ("a try's timeout", "timeout: 15s", "retry_policy: {retry_on: 5xx, per_try_timeout: 2s}"),
        ("idle", "stat_prefix: outbound", "stream_idle_timeout: 0s"),
    ]), @r"
    # the route's timeout
    warning: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.timeout: 5s is not longer than Invoker's timeout (5s), and a request's wait for its token counts: it ends with Envoy's 504 and no reason; write more, or give Invoker a shorter timeout
    upstream.invoker.json: ok (0 errors, 1 warning)
    exit 0
    # a try's timeout
    warning: envoy.yaml: HCM.route_config.virtual_hosts[0].routes[0].route.retry_policy.per_try_timeout: 2s is not longer than Invoker's timeout (5s), and a request's wait for its token counts: it ends with Envoy's 504 and no reason; write more, or give Invoker a shorter timeout
    upstream.invoker.json: ok (0 errors, 1 warning)
    exit 0
    # idle
    error: envoy.yaml: HCM.stream_idle_timeout: is 0: a request that waits in a Wasm VM that has crashed would hang for ever; write 60s, for one
    upstream.invoker.json: not ok (1 error, 0 warnings)
    exit 1
    ");
}

#[test]
fn the_metadata_cluster_speaks_plain_http_1() {
    let metadata = "  - name: metadata\n    type: STRICT_DNS";
    let with = |more: &str| format!("{metadata}\n    {more}");
    let options = "typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: ";
    insta::assert_snapshot!(all_found("listener", &[
        ("tls", metadata, &with("transport_socket: {typed_config: {\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext}}")),
        ("http 2, the old way", metadata, &with("http2_protocol_options: {}")),
        ("http 2", metadata, &with(&format!("{options}{{explicit_http_config: {{http2_protocol_options: {{}}}}}}}}"))),
        ("negotiated", metadata, &with(&format!("{options}{{auto_config: {{}}}}}}"))),
        ("http 1", metadata, &with(&format!("{options}{{explicit_http_config: {{http_protocol_options: {{}}}}}}}}"))),
    ]), @r#"
    # tls
    error: envoy.yaml: CLUSTERS[3].transport_socket: cluster "metadata" speaks TLS, and the metadata server does not; leave it out
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # http 2, the old way
    error: envoy.yaml: CLUSTERS[3].http2_protocol_options: cluster "metadata" speaks HTTP/2, and the metadata server only HTTP/1.1; write explicit_http_config: {http_protocol_options: {}}, or leave it out
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # http 2
    error: envoy.yaml: CLUSTERS[3].typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.explicit_http_config.http2_protocol_options: cluster "metadata" speaks HTTP/2, and the metadata server only HTTP/1.1; write explicit_http_config: {http_protocol_options: {}}, or leave it out
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # negotiated
    error: envoy.yaml: CLUSTERS[3].typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.auto_config: cluster "metadata" speaks whatever TLS negotiates, and the metadata server only HTTP/1.1; write explicit_http_config: {http_protocol_options: {}}, or leave it out
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # http 1
    listener.invoker.yaml: ok (0 errors, 0 warnings)
    exit 0
    "#);
}

#[test]
fn what_is_embedded_is_checked_and_compared_too() {
    insta::assert_snapshot!(all_found("listener", &[
        ("bad", "https://search.demo.run.app", "search.demo.run.app"),
        ("another rule", "https://search.demo.run.app", "https://search-2.demo.run.app"),
        ("another field", "                    audiences:", "                    failure_mode: allow\n                    audiences:"),
        ("no configuration", "                configuration:", "                ignored:"),
        ("another type", "google.protobuf.Struct", "google.protobuf.BytesValue"),
        ("no plugin", "              \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "              \"@type\": type.googleapis.com/other.v3.Other"),
    ]), @r#"
    # bad
    error: envoy.yaml: PLUGIN.configuration.value.audiences[1].audience: "search.demo.run.app" has no scheme; write "https://search.demo.run.app"
    error: envoy.yaml: PLUGIN.configuration.value: is not what listener.invoker.yaml says, and no other plugin here runs that: audiences[1] is {"audience":"search.demo.run.app","cluster":"search"} here and {"audience":"https://search.demo.run.app","cluster":"search"} there
    listener.invoker.yaml: not ok (2 errors, 0 warnings)
    exit 1
    # another rule
    error: envoy.yaml: PLUGIN.configuration.value: is not what listener.invoker.yaml says, and no other plugin here runs that: audiences[1] is {"audience":"https://search-2.demo.run.app","cluster":"search"} here and {"audience":"https://search.demo.run.app","cluster":"search"} there
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # another field
    error: envoy.yaml: PLUGIN.configuration.value: is not what listener.invoker.yaml says, and no other plugin here runs that: failure_mode is "allow" here and "deny" there
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # no configuration
    error: envoy.yaml: PLUGIN.configuration: is missing; write Invoker's configuration as a google.protobuf.Struct
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # another type
    error: envoy.yaml: PLUGIN.configuration: is neither a google.protobuf.Struct nor a StringValue with a `value`; write "@type": type.googleapis.com/google.protobuf.Struct, and the configuration as `value`
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    # no plugin
    error: envoy.yaml: holds no Invoker plugin, neither among a listener's http_filters nor among a cluster's (envoy.extensions.upstreams.http.v3.HttpProtocolOptions)
    listener.invoker.yaml: not ok (1 error, 0 warnings)
    exit 1
    "#);
    insta::assert_snapshot!(all_found("upstream", &[
        ("another cluster's rule", "\"cluster\": \"*\"", "\"cluster\": \"search\""),
        ("not json", "value: '{", "value: '"),
    ]), @r#"
    # another cluster's rule
    error: envoy.yaml: CLUSTERS[0].typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.http_filters[0].typed_config.config.configuration.value.audiences[0].cluster: never matches here: this filter sees only cluster "profiles"; write "*", or leave the rule out
    error: envoy.yaml: CLUSTERS[0].typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.http_filters[0].typed_config.config.configuration.value: is not what upstream.invoker.json says, and no other plugin here runs that: audiences[0] is {"audience":"https://profiles.demo.run.app","cluster":"search"} here and {"audience":"https://profiles.demo.run.app","cluster":"*"} there
    upstream.invoker.json: not ok (2 errors, 0 warnings)
    exit 1
    # not json
    error: envoy.yaml: CLUSTERS[0].typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.http_filters[0].typed_config.config.configuration.value: found a string, expected an object with `credentials` and `audiences`
    error: envoy.yaml: CLUSTERS[0].typed_extension_protocol_options.envoy.extensions.upstreams.http.v3.HttpProtocolOptions.http_filters[0].typed_config.config.configuration.value: is not what upstream.invoker.json says, and no other plugin here runs that: audiences is nothing here and [{"audience":"https://profiles.demo.run.app","cluster":"*"}] there; credentials differ
    upstream.invoker.json: not ok (2 errors, 0 warnings)
    exit 1
    "#);
}
