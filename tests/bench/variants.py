"""What can stand in a request's way: each variant is a whole Envoy configuration.

All variants have the same listener, the same route and the same receiving service; only what adds
the token differs. The configurations are those that the README tells people to write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness import bootstrap
from harness.bootstrap import Cluster, Json, Plugin, message
from harness.process import TARGET

AUDIENCE = "https://profiles-abc123xyz-uc.a.run.app"
HOST = "profiles-abc123xyz-uc.a.run.app"
EMPTY_FILTER = TARGET / "empty-sdk-filter" / "wasm32-wasip1" / "release" / "empty_sdk_filter.wasm"


@dataclass(frozen=True)
class Ports:
    """Where a variant's Envoy finds the rest."""

    metadata: int
    # None: the same Envoy answers, on a second listener at `answering`.
    service: int | None
    answering: int = 0


@dataclass(frozen=True)
class Variant:
    name: str
    title: str
    # Adds to the listener's filters, the service's cluster and the route what the variant is.
    build: Callable[[Parts], None]
    # Requests go to these hosts in turn.
    hosts: tuple[str, ...] = (HOST,)

    def bootstrap(self, ports: Ports, folder: Path, http2: bool = False) -> Json:
        parts = Parts(Cluster("profiles", ports.service or ports.answering, http2=http2))
        self.build(parts)
        listeners = [parts.listener(folder)]
        if ports.service is None:
            listeners.append(answering(ports.answering))
        clusters = [parts.cluster.build(parts.upstream_filters), *parts.more_clusters]
        whole = bootstrap.bootstrap(listeners, [*clusters, Cluster("metadata", ports.metadata).build()])
        # The tests want statistics sooner than Envoy's default.
        return {**whole, "stats_flush_interval": "5s"}


@dataclass
class Parts:
    cluster: Cluster
    filters: list[Json] = field(default_factory=list)
    upstream_filters: list[Json] = field(default_factory=list)
    more_clusters: list[Json] = field(default_factory=list)
    route: Json = field(default_factory=lambda: bootstrap.route("profiles"))

    def listener(self, folder: Path) -> Json:
        host = bootstrap.virtual_host("all", ["*"], [self.route])
        return bootstrap.listener("outbound", [host], self.filters, folder / "access.log", {"access_log": []})


def answering(port: int) -> Json:
    """The receiving service, when it is to be in the same process: 2 bytes at once."""
    direct = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    host = bootstrap.virtual_host("all", ["*"], [direct])
    service = bootstrap.listener("service", [host], [], Path("/dev/null"), {"access_log": []})
    service["address"] = bootstrap.loopback(port)
    return service


def invoker(rules: list[Json], **settings: object) -> Json:
    """A plugin's configuration."""
    credentials = {"type": "metadata", "cluster": "metadata"}
    return {"credentials": credentials, **({"audiences": rules} if rules else {}), **settings}


def in_listener(rules: list[Json], **settings: object) -> Callable[[Parts], None]:
    return lambda parts: parts.filters.append(Plugin(invoker(rules, **settings)).http_filter())


def in_cluster(*, plugins: int = 1) -> Callable[[Parts], None]:
    """As an upstream filter; with more plugins, other clusters have theirs in the same VM."""

    def build(parts: Parts) -> None:
        filters = [
            Plugin(invoker([{"cluster": "*", "audience": f"{AUDIENCE}{n or ''}"}]), f"invoker-{n}").http_filter()
            for n in range(plugins)
        ]
        parts.upstream_filters.append(filters[0])
        for n, more in enumerate(filters[1:]):
            parts.more_clusters.append(Cluster(f"other-{n}", parts.cluster.port).build([more]))

    return build


def nothing(_: Parts) -> None:
    pass


def empty_filter(parts: Parts) -> None:
    parts.filters.append(Plugin({}, "empty", "empty", EMPTY_FILTER).http_filter())


def static_header(token: str) -> Callable[[Parts], None]:
    """A token that never changes: the floor of what any token costs on the wire."""

    def build(parts: Parts) -> None:
        header = {"key": "authorization", "value": f"Bearer {token}"}
        parts.route["request_headers_to_add"] = [
            {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ]

    return build


def gcp_authn(parts: Parts) -> None:
    """Envoy's own filter, with its cache."""
    uri = (
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity"
        "?audience=[AUDIENCE]&format=full"
    )
    config = message(
        "extensions.filters.http.gcp_authn.v3.GcpAuthnFilterConfig",
        http_uri={"uri": uri, "cluster": "metadata", "timeout": "5s"},
        cache_config={"cache_size": 100},
    )
    parts.filters.append({"name": "envoy.filters.http.gcp_authn", "typed_config": config})
    audience = message("extensions.filters.http.gcp_authn.v3.Audience", url=AUDIENCE)
    parts.cluster.typed_metadata["envoy.filters.http.gcp_authn"] = audience


def audience_from_metadata(parts: Parts) -> None:
    in_listener([], audience_from_metadata=True)(parts)
    parts.cluster.metadata["invoker"] = {"audience": AUDIENCE}


def by_cluster(*names: str) -> list[Json]:
    return [{"cluster": name, "audience": f"https://{name}-abc123xyz-uc.a.run.app"} for name in names]


def by_authority(count: int) -> list[Json]:
    """The last one is the one that matches."""
    hosts = [f"service-{n}-abc123xyz-uc.a.run.app" for n in range(count - 1)] + [HOST]
    return [{"authority": host, "audience": f"https://{host}"} for host in hosts]


def by_pattern(count: int) -> list[Json]:
    """The last one is the one that matches."""
    patterns = [f"*.service-{n}.example.com" for n in range(count - 1)] + ["*-uc.a.run.app"]
    return [{"authority": pattern, "audience": "https://{authority}"} for pattern in patterns]


NO_FILTER = Variant("none", "no filter", nothing)
GCP_AUTHN = Variant("gcp_authn", "gcp_authn, native C++, cache on", gcp_authn)
EMPTY = Variant("empty", "an empty filter on the Rust SDK, no token", empty_filter)
UPSTREAM = Variant("upstream", "Invoker in the cluster", in_cluster())
ONE_AUDIENCE = Variant(
    "listener", "Invoker in the listener, one audience for all", in_listener([{"cluster": "*", "audience": AUDIENCE}])
)


def hit_path(token: str) -> list[Variant]:
    three = ("search", "billing")
    return [
        NO_FILTER,
        Variant("static", "a static header with a token", static_header(token)),
        GCP_AUTHN,
        EMPTY,
        UPSTREAM,
        Variant("upstream-shared", "Invoker in two clusters that share a VM", in_cluster(plugins=2)),
        ONE_AUDIENCE,
        Variant("three-clusters", "Invoker, three cluster rules", in_listener(by_cluster(*three, "profiles"))),
        Variant("authority", "Invoker, three authority rules", in_listener(by_authority(3))),
        Variant("metadata", "Invoker, audience_from_metadata", audience_from_metadata),
        Variant("uncovered", "Invoker, a request that no rule covers", in_listener(by_cluster(*three, "orders"))),
    ]


def growth() -> list[Variant]:
    rules = [
        Variant(f"rules-{count}", f"{count:,} exact rules", in_listener(by_authority(count), prefetch=False))
        for count in (3, 100, 10_000)
    ]
    patterns = [
        Variant(f"patterns-{count}", f"{count} patterns", in_listener(by_pattern(count))) for count in (10, 100)
    ]
    derived = [{"authority": "*-uc.a.run.app", "audience": "https://{authority}"}]
    audiences = [
        Variant(
            f"audiences-{count}",
            f"{count:,} live audiences" if count > 1 else "1 live audience",
            in_listener(derived),
            tuple(f"service-{n:04}-abc-uc.a.run.app" for n in range(count)),
        )
        for count in (1, 10, 1000)
    ]
    return [*rules, *patterns, *audiences]
