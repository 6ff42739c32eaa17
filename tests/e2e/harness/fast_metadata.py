"""A metadata server for volume: unsigned tokens, thousands a second, in a thread.

The emulator signs each token, which is what takes the time there. Invoker can't check signatures.
What is no call for a token is answered with an empty 200: it can be the receiving service as well.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from .tokens import unsigned


class FastMetadata:
    def __init__(self) -> None:
        self.calls = 0
        # How often each audience was asked for.
        self.asked: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=512)
        )
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, name="fast metadata", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)


class _Connection(asyncio.Protocol):
    def __init__(self, server: FastMetadata) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            target = head.split(b" ", 2)[1].decode()
            asked = parse_qs(urlsplit(target).query).get("audience")
            if asked is None:
                self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                continue
            audience = asked[0]
            token = unsigned(aud=audience, exp=int(time.time()) + 3600, email="login@demo.test")
            self._server.calls += 1
            self._server.asked[audience] += 1
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nmetadata-flavor: Google\r\ncontent-length: %d\r\n\r\n%s"
                % (len(token), token.encode())
            )
