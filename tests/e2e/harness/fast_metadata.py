"""A metadata server for volume: unsigned tokens, thousands a second, in a thread.

The emulator signs each token, which is what takes the time there. Invoker can't check signatures.
"""

from __future__ import annotations

import asyncio
import threading
import time
from urllib.parse import parse_qs, urlsplit

from .tokens import unsigned


class FastMetadata:
    def __init__(self) -> None:
        self.calls = 0
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
            audience = parse_qs(urlsplit(target).query)["audience"][0]
            token = unsigned(aud=audience, exp=int(time.time()) + 3600, email="login@demo.test")
            self._server.calls += 1
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nmetadata-flavor: Google\r\ncontent-length: %d\r\n\r\n%s"
                % (len(token), token.encode())
            )
