"""A proxy of an Istio mesh with all that it talks to, from resources of envoy/istio: only addresses and roots change."""

from __future__ import annotations

import copy
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from . import istio
from .bootstrap import MODULE, Json
from .client import Answer
from .emulator import LOGIN, Emulator
from .istio import Agent, Istiod
from .private_services import private_services
from .process import built
from .resolver import resolver
from .tls import Authority, in_front_of
from .upstream import Upstream

PROFILES, SEARCH = "profiles-abc123-uc.a.run.app", "search-abc123-uc.a.run.app"
# Behind the wildcard alone.
OTHERS = [f"{name}-xyz789-ew.a.run.app" for name in ("reviews", "billing", "catalog", "orders")]
OAUTH2 = "oauth2.googleapis.com"

# The second and third parts of each proxy's addresses, on which the ports are the protocols' own. Test processes side by
# side keep apart.
_process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_numbers = itertools.count(6)

# Changes resources that name no address of this machine, with the proxy's own address.
Change = Callable[[list[Json], "Mesh"], list[Json]]


class Mesh:
    """``address``: where the proxy is found, by ``application``'s change of the resources."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        envoy: Path,
        upstream: Upstream,
        resources: list[Json],
        change: Change,
        *,
        labels: dict[str, str],
        namespace: str,
        environment: dict[str, str] | None = None,
        features: dict[str, str] | None = None,
        **agent: Any,
    ) -> None:
        number = next(_numbers)
        self.address, cloud_run, name_server = (f"127.{_process}.{number}.{last}" for last in (80, 44, 53))
        self.folder = folder
        self.upstream = upstream
        self.key = folder / "key.json"
        self.emulator = Emulator(folder / "emulator", options=["--write-key", f"{LOGIN}={self.key}"])
        stack.callback(self.emulator.stop)
        self.authority = Authority(folder / "authority")

        def services(name: str, hosts: list[str], **where: Any) -> int:
            return stack.enter_context(
                private_services(
                    hosts, self.authority, self.emulator.port, upstream.port, envoy, folder / name, **where
                )
            )

        named = services("named", [PROFILES, SEARCH])
        services("others", OTHERS, address=cloud_run, port=443)
        oauth2 = stack.enter_context(
            in_front_of(self.emulator.port, [OAUTH2], self.authority, envoy, folder / "oauth2")
        )
        self.names = stack.enter_context(resolver(name_server, ".a.run.app", cloud_run))
        endpoints = {
            "metadata-server": self.emulator.port,
            "google-oauth2": oauth2,
            "profiles": named,
            "search": named,
        }
        self.resources = change(self._on_loopback(resources, endpoints), self)
        self.istiod = Istiod(folder / "istiod", self.resources, features)
        stack.callback(self.istiod.stop)
        # As the Secret would hold it for Google's own token endpoint.
        key = {**json.loads(self.key.read_text()), "token_uri": f"https://{OAUTH2}/token"}
        self.agent = Agent(
            folder / "agent",
            envoy,
            self.istiod,
            labels=labels,
            namespace=namespace,
            resolver=name_server,
            environment={"INVOKER_SA_KEY": json.dumps(key), **(environment or {})},
            **agent,
        )
        stack.callback(self.agent.stop)

    def _on_loopback(self, resources: list[Json], endpoints: dict[str, int]) -> list[Json]:
        """The same resources, with the addresses and the roots of this machine."""
        resources = copy.deepcopy(resources)
        for resource in resources:
            name, spec = resource["metadata"]["name"], resource["spec"]
            if resource["kind"] == "ServiceEntry" and name in endpoints:
                spec["endpoints"] = [{"address": "127.0.0.1", "ports": {"http": endpoints[name]}}]
            tls = spec.get("trafficPolicy", {}).get("tls", {})
            if tls.get("caCertificates") == "system":
                tls["caCertificates"] = str(self.authority.roots)
        return [resource for resource in resources if resource["kind"] != "Deployment"]

    def request(self, host: str, path: str = "/", **headers: str) -> Answer:
        with httpx.Client(trust_env=False, timeout=20) as client:
            answer = client.get(f"http://{self.address}{path}", headers={"host": host, **headers})
        return Answer(answer.status_code, answer.headers, answer.content, 0.0)

    def apply(self) -> None:
        """What ``resources`` says now."""
        self.istiod.apply(self.resources)


@contextmanager
def sidecar(
    folder: Path, envoy: Path, upstream: Upstream, resources: list[Json], **more: Any
) -> Iterator[Mesh]:
    """Login's."""
    with ExitStack() as stack:
        yield Mesh(
            stack, folder, envoy, upstream, resources, application, labels={"app": "login"}, namespace="login", **more
        )


def application(resources: list[Json], mesh: Mesh) -> list[Json]:
    """The application finds its sidecar at an address, where iptables would lead it there."""
    listener = {
        "port": {"number": 80, "name": "http", "protocol": "HTTP"},
        "bind": mesh.address,
        "captureMode": "NONE",
        "hosts": ["./*"],
    }
    way_in = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": "way-in", "namespace": "login"},
        "spec": {"workloadSelector": {"labels": {"app": "login"}}, "egress": [listener]},
    }
    return [*resources, way_in]


def with_module(resources: list[Json], url: str | None = None, **spec: Any) -> list[Json]:
    """With the module that was built here, or from where ``url`` says."""
    resources = copy.deepcopy(resources)
    for resource in resources:
        if resource["kind"] == "WasmPlugin":
            resource["spec"].update(url=url or f"file://{built(MODULE)}", **spec)
    return resources


def shipped(name: str) -> list[Json]:
    return with_module(istio.shipped(name))
