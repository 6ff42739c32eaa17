"""Clients that are not polite: many at once, gone before the answer, or writing their own bytes."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from .tokens import bearer, claims
from .upstream import Arrival


@dataclass(frozen=True)
class Answer:
    """What the client got."""

    status: int
    headers: httpx.Headers
    content: bytes
    seconds: float
    test_id: str = ""
    # When the request was sent, in seconds since the Unix epoch.
    sent: float = 0.0

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    @property
    def claims(self) -> dict[str, Any]:
        """Of the token with which the request arrived."""
        return claims(bearer(self.arrival.header("authorization")))

    @property
    def arrival(self) -> Arrival:
        """What arrived at the receiving service, which echoes it."""
        assert self.status == 200, f"{self.status}: {self.text}"
        body = httpx.Response(200, content=self.content).json()
        return Arrival(**{**body, "headers": [(name, value) for name, value in body["headers"]]})


def at_once(
    count: int, port: int, host: str, path: str = "/", within: float = 30.0, address: str = "127.0.0.1"
) -> list[Answer]:
    """So many clients, each on a connection of its own, all at the same moment."""

    async def one(client: httpx.AsyncClient) -> Answer:
        started, sent = time.monotonic(), time.time()
        answer = await client.get(f"http://{address}:{port}{path}", headers={"host": host})
        return Answer(answer.status_code, answer.headers, answer.content, time.monotonic() - started, sent=sent)

    async def all_of_them() -> list[Answer]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(limits=limits, timeout=within, trust_env=False) as client:
            return await asyncio.gather(*(one(client) for _ in range(count)))

    return asyncio.run(all_of_them())


class Leaver:
    """A client that has sent its request and can hang up."""

    def __init__(self, port: int, host: str, path: str = "/", body: int = 0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        length = f"content-length: {body}\r\n" if body else ""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n{length}\r\n".encode())

    def leave(self) -> None:
        self._socket.close()

    def first_line(self) -> bytes:
        """Of the answer, once it comes."""
        self._socket.settimeout(20)
        return self._socket.makefile("rb").readline()

    def is_answered(self, within: float) -> bool:
        """Whether anything comes back in so many seconds."""
        self._socket.settimeout(within)
        try:
            return bool(self._socket.recv(1))
        except TimeoutError:
            return False


def raw(port: int, request: bytes) -> bytes:
    """These bytes, and whatever comes back until the server closes. Ask for `connection: close`."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(request)
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


@dataclass
class Load:
    """What a steady load saw."""

    answers: list[Answer] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}

    def slowest(self) -> float:
        return max(answer.seconds for answer in self.answers)


@contextmanager
def load(request: Callable[[], Answer], clients: int = 4, pause: float = 0.01) -> Iterator[Load]:
    """Clients that ask again and again while the block runs."""
    result = Load()
    over = threading.Event()

    def client() -> None:
        while not over.is_set():
            try:
                result.answers.append(request())
            except (httpx.HTTPError, OSError) as error:
                result.errors.append(repr(error))
            over.wait(pause)

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield result
    finally:
        over.set()
        for thread in threads:
            thread.join(timeout=30)


def sweep(port: int, hosts: list[str], connections: int = 16) -> dict[bytes, int]:
    """One request to each host, as fast as it goes; how often each status came."""
    counts: dict[bytes, int] = {}

    async def one(mine: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for host in mine:
            writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            await reader.readexactly(length)
            status = head.split(b" ", 2)[1]
            counts[status] = counts.get(status, 0) + 1
        writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(one(hosts[start::connections]) for start in range(connections)))

    asyncio.run(all_of_them())
    return counts
