"""A variant that runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from harness.envoy import Envoy
from harness.process import free_port
from harness.waiting import eventually

from .variants import Ports, Variant

# Under valgrind a VM takes seconds to start, one with 10,000 rules more.
PATIENCE = 180


@dataclass
class Setting:
    """What all measurements of a run share."""

    envoy: Path
    folder: Path
    vegeta: Path
    # How often each figure is taken, interleaved, so that what else the machine does falls on all alike.
    rounds: int


@dataclass
class Proxy:
    envoy: Envoy
    port: int
    # From the start of the process until it was ready, in seconds.
    started_in: float


@contextmanager
def running(
    setting: Setting,
    variant: Variant,
    metadata: int,
    *,
    service: int | None = None,
    workers: int = 1,
    http2: bool = False,
    launcher: Sequence[str | Path] = (),
    warm: bool = True,
) -> Iterator[Proxy]:
    """The variant's Envoy, with its token in place unless ``warm`` is off.

    Without ``service`` the same process answers, on a port of its own.
    """
    folder = setting.folder / f"{variant.name}-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    ports = Ports(metadata, service, 0 if service else free_port())
    configuration = folder / "envoy.json"
    configuration.write_text(json.dumps(variant.bootstrap(ports, folder, http2)))
    begun = time.monotonic()
    envoy = Envoy(setting.envoy, configuration, folder, workers=workers, launcher=launcher, patience=PATIENCE)
    proxy = Proxy(envoy, 0, time.monotonic() - begun)
    try:
        proxy.port = eventually(envoy.listeners, "a listener")["outbound"]
        if warm:
            eventually(lambda: is_served(proxy.port, variant, http2), f"{variant.name} to serve", PATIENCE)
        yield proxy
    finally:
        envoy.stop()


def is_served(port: int, variant: Variant, http2: bool) -> bool:
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=PATIENCE) as client:
        return client.get(f"http://127.0.0.1:{port}/", headers={"host": variant.hosts[0]}).status_code == 200
