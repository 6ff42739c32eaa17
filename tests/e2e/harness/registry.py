"""A container registry on loopback, and the project's image in it."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .process import TARGET, Process, built, tool
from .waiting import eventually

# scripts/build --image makes it.
IMAGE = TARGET / "image"


def crane() -> Path:
    return tool("INVOKER_CRANE", "crane")


@dataclass(frozen=True)
class Registry:
    address: str
    folder: Path

    def push(self, name: str, image: Path = IMAGE) -> tuple[str, str]:
        """The image's reference there, and its digest in hexadecimal."""
        reference = f"{self.address}/{name}"
        command = [crane(), "push", built(image), reference]
        pushed = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=120)
        assert pushed.returncode == 0, pushed.stderr
        return reference, pushed.stdout.strip().rpartition("@sha256:")[2]

    def digest(self, name: str) -> str | None:
        """What is there under this name."""
        command = [crane(), "digest", f"{self.address}/{name}"]
        said = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=60)
        return said.stdout.strip() if said.returncode == 0 else None

    def _environment(self) -> dict[str, str]:
        """Nobody's own registry credentials."""
        return {**os.environ, "DOCKER_CONFIG": str(self.folder)}


@contextmanager
def registry(folder: Path) -> Iterator[Registry]:
    folder.mkdir(parents=True, exist_ok=True)
    server = Process([crane(), "registry", "serve", "--address", "127.0.0.1:0"], folder / "registry.log")

    def address() -> str | None:
        assert server.is_running(), f"the registry ended at once:\n{server.log()}"
        found = re.search(r"serving on port (\d+)", server.log())
        return f"127.0.0.1:{found.group(1)}" if found else None

    try:
        yield Registry(eventually(address, "the registry to say where it listens"), folder)
    finally:
        server.stop()
