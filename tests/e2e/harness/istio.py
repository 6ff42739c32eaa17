"""Istio without Kubernetes: its own discovery server, the real pilot-agent, and the Envoy at hand.

What an agent fixes (its folder for modules, the resolver) is given to it in a mount namespace of its own, so
nothing outside of a test's folder changes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx
import yaml

from .bootstrap import Json
from .envoy import Envoy, tail
from .process import ROOT, Process, free_port, tool
from .waiting import eventually

# Filters that are only in Istio's own build of Envoy.
_OTHER_BUILD = {"PILOT_ENABLE_METADATA_EXCHANGE": "false", "PILOT_ENABLE_ALPN_FILTER": "false"}


def tools() -> Path:
    """A folder: istiod, istioctl, pilot-agent and the agent's bootstrap template."""
    return tool("INVOKER_ISTIO", "istio")


def shipped(name: str) -> list[Json]:
    """The resources of a file in envoy/istio."""
    return list(yaml.safe_load_all((ROOT / "envoy/istio" / f"{name}.yaml").read_text()))


def find(resources: list[Json], kind: str, name: str) -> Json:
    """The one resource of this kind and name."""
    (found,) = [one for one in resources if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


class Istiod:
    """Istio's discovery server over these resources, which can be changed."""

    def __init__(self, folder: Path, resources: list[Json], features: dict[str, str] | None = None) -> None:
        """``features``: environment variables of istiod's."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "resources.yaml"
        self._write(resources)
        self._log = folder / "istiod.log"
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(
                [tools() / "istiod", self._file],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **_OTHER_BUILD, **(features or {})},
            )
        self.address = self._line()

    def _write(self, resources: list[Json]) -> None:
        self._file.write_text(yaml.safe_dump_all(resources))

    def _line(self) -> str:
        assert self._child.stdout
        line = self._child.stdout.readline().strip()
        assert line, f"istiod has ended:\n{tail(self._log.read_text(), 20)}"
        return line

    def apply(self, resources: list[Json]) -> None:
        """As `kubectl apply` with everything that there is to be."""
        assert self._child.stdin
        self._write(resources)
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        verdict = self._line()
        assert verdict == "taken", verdict

    def stop(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        try:
            self._child.wait(timeout=20)
        finally:
            self._child.kill()
            self._child.wait()


class Agent(Process):
    """pilot-agent with its Envoy: a sidecar, or a gateway."""

    def __init__(
        self,
        folder: Path,
        envoy: Path,
        istiod: Istiod,
        *,
        kind: str = "sidecar",
        labels: dict[str, str],
        namespace: str,
        workers: int = 2,
        resolver: str | None = None,
        environment: dict[str, str] | None = None,
        may_crash: bool = False,
    ) -> None:
        """``resolver``: the address whose port 53 is asked for names."""
        self._may_crash = may_crash
        folder.mkdir(parents=True, exist_ok=True)
        self._admin_port, self._prometheus_port, status = free_port(), free_port(), free_port()
        (folder / "mesh.yaml").write_text(
            yaml.safe_dump(
                {
                    "defaultConfig": {
                        "binaryPath": str(envoy.resolve()),
                        "configPath": str(folder / "proxy"),
                        "discoveryAddress": istiod.address,
                        "controlPlaneAuthPolicy": "NONE",
                        "proxyAdminPort": self._admin_port,
                        "statusPort": status,
                        "concurrency": workers,
                        # Beside Istio's own choice.
                        "proxyStatsMatcher": {"inclusionRegexps": [r".*ssl\.fail_verify.*"]},
                    }
                }
            )
        )
        # A module folder of the agent's own, and its own resolver: nothing outside of the namespace sees them.
        private = ["mount -t tmpfs none /var/lib", "mkdir -p /var/lib/istio/data"]
        if resolver is not None:
            (folder / "resolv.conf").write_text(f"nameserver {resolver}\n")
            private.append(f"mount --bind '{folder / 'resolv.conf'}' /etc/resolv.conf")
        users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        template = folder / "bootstrap.json"
        # A waypoint's bootstrap asks for an extension that is only in Istio's own build of Envoy.
        text = (tools() / "envoy_bootstrap.json").read_text()
        template.write_text(text.replace("{{- if .metadata_discovery }}", "{{- if false }}"))
        arguments = [
            "unshare", "--mount", *users, "sh", "-ec", "; ".join([*private, 'exec "$@"']), "sh",
            tools() / "pilot-agent", "proxy", kind,
            "--meshConfig", folder / "mesh.yaml", "--templateFile", template,
            "--proxyLogLevel", "warning", "--proxyComponentLogLevel", "wasm:info",
            "--log_output_level", "wasm:debug",
        ]  # fmt: skip
        super().__init__(
            arguments,
            folder / "agent.log",
            {
                "POD_NAME": f"{labels.get('app', kind)}-0",
                "POD_NAMESPACE": namespace,
                "INSTANCE_IP": "127.0.0.1",
                "SERVICE_ACCOUNT": "default",
                "ISTIO_META_CLUSTER_ID": "Kubernetes",
                "ISTIO_META_ISTIO_VERSION": "1.31.0",
                "ISTIO_META_INTERCEPTION_MODE": "NONE",
                "ISTIO_METAJSON_LABELS": json.dumps(labels),
                "FILE_MOUNTED_CERTS": "true",
                "CA_ADDR": "none",
                "PILOT_CERT_PROVIDER": "none",
                "ENVOY_PROMETHEUS_PORT": str(self._prometheus_port),
                "ENVOY_STATUS_PORT": str(free_port()),
                **(environment or {}),
            },
            folder,
        )
        self.admin = httpx.Client(base_url=f"http://127.0.0.1:{self._admin_port}", trust_env=False, timeout=30)
        eventually(self._is_live, "the sidecar to be live", within=60)

    def _is_live(self) -> bool:
        assert self.is_running(), f"pilot-agent ended at once:\n{tail(self.log(), 20)}"
        try:
            return self.admin.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def dump(self, kind: str) -> list[Json]:
        """A part of Envoy's configuration: `ClustersConfigDump` and so on."""
        configs = self.admin.get("/config_dump").json()["configs"]
        return [config for config in configs if config["@type"].endswith(f".{kind}")]

    def statistic(self, pattern: str) -> int:
        """The sum of the counters and gauges whose names match."""
        stats = self.admin.get("/stats", params={"filter": pattern, "format": "json"}).json()["stats"]
        return sum(int(entry["value"]) for entry in stats if "value" in entry)

    def metric(self, name: str) -> int:
        return self.statistic(rf"wasmcustom\.invoker\.{re.escape(name)}$")

    def scrape(self) -> str:
        """What Prometheus gets: port 15090 of a real sidecar."""
        url = f"http://127.0.0.1:{self._prometheus_port}/stats/prometheus"
        return httpx.get(url, trust_env=False).raise_for_status().text

    def stop(self) -> int:
        self.admin.close()
        status = super().stop()
        if not self._may_crash:
            Envoy.assert_clean(self.log())
        return status


def istioctl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command: Sequence[str | Path] = [tools() / "istioctl", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
