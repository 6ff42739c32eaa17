"""Rules: which requests they cover, for which audience, and which authorities fool nobody."""

from __future__ import annotations

from typing import Any

import pytest
from harness.bootstrap import Cluster, route, virtual_host
from harness.client import Answer, raw
from harness.names import Fresh
from harness.sidecar import LISTENER, Launch, Sidecar
from harness.tokens import bearer, claims
from harness.upstream import Upstream

RULES = [
    {"authority": "health.run.example.com", "bypass": True},
    {"authority": "*.run.example.com", "audience": "https://{authority}"},
    {"authority": "profiles.example.com", "audience": "https://profiles.example.com"},
    {"authority": "functions.example.com", "path": "/resize", "audience": "https://functions.example.com/resize"},
    {"authority": "segments.example.com", "audience": "https://segments.example.com/{path_segment}"},
    {"authority": "ports.example.com:8443", "audience": "https://ports.example.com:8443"},
    {"cluster": "outbound|80||*.a.run.app", "audience": "https://by-cluster.example.com"},
    {"authority": "iap.example.com", "audience": "id.apps.googleusercontent.com"},
    {"authority": "custom.example.com", "custom_audience": "anything goes"},
    {"path": "/everywhere", "audience": "https://everywhere.example.com"},
    {"authority": "profiles.example.com", "audience": "https://never-reached.example.com"},
]


@pytest.fixture(scope="module")
def sidecar(launch_shared: Launch, place: str, upstream: Upstream) -> Sidecar:
    istio = [
        Cluster("outbound|80||*.a.run.app", upstream.port),
        Cluster("outbound|80||reviews.a.run.app", upstream.port),
        Cluster("PassthroughCluster", upstream.port),
        Cluster("InboundPassthroughCluster", upstream.port),
        Cluster("AllowAnyDynamicDNSCluster", upstream.port),
    ]
    return launch_shared(
        place,
        clusters=[Cluster("everything", upstream.port), *istio],
        rules=RULES,
        # Every host leads somewhere, so that only Invoker decides; the header names the cluster.
        virtual_hosts=[
            virtual_host(
                "all",
                ["*"],
                [
                    {
                        "match": {"prefix": "/", "headers": [{"name": "x-cluster", "present_match": True}]},
                        "route": {"cluster_header": "x-cluster"},
                    },
                    route("everything"),
                ],
            )
        ],
    )


def audience_of(answer: Answer) -> str | None:
    value = answer.arrival.header("authorization")
    return None if value is None else str(claims(bearer(value))["aud"])


@pytest.mark.parametrize(
    ("authority", "path", "audience"),
    [
        ("profiles.example.com", "/", "https://profiles.example.com"),
        ("profiles.example.com", "/any/path?and=query", "https://profiles.example.com"),
        ("PROFILES.Example.COM", "/", "https://profiles.example.com"),
        ("profiles.example.com:80", "/", "https://profiles.example.com"),
        ("profiles.example.com:443", "/", "https://profiles.example.com"),
        ("profiles.example.com.", "/", "https://profiles.example.com"),
        ("profiles.example.com.:443", "/", "https://profiles.example.com"),
        ("profiles.example.com:8080", "/", None),
        ("ports.example.com:8443", "/", "https://ports.example.com:8443"),
        ("ports.example.com", "/", None),
        ("a.run.example.com", "/", "https://a.run.example.com"),
        ("A.Run.example.com:443", "/", "https://a.run.example.com"),
        ("a.b.run.example.com", "/", "https://a.b.run.example.com"),
        ("run.example.com", "/", None),
        ("evilrun.example.com", "/", None),
        ("a.run.example.com.evil.test", "/", None),
        ("health.run.example.com", "/", None),
        ("functions.example.com", "/resize", "https://functions.example.com/resize"),
        ("functions.example.com", "/resize/", "https://functions.example.com/resize"),
        ("functions.example.com", "/resize/big?x=1", "https://functions.example.com/resize"),
        ("functions.example.com", "/resize?x=1", "https://functions.example.com/resize"),
        ("functions.example.com", "/resized", None),
        ("functions.example.com", "/", None),
        ("functions.example.com", "/?path=/resize", None),
        ("segments.example.com", "/resize/big?x=1", "https://segments.example.com/resize"),
        ("segments.example.com", "/", None),
        ("segments.example.com", "/?x", None),
        ("iap.example.com", "/", "id.apps.googleusercontent.com"),
        ("custom.example.com", "/", "anything goes"),
        ("unknown.example.com", "/", None),
        ("unknown.example.com", "/everywhere/else", "https://everywhere.example.com"),
    ],
)
def test_authorities_and_paths(sidecar: Sidecar, authority: str, path: str, audience: str | None) -> None:
    for _ in range(2):
        assert audience_of(sidecar.request(authority, path)) == audience


@pytest.mark.parametrize(
    "authority",
    [
        "user@a.run.example.com",
        "a.run.example.com@evil.test",
        "evil.test#.run.example.com",
        "evil.test/.run.example.com",
        "evil.test?.run.example.com",
        "evil.test\\.run.example.com",
        "evil.test%2f.run.example.com",
        "%61.run.example.com",
        "evil.test,a.run.example.com",
        "evil.test:80,a.run.example.com",
        "a_b.run.example.com",
        "-a.run.example.com",
        "a-.run.example.com",
        ".run.example.com",
        "a..run.example.com",
        "[::1].run.example.com",
        "[a.run.example.com]",
        "a.run.example.com:",
        "a.run.example.com:0443",
        "a.run.example.com:443:443",
        "a.run.example.com:99999",
        "a.run.example.com:x",
        "a.run.example.com..",
        f"{'a' * 64}.run.example.com",
        f"{'a.' * 120}run.example.com",
        "xn--ü.run.example.com",
        "*.run.example.com",
        "a.run.example.com evil.test",
        "{authority}.run.example.com",
    ],
)
def test_an_authority_that_is_no_plain_host_name_gets_no_token(sidecar: Sidecar, fresh: Fresh, upstream: Upstream, authority: str) -> None:
    path = fresh.path("evil")
    for http_version in ("1.1", "1.0"):
        request = f"GET {path} HTTP/{http_version}\r\nhost: {authority}\r\nconnection: close\r\n\r\n"
        answer = raw(sidecar.port, request.encode())
        # Envoy refuses some of them itself, which is as good.
        assert answer == b"" or answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 426")), answer
    for arrival in upstream.arrived(path):
        assert arrival.header("authorization") is None


def test_an_absolute_url_decides_by_the_url_s_host(sidecar: Sidecar, fresh: Fresh, upstream: Upstream) -> None:
    """As a client does that uses the sidecar as its HTTP proxy."""
    path = fresh.path("absolute")
    raw(
        sidecar.port,
        f"GET http://a.run.example.com{path} HTTP/1.1\r\nhost: b.run.example.com\r\nconnection: close\r\n\r\n".encode(),
    )
    (arrival,) = upstream.arrived(path)
    assert claims(bearer(arrival.header("authorization")))["aud"] == "https://a.run.example.com"
    assert arrival.header("host") == "a.run.example.com"


@pytest.mark.parametrize(
    ("cluster", "audience"),
    [
        ("outbound|80||*.a.run.app", "https://by-cluster.example.com"),
        ("outbound|80||reviews.a.run.app", "https://by-cluster.example.com"),
        ("everything", None),
    ],
)
def test_clusters(launch: Launch, place: str, sidecar: Sidecar, cluster: str, audience: str | None) -> None:
    answer = sidecar.request("unknown.example.com", headers=[("x-cluster", cluster)])
    assert audience_of(answer) == audience


@pytest.mark.parametrize(
    "cluster", ["PassthroughCluster", "InboundPassthroughCluster", "AllowAnyDynamicDNSCluster"]
)
def test_a_rule_without_a_cluster_does_not_cover_istio_s_passthrough(sidecar: Sidecar, cluster: str) -> None:
    """Plain text, to an address or a host that the client chose."""
    for authority in ("profiles.example.com", "a.run.example.com"):
        answer = sidecar.request(authority, headers=[("x-cluster", cluster)])
        assert audience_of(answer) is None


def test_the_first_rule_that_matches_decides(launch: Launch, place: str, upstream: Upstream) -> None:
    rules: list[dict[str, Any]] = [
        {"cluster": "profiles", "path": "/public", "bypass": True},
        {"cluster": "profiles", "path": "/admin", "audience": "https://admin.test"},
        {"cluster": "profiles", "audience": "https://profiles.test"},
    ]
    sidecar = launch(place, rules=rules)
    assert audience_of(sidecar.request("profiles.test", "/public/logo")) is None
    assert audience_of(sidecar.request("profiles.test", "/admin")) == "https://admin.test"
    assert audience_of(sidecar.request("profiles.test", "/administrator")) == "https://profiles.test"


def test_a_thousand_rules_are_no_different(launch: Launch, upstream: Upstream) -> None:
    rules = [{"authority": f"service-{n}.test", "audience": f"https://service-{n}.test"} for n in range(1000)]
    sidecar = launch(
        LISTENER, rules=rules, virtual_hosts=[virtual_host("all", ["*"], [route("profiles")])]
    )
    for number in (0, 500, 999):
        assert audience_of(sidecar.request(f"service-{number}.test")) == f"https://service-{number}.test"
    assert audience_of(sidecar.request("service-1000.test")) is None
