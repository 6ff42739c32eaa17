"""The real Envoy Gateway in its standalone mode: resources from a file, and an Envoy that it starts itself.

Some of its ports are fixed (xDS, the modules that it serves, its health), so only one at a time on a machine:
whoever comes second waits. What it writes stays in the test's own folder.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from .envoy import Envoy, tail
from .process import Process, tool
from .shipped import is_taken
from .waiting import eventually

PORTS = (8081, 18000, 18002)

Resource = dict[str, Any]


def envoy_gateway() -> Path:
    return tool("INVOKER_ENVOY_GATEWAY", "envoy-gateway")


class EnvoyGateway(Process):
    """Running, with the Envoy that it has started."""

    def __init__(
        self, folder: Path, envoy: Path, version: str, resources: list[Resource], configuration: Resource
    ) -> None:
        """``configuration``: parts of Envoy Gateway's own, in the place of what tests usually have."""
        self._folder = folder
        self._name = self._listener(next(one for one in resources if one["kind"] == "Gateway"))
        self._resources = folder / "resources" / "all.yaml"
        self._resources.parent.mkdir(parents=True)
        binary = folder / "data/envoy-versions" / version / "bin/envoy"
        binary.parent.mkdir(parents=True)
        binary.symlink_to(envoy)
        environment = {"HOME": str(folder / "home")}
        (folder / "home").mkdir()
        subprocess.run(
            [envoy_gateway(), "certgen", "--local", "--config-home", folder / "config"],
            env={**os.environ, **environment}, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        self.apply(resources)
        file = folder / "envoy-gateway.yaml"
        file.write_text(yaml.safe_dump({**self._configuration(), **configuration}))
        command = [envoy_gateway(), "server", "--config-path", file]
        super().__init__(command, folder / "gateway.log", environment)
        self._admin: httpx.Client | None = None

    def _configuration(self) -> Resource:
        folder = self._folder
        homes = {"configHome": "config", "dataHome": "data", "stateHome": "state", "runtimeDir": "run"}
        return {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyGateway",
            "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
            "provider": {
                "type": "Custom",
                "custom": {
                    "resource": {"type": "File", "file": {"paths": [str(self._resources.parent)]}},
                    "infrastructure": {
                        "type": "Host",
                        "host": {key: str(folder / name) for key, name in homes.items()},
                    },
                },
            },
            "admin": {"address": {"host": "127.0.0.1", "port": 0}},
            "telemetry": {"metrics": {"prometheus": {"disable": True}}},
            "extensionApis": {"enableBackend": True, "enableEnvoyPatchPolicy": True, "enableLua": True},
        }

    def apply(self, resources: list[Resource]) -> None:
        """In one piece: Envoy Gateway reads the folder whenever a file in it changes."""
        draft = self._resources.with_name(".draft")
        draft.write_text(yaml.safe_dump_all([*resources, *self._standalone(resources)]))
        draft.replace(self._resources)

    def _standalone(self, resources: list[Resource]) -> list[Resource]:
        """What Kubernetes has and a machine without it lacks.

        Envoy fetches modules from Envoy Gateway by a name that only a cluster's DNS knows, with a client
        certificate from a Secret and a CA from /certs. The listener takes a free port, on loopback.
        """
        certificates = self._folder / "config/certs/envoy"
        files = ("tls.crt", "tls.key")
        secret = {name: base64.b64encode((certificates / name).read_bytes()).decode() for name in files}
        gateway = next(one for one in resources if one["kind"] == "Gateway")
        namespace, name = gateway["metadata"]["namespace"], gateway["metadata"]["name"]

        def replace(kind: str, resource: str, path: str, value: Any) -> Resource:
            operation = {"op": "replace", "path": path, "value": value}
            return {"type": f"type.googleapis.com/envoy.config.{kind}", "name": resource, "operation": operation}

        listeners = [self._listener(gateway), "envoy-gateway-proxy-ready-0.0.0.0-19003"]
        loopback = {"address": "127.0.0.1", "port_value": 0}
        patches = [replace("listener.v3.Listener", one, "/address/socket_address", loopback) for one in listeners]
        context = "/transport_socket/typed_config/common_tls_context/validation_context/trusted_ca/filename"
        endpoint = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/address"
        patches += [
            replace("cluster.v3.Cluster", "wasm_cluster", context, str(certificates / "ca.crt")),
            replace("cluster.v3.Cluster", "wasm_cluster", endpoint, "127.0.0.1"),
        ]
        return [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "envoy", "namespace": "envoy-gateway-system"},
                "type": "kubernetes.io/tls",
                "data": secret,
            },
            {
                "apiVersion": "gateway.envoyproxy.io/v1alpha1",
                "kind": "EnvoyPatchPolicy",
                "metadata": {"name": "standalone", "namespace": namespace},
                "spec": {
                    "targetRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name},
                    "type": "JSONPatch",
                    "jsonPatches": patches,
                },
            },
        ]

    @staticmethod
    def _listener(gateway: Resource) -> str:
        """What Envoy Gateway calls the Gateway's one listener."""
        (listener,) = gateway["spec"]["listeners"]
        return "/".join([gateway["metadata"]["namespace"], gateway["metadata"]["name"], listener["name"]])

    @property
    def admin(self) -> httpx.Client:
        """Of the Envoy that it has started."""
        if self._admin is None:
            address = eventually(self._admin_address, "Envoy Gateway to start its Envoy", within=60)
            self._admin = httpx.Client(base_url=f"http://{address}", trust_env=False, timeout=30)
        return self._admin

    def _admin_address(self) -> str | None:
        assert self.is_running(), f"Envoy Gateway ended at once:\n{tail(self.log(), 15)}"
        return next((path.read_text() for path in (self._folder / "run").rglob("admin-address.txt")), None)

    def port(self) -> int:
        """Of the Gateway's listener, once Envoy has it."""

        def find_port() -> int | None:
            answer = self.admin.get("/listeners", params={"format": "json"}).json()
            ports = {
                one["name"]: int(one["local_address"]["socket_address"]["port_value"])
                for one in answer.get("listener_statuses", [])
            }
            return ports.get(self._name)

        port = eventually(find_port, "the Gateway's listener", within=60)
        # It has a port before anybody listens there.
        eventually(lambda: is_taken(port), "the Gateway's listener to listen", within=60)
        return port

    def config_dump(self, resource: str) -> list[Resource]:
        """`dynamic_active_clusters` and the like."""
        answer = self.admin.get("/config_dump", params={"resource": resource}).json()
        return list(answer.get("configs", []))

    def clusters(self, text: str) -> set[str]:
        """The names of those that serve and have this in their configuration."""
        clusters = [entry["cluster"] for entry in self.config_dump("dynamic_active_clusters")]
        return {cluster["name"] for cluster in clusters if text in json.dumps(cluster)}

    def wait_for_status(self, kind: str, text: str) -> None:
        """Its log has the newest status of a resource of this kind, as YAML."""

        def said() -> bool:
            return text in self.log().rpartition(f"Got new status for {kind}\n")[2]

        eventually(said, f"a status of {kind} that says {text!r}")

    def metric(self, name: str) -> int:
        """One of Invoker's counters or gauges."""
        return self.statistic(f"wasmcustom.invoker.{name}")

    def statistic(self, name: str) -> int:
        """One of Envoy's; 0 if there is none of this name."""
        answer = self.admin.get("/stats", params={"filter": f"^{re.escape(name)}$", "format": "json"}).json()
        return sum(int(one["value"]) for one in answer["stats"] if "name" in one)

    def stop(self) -> int:
        if self._admin is not None:
            self._admin.close()
        status = super().stop()
        Envoy.assert_clean(self.log())
        return status


@contextmanager
def running(
    folder: Path, envoy: Path, version: str, resources: list[Resource], **configuration: Any
) -> Iterator[EnvoyGateway]:
    """Waits for the ports, and keeps other tests from them."""
    with (Path(tempfile.gettempdir()) / "invoker-envoy-gateway.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        eventually(lambda: not [port for port in PORTS if is_taken(port)], f"the ports {PORTS} to be free", within=120)
        gateway = EnvoyGateway(folder, envoy, version, resources, configuration)
        try:
            yield gateway
        finally:
            gateway.stop()
