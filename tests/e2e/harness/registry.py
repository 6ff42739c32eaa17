"""A container registry on loopback, and the module as an image in it."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .process import Process, tool
from .waiting import eventually


def crane() -> Path:
    return tool("INVOKER_CRANE", "crane")


@dataclass(frozen=True)
class Registry:
    address: str
    folder: Path

    def push(self, module: Path, name: str) -> tuple[str, str]:
        """The image's reference and its digest, in hexadecimal.

        In the compat variant of the Wasm image specification: one tar+gzip layer that holds plugin.wasm.
        """
        layer = self.folder / "layer.tar.gz"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(module, "plugin.wasm")
        layer.write_bytes(gzip.compress(packed.getvalue(), compresslevel=1))
        image = f"{self.address}/{name}"
        command = [crane(), "append", "--oci-empty-base", "--new_layer", layer, "--new_tag", image]
        pushed = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=120)
        assert pushed.returncode == 0, pushed.stderr
        return image, pushed.stdout.strip().rpartition("@sha256:")[2]

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
