"""A child process with a log file, that does not outlive the tests."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "target"


class Process:
    """Started at once; ``stop`` ends it, and only it, by its id."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        log: Path,
        environment: dict[str, str] | None = None,
        folder: Path = ROOT,
    ) -> None:
        self.log_path = log
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                cwd=folder,
            )
        atexit.register(self.kill)

    @property
    def pid(self) -> int:
        return self._child.pid

    def is_running(self) -> bool:
        return self._child.poll() is None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def freeze(self) -> None:
        """As a laptop's lid or a throttled container does it.

        Returns when every thread has stopped: on a busy machine one may run on for a moment.
        """
        self._child.send_signal(signal.SIGSTOP)
        eventually(self._is_stopped, "all threads to stop")

    def _is_stopped(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task").glob("*/stat")
        return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)

    def thaw(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """Ends it as an operator would, and gives its exit status."""
        if self.is_running():
            self.thaw()
            self._child.terminate()
        try:
            return self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end on SIGTERM; its log: {self.log_path}") from None
        finally:
            atexit.unregister(self.kill)

    def kill(self) -> None:
        if self.is_running():
            self._child.kill()
            self._child.wait()


def built(path: Path) -> Path:
    """A file that scripts/build or scripts/test makes."""
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not built: run the suite with 'scripts/test e2e', or scripts/build first"
        )
    return path


def tool(variable: str, name: str) -> Path:
    """What scripts/test has installed, and names in this variable; alone, scripts/install-envoy does."""
    path = os.environ.get(variable)
    if path is None:
        script = [ROOT / "scripts/install-envoy", name]
        path = subprocess.run(script, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return built(Path(path))


def free_port() -> int:
    """A port on which nobody listens: for what is to be refused, never for a server."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
