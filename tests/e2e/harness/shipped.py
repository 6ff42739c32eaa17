"""What the repository ships, run as it is: envoy/*.yaml on their own ports, with the demo's services.

The ports are fixed, so only one at a time on a machine: whoever comes second waits.
"""

from __future__ import annotations

import fcntl
import re
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from .emulator import LOGIN, Emulator
from .envoy import Envoy
from .process import ROOT, Process
from .waiting import eventually

CALLING_SIDE, CALLING_SIDE_ADMIN, EMULATOR = 18100, 18101, 18110
RECEIVING_SIDE, RECEIVING_SIDE_ADMIN, PROFILES, SEARCH = 18120, 18121, 18131, 18132
PORTS = (CALLING_SIDE, CALLING_SIDE_ADMIN, EMULATOR, RECEIVING_SIDE, RECEIVING_SIDE_ADMIN, PROFILES, SEARCH)

PROFILES_ACCOUNT = "profiles@demo.iam.gserviceaccount.com"


@contextmanager
def the_ports() -> Iterator[None]:
    """Waits for the ports, and keeps other tests from them."""
    with (Path(tempfile.gettempdir()) / "invoker-shipped-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        eventually(lambda: not [port for port in PORTS if is_taken(port)], f"the ports {PORTS} to be free", within=120)
        yield


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Demo:
    """The receiving side, ready; tests start the calling side."""

    folder: Path
    emulator: Emulator
    # Login's key file.
    key: Path

    def get(self, port: int, host: str, headers: Sequence[tuple[str, str]] = ()) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=20) as client:
            return client.get(f"http://127.0.0.1:{port}/", headers=[("host", f"{host}.localhost:{port}"), *headers])

    def token(self, audience: str, account: str = "default", query: str = "&format=full") -> str:
        """As any program on the machine could get one."""
        path = f"/computeMetadata/v1/instance/service-accounts/{account}/identity?audience={audience}{query}"
        answer = httpx.get(f"{self.emulator.url}{path}", headers={"metadata-flavor": "Google"}, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.text.strip()


@contextmanager
def demo(folder: Path, envoy: Path) -> Iterator[Demo]:
    """The emulator, two services, and envoy/receiver.yaml in front of them."""
    with the_ports(), ExitStack() as stack:
        accounts = [LOGIN, PROFILES_ACCOUNT]
        key = folder / "key.json"
        emulator = Emulator(
            folder / "emulator",
            accounts=accounts,
            listen=f"127.0.0.1:{EMULATOR}",
            options=["--write-key", f"{LOGIN}={key}"],
        )
        stack.callback(emulator.stop)
        for name, port in (("profiles", PROFILES), ("search", SEARCH)):
            service = Process([sys.executable, ROOT / "scripts/lib/service.py", name, str(port)], folder / f"{name}.log")
            stack.callback(service.stop)
            eventually(lambda port=port: is_taken(port), f"the service {name}")
        stack.enter_context(running(envoy, "receiver", folder, RECEIVING_SIDE_ADMIN))
        yield Demo(folder, emulator, key)


@contextmanager
def running(
    envoy: Path,
    name: str,
    folder: Path,
    admin: int,
    *,
    func_e: Path | None = None,
    file: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Process]:
    """`envoy -c envoy/NAME.yaml`, or the same with func-e, in the repository's root. The flag lets
    several Envoys run on one machine. ``file``: a changed copy."""
    environment = dict(environment or {})
    command: list[str | Path] = [envoy]
    if func_e is not None:
        command = [func_e, "run"]
        environment |= {
            "ENVOY_PATH": str(envoy),
            **{f"FUNC_E_{kind}_HOME": str(folder / "func-e") for kind in ("CONFIG", "DATA", "STATE")},
            "FUNC_E_RUNTIME_DIR": str(folder / "func-e"),
        }
    arguments = [*command, "-c", file or f"envoy/{name}.yaml", "--use-dynamic-base-id", "--concurrency", "2"]
    process = Process(arguments, folder / f"{name}.log", environment)
    try:
        eventually(lambda: is_ready(process, admin), f"envoy/{name}.yaml to be ready", within=60)
        yield process
    finally:
        process.stop()
        eventually(lambda: not is_taken(admin), "Envoy to be gone")
    Envoy.assert_clean(process.log())


def is_ready(process: Process, admin: int) -> bool:
    assert process.is_running(), f"it ended at once:\n{process.log()[-2000:]}"
    try:
        return httpx.get(f"http://127.0.0.1:{admin}/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def plain(text: str) -> str:
    """Without a terminal's colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
