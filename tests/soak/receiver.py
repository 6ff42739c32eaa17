"""The receiving service: looks at the token of each request as Cloud Run would, but for the signature."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter

from harness.tokens import bearer, claims


class Receiver:
    """``wrong`` says what arrived that never may: how often each."""

    def __init__(self) -> None:
        self.arrived = 0
        self.wrong: Counter[str] = Counter()
        self.port = 0

    async def open(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.port = int(server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = [line.partition(": ")[::2] for line in head.split("\r\n")[1:]]
                self.arrived += 1
                if problem := problem_of([(name.lower(), value) for name, value in headers]):
                    self.wrong[problem] += 1
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()


def problem_of(headers: list[tuple[str, str]]) -> str | None:
    """What is wrong with a request's token."""
    values = [value for name, value in headers if name == "authorization"]
    if len(values) != 1:
        return f"{len(values)} authorization headers"
    try:
        token = claims(bearer(values[0]))
    except (AssertionError, ValueError):
        return "no token"
    host = dict(headers)["host"]
    if token["aud"] != f"https://{host}":
        return f"a token for {token['aud']} at {host}"
    if token["exp"] <= time.time():
        return "an expired token"
    return None
