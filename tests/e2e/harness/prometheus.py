"""A real Prometheus with the rules, alerts and queries that the repository ships."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx

from .process import ROOT, Process, tool
from .waiting import eventually

FOLDER = ROOT / "envoy" / "prometheus"
RULES = [FOLDER / "rules.yaml", FOLDER / "alerts.yaml"]

# Of a minute in the rules, so many seconds are left for the test. What they say about tokens' ends stays as it is.
MINUTE = 4


def program(name: str) -> Path:
    return tool("INVOKER_PROMETHEUS", "prometheus") / name


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def faster(text: str) -> str:
    """The same rules with shorter windows and waits."""
    return re.sub(r"(?<=[\[ ])(\d+)m(?=[\]\n])", lambda found: f"{int(found[1]) * MINUTE}s", text)


class Prometheus:
    def __init__(self, folder: Path, targets: list[str]) -> None:
        rules = []
        for source in RULES:
            rules.append(folder / source.name)
            rules[-1].write_text(faster(source.read_text()))
        configuration = folder / "prometheus.yaml"
        scrape = {
            "job_name": "envoy",
            "metrics_path": "/stats/prometheus",
            "static_configs": [{"targets": targets}],
        }
        document = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [scrape],
        }
        # JSON is YAML.
        configuration.write_text(json.dumps(document))
        arguments: list[str | Path] = [
            program("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
        ]
        self._process = Process(arguments, folder / "prometheus.log")
        self._http = httpx.Client(base_url=f"http://{self._address()}", trust_env=False, timeout=10)

    def _address(self) -> str:
        def announced() -> str | None:
            assert self._process.is_running(), f"Prometheus ended at once:\n{self._process.log()}"
            found = re.search(r"Listening on.*address=(127\.0\.0\.1:\d+)", self._process.log())
            return found.group(1) if found else None

        return eventually(announced, "Prometheus to say where it listens", 60)

    def stop(self) -> None:
        self._http.close()
        self._process.stop()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that it has now."""
        answer = self._http.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"]["result"])

    def firing(self) -> set[str]:
        alerts = self._http.get("/api/v1/alerts").json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}
