"""A running Envoy: its ports, its log, its statistics."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from .process import Process
from .tokens import JWT
from .waiting import eventually

# What no Envoy's log may hold: a VM that died, or the module saying that it is about to.
_CRASHES = [
    re.compile(r"\[critical\]\[wasm\].*wasm log"),
    re.compile(r"Function: \S+ failed"),
    re.compile(r"panicked at|Uncaught RuntimeError"),
    re.compile(r"assert failure|Caught Segmentation fault|Caught Aborted"),
]


class Envoy(Process):
    """An Envoy that serves, with Wasm log lines from info up in its log."""

    running: list[Envoy] = []

    def __init__(
        self,
        binary: Path,
        configuration: Path,
        folder: Path,
        *,
        workers: int = 1,
        wasm_log_level: str = "info",
        drain_seconds: int = 5,
        launcher: Sequence[str | Path] = (),
        environment: dict[str, str] | None = None,
        may_crash: bool = False,
        patience: float = 30,
    ) -> None:
        """``patience``: for how many seconds its start, or an answer of its admin page, is waited for."""
        self.may_crash = may_crash
        # Only where a test is about Envoy's own loggers, which Invoker has no say in.
        self.may_log_tokens = False
        self._admin_address = folder / "admin-address"
        super().__init__(
            [
                *(launcher or [binary]),
                "-c", configuration,
                "--concurrency", str(workers),
                "--disable-hot-restart",
                # How long the connections of a listener that was replaced may live on.
                "--drain-time-s", str(drain_seconds),
                "--file-flush-interval-msec", "50",
                "--admin-address-path", self._admin_address,
                "--log-level", "warning",
                "--component-log-level", f"wasm:{wasm_log_level}",
            ],
            folder / "envoy.log",
            environment,
        )  # fmt: skip
        Envoy.running.append(self)
        self._reported = 0
        self.admin = httpx.Client(
            base_url=f"http://{eventually(self._find_admin, 'Envoy to start', patience)}",
            trust_env=False,
            timeout=patience,
        )
        eventually(self.is_live, "Envoy to be live", patience)
        self.news()

    def _find_admin(self) -> str | None:
        if not self.is_running():
            raise AssertionError(f"Envoy ended at once:\n{tail(self.log(), 15)}")
        return self._admin_address.read_text() if self._admin_address.exists() else None

    def is_live(self) -> bool:
        if not self.is_running():
            raise AssertionError(f"Envoy ended at once:\n{tail(self.log(), 15)}")
        return bool(self.admin.get("/ready").status_code == 200)

    def listeners(self) -> dict[str, int]:
        """The listeners' real ports."""
        answer = self.admin.get("/listeners", params={"format": "json"}).json()
        return {
            entry["name"]: int(entry["local_address"]["socket_address"]["port_value"])
            for entry in answer.get("listener_statuses", [])
        }

    def statistic(self, name: str) -> int:
        """A counter or gauge of Envoy's own; 0 if there is none of this name."""
        answer = self.admin.get("/stats", params={"filter": f"^{re.escape(name)}$", "format": "json"}).json()
        for entry in answer["stats"]:
            if entry.get("name") == name:
                return int(entry["value"])
        return 0

    def metrics(self) -> dict[str, int]:
        """Invoker's counters and gauges, without what Envoy puts before their names.

        An older Envoy (1.36) counts in the upstream form for each cluster apart: that is added up.
        """
        answer = self.admin.get("/stats", params={"filter": r"(^|\.)wasmcustom\.invoker\.", "format": "json"}).json()
        metrics: dict[str, int] = {}
        for entry in answer["stats"]:
            if "name" in entry:
                name = entry["name"].partition("wasmcustom.invoker.")[2]
                metrics[name] = metrics.get(name, 0) + int(entry["value"])
        return metrics

    def metric(self, name: str) -> int:
        return self.metrics().get(name, 0)

    def wait_for_metric(self, name: str, value: int) -> None:
        eventually(lambda: self.metric(name) == value, f"{name} to be {value}")

    def slowest_fetch(self) -> float:
        """The histogram of fetches: its 100th percentile, in milliseconds; 0 without any."""
        text = self.admin.get("/stats", params={"filter": r"(^|\.)wasmcustom\.invoker\.fetch\.duration_ms"}).text
        slowest = re.findall(r"fetch\.duration_ms: .* P100\([^,]*,([0-9.]+)\)", text)
        return max(map(float, slowest), default=0)

    def resident_bytes(self) -> int:
        """What the operating system has given to this process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found.group(1)) * 1024

    def log_at_debug(self, logger: str) -> None:
        """``level`` is every logger, as on the admin page."""
        self.admin.post("/logging", params={logger: "debug"}).raise_for_status()

    def log_lines(self, pattern: str) -> list[str]:
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def wait_for_log(self, pattern: str, within: float = 15.0) -> list[str]:
        return eventually(lambda: self.log_lines(pattern), f"the log to say {pattern!r}", within)

    def news(self) -> str:
        """What the log holds since the last time one asked; for the reports of failed tests."""
        log = self.log()
        fresh, self._reported = log[self._reported :], len(log)
        return fresh

    def stop(self) -> int:
        """Ends it, and checks what no Envoy that ever ran here may have in its log."""
        ended_before = not self.is_running()
        status = super().stop()
        self.admin.close()
        Envoy.running.remove(self)
        log = self.log()
        if not self.may_crash:
            self.assert_no_crash(log)
            assert not ended_before, f"Envoy ended by itself, with {status}:\n{tail(log, 15)}"
        if not self.may_log_tokens:
            self.assert_no_token(log)
        return status

    @classmethod
    def assert_clean(cls, log: str) -> None:
        """No crash, no token."""
        cls.assert_no_crash(log)
        cls.assert_no_token(log)

    @staticmethod
    def assert_no_crash(log: str) -> None:
        crashes = [line for line in log.splitlines() if any(crash.search(line) for crash in _CRASHES)]
        assert not crashes, "the log speaks of a crash:\n" + "\n".join(crashes[:10])

    @staticmethod
    def assert_no_token(log: str) -> None:
        assert not JWT.search(log), "a token is in the log"


def validate(binary: Path, configuration: dict[str, Any], folder: Path) -> tuple[bool, str]:
    """What Envoy makes of a configuration: whether it takes it, and its log. It starts the plugins."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "envoy.json"
    path.write_text(json.dumps(configuration))
    process = Process(
        [binary, "--mode", "validate", "-c", path, "--log-level", "warning"], folder / "validate.log"
    )
    eventually(lambda: not process.is_running(), "Envoy to validate", 60)
    return process.stop() == 0, process.log()


def tail(text: str, lines: int) -> str:
    return "\n".join(text.splitlines()[-lines:])
