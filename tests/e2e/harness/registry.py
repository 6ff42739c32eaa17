"""A registry of images on loopback (`crane registry serve`), and the project's image in it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from .process import ROOT, TARGET, Process, built
from .waiting import eventually

IMAGE = TARGET / "image"


def crane() -> Path:
    """scripts/test builds it."""
    path = os.environ.get("INVOKER_CRANE")
    if path is None:
        script = [ROOT / "scripts/install-envoy", "crane"]
        path = subprocess.run(script, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return built(Path(path))


class Registry:
    def __init__(self, folder: Path) -> None:
        self._process = Process([crane(), "registry", "serve", "--address", "127.0.0.1:0"], folder / "registry.log")
        self.address = eventually(self._announced, "the registry to say where it listens")

    def _announced(self) -> str | None:
        found = re.search(r"serving on (?:port )?(?:\S*:)?(\d+)", self._process.log())
        return f"127.0.0.1:{found.group(1)}" if found else None

    def push(self, image: Path = IMAGE, name: str = "invoker:0.1.0") -> str:
        """The image's name there."""
        target = f"{self.address}/{name}"
        subprocess.run([crane(), "push", built(image), target], check=True, capture_output=True, timeout=60)
        return target

    def stop(self) -> None:
        self._process.stop()
