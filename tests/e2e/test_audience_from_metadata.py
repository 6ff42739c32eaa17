"""Routes and clusters that carry the audience themselves, in Invoker's words or in gcp_authn's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.bootstrap import Cluster, Json, hosts_of, message, route, virtual_host
from harness.client import Answer
from harness.envoy import validate
from harness.names import Fresh
from harness.sidecar import Launch, Layout, Sidecar
from harness.tokens import bearer, claims
from harness.upstream import Upstream


def ours(**fields: Any) -> Json:
    return {"invoker": fields}


def gcp_authn(**fields: Any) -> Json:
    return {"envoy.filters.http.gcp_authn": message("extensions.filters.http.gcp_authn.v3.Audience", **fields)}


CLUSTERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "annotated": {"metadata": ours(audience="https://annotated.test")},
    "disabled": {"metadata": ours(audience="https://disabled.test", disabled=True)},
    "enabled": {"metadata": ours(audience="https://enabled.test", disabled=False)},
    "gcp": {"typed_metadata": gcp_authn(url="https://gcp.test")},
    "gcp-odd": {"typed_metadata": gcp_authn(url="no-url-at-all")},
    "both": {"metadata": ours(audience="https://both.test"), "typed_metadata": gcp_authn(url="https://gcp.test")},
    "invalid": {"metadata": ours(audience="invalid.test")},
    "no-text": {"metadata": ours(audience=17)},
    "no-bool": {"metadata": ours(disabled="yes")},
    "with-rule": {},
    "annotated-with-rule": {"metadata": ours(audience="https://annotated.test")},
    "disabled-with-rule": {"metadata": ours(disabled=True)},
    "invalid-with-rule": {"metadata": ours(audience="invalid.test")},
}

RULES = [
    {"cluster": f"{prefix}with-rule", "audience": "https://rule.test"}
    for prefix in ("", "annotated-", "disabled-", "invalid-")
]

# Routes of the host `routes.test`, by path.
ROUTES: dict[str, tuple[str, Json]] = {
    "/route": ("plain", ours(audience="https://route.test")),
    "/route-before-cluster": ("annotated", ours(audience="https://route.test")),
    "/route-disabled": ("annotated", ours(disabled=True)),
    "/route-before-rule": ("with-rule", ours(audience="https://route.test")),
    "/route-invalid": ("annotated", ours(audience="ftp://route.test")),
}


def start(launch: Launch, place: str, upstream: Upstream, clusters: list[Cluster], **settings: Any) -> Sidecar:
    routes = [
        {**route(cluster, prefix=path), "metadata": {"filter_metadata": metadata}}
        for path, (cluster, metadata) in sorted(ROUTES.items(), reverse=True)
        if cluster in {c.name for c in clusters}
    ]
    return launch(
        place,
        clusters=clusters,
        rules=RULES,
        settings={"audience_from_metadata": True, **settings},
        virtual_hosts=[
            *(virtual_host(c.name, hosts_of(c.name), [route(c.name)]) for c in clusters),
            virtual_host("routes", ["routes.test"], [*routes, route("plain")]),
        ],
    )


@pytest.fixture(scope="module")
def sidecar(launch_shared: Launch, place: str, upstream: Upstream) -> Sidecar:
    clusters = [Cluster(name, upstream.port, **more) for name, more in CLUSTERS.items()]
    return start(launch_shared, place, upstream, clusters)


def audience_of(answer: Answer) -> str | None:
    value = answer.arrival.header("authorization")
    return None if value is None else str(claims(bearer(value))["aud"])


@pytest.mark.parametrize(
    ("cluster", "audience"),
    [
        ("plain", None),
        ("annotated", "https://annotated.test"),
        ("disabled", None),
        ("enabled", "https://enabled.test"),
        ("gcp", "https://gcp.test"),
        ("gcp-odd", "no-url-at-all"),
        ("both", "https://both.test"),
        ("with-rule", "https://rule.test"),
        ("annotated-with-rule", "https://annotated.test"),
        ("disabled-with-rule", None),
    ],
)
def test_what_a_cluster_says(sidecar: Sidecar, cluster: str, audience: str | None) -> None:
    for _ in range(2):
        assert audience_of(sidecar.request(f"{cluster}.test")) == audience


@pytest.mark.parametrize(
    ("path", "audience"),
    [
        ("/route", "https://route.test"),
        ("/route-before-cluster", "https://route.test"),
        ("/route-disabled", None),
        ("/route-before-rule", "https://route.test"),
        ("/nothing", None),
    ],
)
def test_what_a_route_says_goes_before_its_cluster_and_the_rules(
    sidecar: Sidecar, path: str, audience: str | None
) -> None:
    for _ in range(2):
        assert audience_of(sidecar.request("routes.test", path)) == audience


@pytest.mark.parametrize(
    ("host", "path", "names"),
    [
        ("invalid.test", "/", ["cluster", "invalid.test", "https://invalid.test"]),
        ("no-text.test", "/", ["cluster", "filter_metadata.invoker.audience"]),
        ("no-bool.test", "/", ["cluster", "filter_metadata.invoker.disabled", "true or false"]),
        ("invalid-with-rule.test", "/", ["cluster", "invalid.test"]),
        ("routes.test", "/route-invalid", ["route", "ftp://route.test"]),
    ],
)
def test_what_can_not_be_read_is_an_error_never_a_bypass(
    sidecar: Sidecar, upstream: Upstream, fresh: Fresh, host: str, path: str, names: list[str]
) -> None:
    path = f"{path.rstrip('/')}{fresh.path('invalid')}"
    answer = sidecar.request(host, path)
    assert answer.status == 500, answer.text
    assert answer.text.startswith("invoker: invalid_annotation: ")
    assert all(name in answer.text for name in names), answer.text
    assert "invoker_invalid_annotation" in sidecar.logged(answer)["details"]
    assert upstream.arrived(path) == []


@pytest.mark.parametrize(
    ("other_kind", "since"),
    [
        ({"bound_jwt": {"url": "https://bound.test"}}, (1, 39)),
        ({"bound_access_token": {"scopes": ["https://www.googleapis.com/auth/cloud-platform"]}}, (1, 40)),
    ],
    ids=["bound_jwt", "bound_access_token"],
)
def test_gcp_authn_s_other_kinds_are_an_error_never_a_bypass(
    launch: Launch,
    place: str,
    envoy_binary: Path,
    envoy_version: tuple[int, ...],
    upstream: Upstream,
    fresh: Fresh,
    tmp_path: Path,
    other_kind: Json,
    since: tuple[int, ...],
) -> None:
    clusters = [
        Cluster("plain", upstream.port),
        Cluster("gcp", upstream.port, typed_metadata=gcp_authn(**other_kind)),
    ]
    if envoy_version < since:
        # It does not have this kind, and says so.
        layout = Layout(place, clusters, None, settings={"audience_from_metadata": True})
        is_taken, log = validate(envoy_binary, layout.bootstrap(tmp_path), tmp_path)
        assert not is_taken and next(iter(other_kind)) in log
        return
    path = fresh.path("other-kind")
    sidecar = start(launch, place, upstream, clusters)
    answer = sidecar.request("gcp.test", path)
    assert answer.status == 500, answer.text
    assert "gcp_authn" in answer.text
    assert upstream.arrived(path) == []


def test_gcp_authn_s_access_token_kind_gets_an_access_token(
    launch: Launch, place: str, envoy_version: tuple[int, ...], upstream: Upstream, fresh: Fresh
) -> None:
    if envoy_version < (1, 40):
        # It has no other kinds: see above.
        return
    scopes = {"scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
    clusters = [
        Cluster("plain", upstream.port),
        Cluster("gcp", upstream.port, typed_metadata=gcp_authn(access_token=scopes)),
    ]
    path = fresh.path("access-token")
    sidecar = start(launch, place, upstream, clusters)
    answer = sidecar.request("gcp.test", path)
    assert answer.status == 200, answer.text
    (arrival,) = upstream.arrived(path)
    authorization = arrival.header("authorization") or ""
    assert authorization.startswith("Bearer ya29."), authorization


def test_without_the_option_annotations_mean_nothing(launch: Launch, place: str, upstream: Upstream) -> None:
    clusters = [Cluster(name, upstream.port, **CLUSTERS[name]) for name in ("plain", "annotated", "with-rule")]
    sidecar = start(launch, place, upstream, clusters, audience_from_metadata=False)
    assert audience_of(sidecar.request("annotated.test")) is None
    assert audience_of(sidecar.request("routes.test", "/route")) is None
    assert audience_of(sidecar.request("with-rule.test")) == "https://rule.test"
