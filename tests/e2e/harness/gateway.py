"""The gateway of envoy/gateway/invoker.yaml, on loopback: with nothing changed but addresses, roots and where the
module comes from."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from . import envoy_gateway
from .bootstrap import MODULE
from .client import Answer
from .cloud_run import SERVICES, CloudRun, audience_of, cloud_run
from .emulator import Emulator
from .envoy_gateway import EnvoyGateway, Resource
from .process import ROOT
from .upstream import Upstream

NAMESPACE = "cloud-run"
HOST = {service: f"{service}.example.com" for service in SERVICES}
HOSTS = list(HOST.values())


@dataclass
class World:
    """A gateway in front of two services, and everything around it."""

    gateway: EnvoyGateway
    emulator: Emulator
    upstream: Upstream
    resources: list[Resource]
    # The answers to the requests that came before any token was there, and the calls that were made for them.
    stampede: list[Answer] = field(default_factory=list)
    calls_for_stampede: dict[str, int] = field(default_factory=dict)

    def get(
        self, host: str, path: str = "/", headers: list[tuple[str, str]] | None = None, port: int | None = None
    ) -> Answer:
        with httpx.Client(trust_env=False, timeout=30) as client:
            url = f"http://127.0.0.1:{port or self.gateway.port()}{path}"
            answer = client.get(url, headers=[("host", host), *(headers or [])])
            return Answer(answer.status_code, answer.headers, answer.content, 0)

    def calls(self) -> dict[str, int]:
        return calls(self.emulator)

    def changed(self) -> list[Resource]:
        """The resources, to be changed and applied."""
        return copy.deepcopy(self.resources)

    def plugins(self) -> list[dict[str, Any]]:
        """The configurations of all Wasm plugins in Envoy's listener, as they serve."""
        listeners = self.gateway.config_dump("dynamic_listeners")
        return list(_plugins([listener["active_state"] for listener in listeners]))

    def invoker_configurations(self) -> list[dict[str, Any]]:
        return [json.loads(plugin["configuration"]["value"]) for plugin in self.plugins()]

    def module_path(self) -> str:
        """Where Envoy fetches its module from Envoy Gateway: a path of its own for each source."""
        (path,) = {plugin["vm_config"]["code"]["remote"]["http_uri"]["uri"] for plugin in self.plugins()}
        return str(path)


def _plugins(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if str(part.get("@type", "")).endswith(".wasm.v3.Wasm"):
            yield part["config"]
        for value in part.values():
            yield from _plugins(value)
    elif isinstance(part, list):
        for value in part:
            yield from _plugins(value)


@contextmanager
def started(
    folder: Path,
    envoy: Path,
    version: str,
    module_url: str,
    change: Callable[[list[Resource]], None] = lambda resources: None,
    **configuration: Any,
) -> Iterator[World]:
    """The gateway, and what it stands in front of. ``configuration``: Envoy Gateway's own."""
    with ExitStack() as stack:
        emulator, upstream = Emulator(folder / "emulator"), Upstream()
        stack.callback(upstream.stop)
        stack.callback(emulator.stop)
        cloud = stack.enter_context(cloud_run(envoy, folder / "cloud-run", emulator, upstream))
        resources = on_loopback(cloud, emulator, version, module_url)
        change(resources)
        running = envoy_gateway.running(folder / "gateway", envoy, version, resources, **configuration)
        yield World(stack.enter_context(running), emulator, upstream, resources)


def calls(emulator: Emulator) -> dict[str, int]:
    """For each service's audience."""
    return {service: len(emulator.calls(audience_of(service))) for service in SERVICES}


def shipped(name: str) -> list[Resource]:
    """The resources of envoy/gateway/NAME.yaml."""
    return list(yaml.safe_load_all((ROOT / "envoy/gateway" / f"{name}.yaml").read_text()))


def find(resources: list[Resource], kind: str, name: str) -> Resource:
    """The one resource of this kind and name."""
    found = [one for one in resources if one["kind"] == kind and one["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} resources {kind} {name}"
    return found[0]


def wasm(resources: list[Resource]) -> dict[str, Any]:
    """What the EnvoyExtensionPolicy says of Invoker."""
    invoker: dict[str, Any]
    (invoker,) = find(resources, "EnvoyExtensionPolicy", "invoker")["spec"]["wasm"]
    return invoker


def on_loopback(cloud: CloudRun, emulator: Emulator, envoy_version: str, module_url: str) -> list[Resource]:
    """envoy/gateway/invoker.yaml, changed."""
    resources = shipped("invoker")
    for service in SERVICES:
        find(resources, "Backend", service)["spec"]["endpoints"] = _endpoints(cloud.port)
        validation = find(resources, "BackendTLSPolicy", service)["spec"]["validation"]
        assert validation.pop("wellKnownCACertificates") == "System"
        validation["caCertificateRefs"] = [{"group": "", "kind": "ConfigMap", "name": "roots"}]
    find(resources, "Backend", "metadata")["spec"]["endpoints"] = _endpoints(emulator.port)
    run_by_host(find(resources, "EnvoyProxy", "cloud-run"), envoy_version)
    wasm(resources)["code"] = over_http(module_url)
    roots = {"ca.crt": cloud.roots.read_text()}
    metadata = {"name": "roots", "namespace": NAMESPACE}
    return [*resources, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": roots}]


def run_by_host(proxy: Resource, envoy_version: str) -> None:
    """What the EnvoyProxy says for Kubernetes stays, and is checked against its schema."""
    proxy["spec"]["provider"] |= {"type": "Host", "host": {"envoyVersion": envoy_version}}


def _endpoints(port: int) -> list[Resource]:
    return [{"ip": {"address": "127.0.0.1", "port": port}}]


def over_http(url: str) -> dict[str, Any]:
    return {"type": "HTTP", "http": {"url": url, "sha256": hashlib.sha256(MODULE.read_bytes()).hexdigest()}}
