"""Steady and full load, by vegeta."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from .proxy import Setting


@dataclass
class Load:
    """What a load saw."""

    # In milliseconds, sorted.
    latencies: list[float]
    failed: int
    seconds: float

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))]

    def figures(self) -> dict[str, float]:
        return {
            "requests": len(self.latencies),
            "failed": self.failed,
            "median_ms": round(statistics.median(self.latencies), 3),
            "p99_ms": round(self.percentile(99), 3),
            "p99_9_ms": round(self.percentile(99.9), 3),
            "max_ms": round(self.latencies[-1], 3),
        }


def attack(
    setting: Setting, port: int, hosts: Sequence[str], *, seconds: int, rate: int | None = None, connections: int = 16
) -> Load:
    """``rate`` requests a second, or as many as ``connections`` can have answered one after the other."""
    targets = "\n\n".join(f"GET http://127.0.0.1:{port}/users/1\nHost: {host}" for host in hosts)
    pace = ["-rate", f"{rate}/1s"] if rate else ["-rate", "0", "-max-workers", str(connections)]
    command = [
        setting.vegeta, "attack", *pace, "-duration", f"{seconds}s", "-timeout", "30s",
        "-connections", str(connections), "-workers", str(connections),
    ]  # fmt: skip
    shot = subprocess.run(command, input=targets.encode(), capture_output=True, check=True)
    told = subprocess.run(
        [setting.vegeta, "encode", "--to", "json"], input=shot.stdout, capture_output=True, check=True
    )
    results = [json.loads(line) for line in told.stdout.splitlines()]
    latencies = sorted(result["latency"] / 1e6 for result in results)
    return Load(latencies, sum(result["code"] != 200 for result in results), seconds)
