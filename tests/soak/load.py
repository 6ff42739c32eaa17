"""The clients: so many requests a second, evenly over all hosts, on connections that live for a while."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

# A request waits for its token for 5 s at most: who gets nothing for so long was forgotten.
PATIENCE = 20.0
REQUESTS_PER_CONNECTION = 100
# One in so many clients hangs up, if its answer is not there by then: half of them as soon as they have asked, half after a while.
LEAVES = 100
SOON, LATER = 0.002, 2.0


@dataclass(frozen=True)
class Outcome:
    """What one client saw. ``status`` is 0 where no answer came, and None if the client left."""

    host: str
    sent: float
    ended: float
    status: int | None
    body: str = ""


class Clients:
    def __init__(self, port: int, hosts: Sequence[str], rate: int) -> None:
        self.outcomes: list[Outcome] = []
        self._port = port
        self._hosts = itertools.cycle(hosts)
        self._rate = rate
        self._idle: list[Connection] = []
        self._running: set[asyncio.Task[None]] = set()
        self._chance = random.Random(1)

    async def run(self, until: float) -> None:
        """Until that moment, and then until every answer is there."""
        started = time.time()
        for count in itertools.count():
            due = started + count / self._rate
            if due >= until:
                break
            await asyncio.sleep(max(0.0, due - time.time()))
            task = asyncio.create_task(self._request(next(self._hosts)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        await asyncio.gather(*self._running)

    async def _request(self, host: str) -> None:
        leaves_after = None
        if self._chance.randrange(LEAVES) == 0:
            leaves_after = self._chance.choice([SOON, LATER]) * self._chance.random()
        connection = self._idle.pop() if self._idle else Connection()
        sent = time.time()
        try:
            async with asyncio.timeout(PATIENCE if leaves_after is None else leaves_after):
                status, body = await connection.get(self._port, host)
        except TimeoutError:
            status, body = (0, "no answer") if leaves_after is None else (None, "")
            connection.cut()
        except (OSError, asyncio.IncompleteReadError) as error:
            status, body = 0, repr(error)
            connection.cut()
        else:
            if connection.requests < REQUESTS_PER_CONNECTION:
                self._idle.append(connection)
            else:
                connection.cut()
        self.outcomes.append(Outcome(host, sent, time.time(), status, body))


class Connection:
    """HTTP/1.1, as little of it as these answers need."""

    def __init__(self) -> None:
        self.requests = 0
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, port: int, host: str) -> tuple[int, str]:
        """The answer's status and body. A connection that Envoy has closed in the meantime is made anew."""
        self.requests += 1
        if self._streams and not self._streams[0].at_eof():
            try:
                return await self._exchange(*self._streams, host)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                # Closed in between, as an HTTP client must expect; not one byte of an answer was there.
                if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                    raise
                self.cut()
        self._streams = await asyncio.open_connection("127.0.0.1", port)
        return await self._exchange(*self._streams, host)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> tuple[int, str]:
        writer.write(f"GET /users/1 HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        lengths = [line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0])) if lengths else b""
        if "connection: close" in head:
            self.cut()
        return int(head.split(" ", 2)[1]), body.decode(errors="replace")

    def cut(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
            self._streams = None
