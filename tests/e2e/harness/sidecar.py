"""An Envoy with Invoker in one of its two places, and requests through it.

Without more words, the hosts ``NAME.test`` and ``ANY.NAME.test`` lead to the cluster NAME. In the
upstream form, each cluster that a rule can match gets the plugin, with those rules; in the listener
form the one plugin has them all.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from time import monotonic, time
from typing import Any

import httpx

from . import bootstrap
from .bootstrap import Cluster, Json, Plugin
from .client import Answer
from .envoy import Envoy
from .process import TARGET, built
from .waiting import eventually

UPSTREAM = "upstream"
LISTENER = "listener"

# Short, so that a test of what runs out does not take long; the order is the default's.
SETTINGS: Json = {"timeout": "3s", "callout_timeout": "2s", "prefetch": False}


@dataclass
class Layout:
    """What stands where: everything about a sidecar that does not change while it runs."""

    place: str
    clusters: list[Cluster]
    metadata_port: int | None
    rules: list[Json] = field(default_factory=list)
    # Everything else in Invoker's configuration; replaces or adds to SETTINGS.
    settings: Json = field(default_factory=dict)
    # More fields of the plugin: failure_policy, allow_on_headers_stop_iteration.
    plugin: Json = field(default_factory=dict)
    vm_id: str = "invoker"
    module: Path = bootstrap.MODULE
    # Instead of the hosts that lead to each cluster.
    virtual_hosts: list[Json] | None = None
    # More fields of the HttpConnectionManager.
    manager: Json = field(default_factory=dict)
    # More fields of the metadata server's cluster.
    metadata_cluster: Json = field(default_factory=dict)
    # More clusters for callouts, all of which lead to where the metadata server is.
    callout_clusters: list[str] = field(default_factory=list)
    # Envoy's environment variables that Invoker may see.
    environment: dict[str, str] = field(default_factory=dict)
    # Filters before Invoker in the listener.
    filters_before: list[Json] = field(default_factory=list)

    def bootstrap(self, folder: Path) -> Json:
        """Envoy's whole configuration, with everything in one place."""
        return bootstrap.bootstrap(self.listener_resources(folder / "access.log"), self.cluster_resources())

    def check(self, folder: Path) -> subprocess.CompletedProcess[str]:
        """What `invoker check` says about it."""
        config, envoy = folder / "invoker.json", folder / "envoy.json"
        # In the upstream form each cluster has its own; the first one's stands for them.
        rules = self.rules if self.place == LISTENER else next(filter(None, map(self._rules_of, self.clusters)))
        config.write_text(json.dumps(self.config(rules)))
        envoy.write_text(json.dumps(self.bootstrap(folder)))
        command = [built(TARGET / "release" / "invoker"), "check", config, "--bootstrap", envoy]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def explain(self, folder: Path, cluster: str, authority: str) -> str:
        """What `invoker explain` says of a request."""
        config = folder / "explained.json"
        config.write_text(json.dumps(self.config(self.rules)))
        request = ["--cluster", cluster, "--authority", authority]
        command = [built(TARGET / "release" / "invoker"), "explain", config, *request]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def config(self, rules: list[Json]) -> Json:
        config = {
            "credentials": {"type": "metadata", "cluster": "metadata"},
            **SETTINGS,
            **({"audiences": rules} if rules else {}),
            **self.settings,
        }
        # None takes a default out again.
        return {name: value for name, value in config.items() if value is not None}

    def _plugin(self, rules: list[Json], name: str) -> Json:
        plugin = Plugin(self.config(rules), name, self.vm_id, self.module, list(self.environment), self.plugin)
        return plugin.http_filter()

    def _rules_of(self, cluster: Cluster) -> list[Json]:
        """The rules that can match in this cluster; what names it says `*` there, as people write it."""
        return [
            {**rule, "cluster": "*"} if rule.get("cluster") == cluster.name else rule
            for rule in self.rules
            if fnmatchcase(cluster.name, str(rule.get("cluster", "*")).replace("[", "[[]"))
        ]

    def cluster_resources(self) -> list[Json]:
        built = []
        for cluster in self.clusters:
            rules = self._rules_of(cluster) if self.place == UPSTREAM else []
            wanted = rules or (self.place == UPSTREAM and self.settings.get("audience_from_metadata"))
            built.append(cluster.build([self._plugin(rules, cluster.name)] if wanted else None))
        metadata = Cluster("metadata", self.metadata_port, extra=self.metadata_cluster)
        others = [Cluster(name, self.metadata_port).build() for name in self.callout_clusters]
        return [*built, metadata.build(), *others]

    def listener_resources(self, access_log: Path) -> list[Json]:
        hosts = self.virtual_hosts
        if hosts is None:
            hosts = [
                bootstrap.virtual_host(cluster.name, bootstrap.hosts_of(cluster.name), [bootstrap.route(cluster.name)])
                for cluster in self.clusters
            ]
        ours = [self._plugin(self.rules, "outbound")] if self.place == LISTENER else []
        return [bootstrap.listener("outbound", hosts, [*self.filters_before, *ours], access_log, self.manager)]


class Sidecar:
    """A layout that runs."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        layout: Layout,
        *,
        workers: int = 1,
        wasm_log_level: str = "info",
        drain_seconds: int = 5,
        changeable: bool = False,
        may_crash: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.layout = layout
        self._folder = folder
        self._access_log = folder / "access.log"
        self._version = 0
        configuration = folder / "envoy.json"
        if changeable:
            self._publish()
            configuration.write_text(json.dumps(bootstrap.from_files(folder)))
        else:
            configuration.write_text(json.dumps(layout.bootstrap(folder)))
        self.envoy = Envoy(
            binary,
            configuration,
            folder,
            workers=workers,
            wasm_log_level=wasm_log_level,
            drain_seconds=drain_seconds,
            may_crash=may_crash,
            environment=layout.environment,
        )
        self.port = eventually(self.envoy.listeners, "a listener")["outbound"]
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        common: dict[str, Any] = {"limits": limits, "timeout": 30, "trust_env": False}
        # A connection for each request, so that every worker gets some.
        self._http1 = httpx.Client(**common)
        self._http2 = httpx.Client(http1=False, http2=True, **common)
        self._pool = ThreadPoolExecutor(64)

    def stop(self) -> None:
        self._pool.shutdown(wait=True)
        self._http1.close()
        self._http2.close()
        self.envoy.stop()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def request(
        self,
        host: str,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        content: bytes | None = None,
        http2: bool = False,
    ) -> Answer:
        """One request, and its answer."""
        with self._lock:
            test_id = str(next(self._ids))
        client = self._http2 if http2 else self._http1
        started, sent = monotonic(), time()
        answer = client.request(
            method,
            self.url(path),
            headers=[("host", host), ("x-test-id", test_id), *headers],
            content=content,
        )
        return Answer(answer.status_code, answer.headers, answer.content, monotonic() - started, test_id, sent)

    def start_request(self, host: str, path: str = "/", **more: Any) -> Future[Answer]:
        """A request whose answer may take its time."""
        return self._pool.submit(self.request, host, path, **more)

    def access_log(self) -> list[dict[str, Any]]:
        if not self._access_log.exists():
            return []
        return [json.loads(line) for line in self._access_log.read_text().splitlines() if line.endswith("}")]

    def logged(self, answer: Answer) -> dict[str, Any]:
        """The access log's entry for this answer."""

        def entry() -> dict[str, Any] | None:
            return next((entry for entry in self.access_log() if entry["id"] == answer.test_id), None)

        return eventually(entry, "the access log to be written")

    # What follows needs `changeable`.

    def _publish(self) -> None:
        """The clusters first, since the listener's routes name them."""
        self._version += 1
        clusters = self.layout.cluster_resources()
        listeners = self.layout.listener_resources(self._access_log)
        bootstrap.publish(self._folder / "clusters.json", bootstrap.CLUSTER_TYPE, clusters, self._version)
        bootstrap.publish(self._folder / "listeners.json", bootstrap.LISTENER_TYPE, listeners, self._version)

    def update(self) -> bool:
        """Puts the layout as it is now to Envoy, and gives its verdict: whether it was taken."""
        name = "listener_manager.lds" if self.layout.place == LISTENER else "cluster_manager.cds"
        before = self._updates(name)
        self._publish()
        return eventually(lambda: self._verdict(name, before), "Envoy's verdict on the update") == "taken"

    def _updates(self, name: str) -> tuple[int, int]:
        statistic = self.envoy.statistic
        return statistic(f"{name}.update_success"), statistic(f"{name}.update_rejected")

    def _verdict(self, name: str, before: tuple[int, int]) -> str | None:
        taken, rejected = self._updates(name)
        if taken == before[0] and rejected == before[1]:
            return None
        return "taken" if taken > before[0] else "rejected"


# What the fixtures `launch` and `launch_shared` are: launch(place, rules=[...], workers=4).
Launch = Callable[..., Sidecar]
