"""A receiving service: answers with what arrived, remembers it, and can be told to do otherwise."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from .waiting import eventually


@dataclass
class Arrival:
    """A request as the service saw it. Header names are lower case; the order is the wire's."""

    method: str
    path: str
    http_version: str
    headers: list[tuple[str, str]]
    body_length: int = 0
    body_sha256: str = ""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str | None:
        """The one value of this header: that there are two is never all right here."""
        values = self.all(name)
        assert len(values) <= 1, f"{len(values)} values of {name} arrived"
        return values[0] if values else None


@dataclass
class Behaviour:
    """What to do for a path, other than to answer with the arrival."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    # Answer only once this is set.
    hold: threading.Event | None = None
    # Answer in two pieces, the second once this is set.
    second_piece: threading.Event | None = None
    # Count down: that many requests get this behaviour, the next ones the usual answer.
    times: int | None = None


Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Upstream:
    """HTTP/1.1, HTTP/2 with prior knowledge, and WebSocket, on one port, in a thread."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self._behaviours: dict[str, Behaviour] = {}
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(512)
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="upstream", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        config = Config()
        # Its own from here on: closed twice, the number would be somebody else's the second time.
        config.bind = [f"fd://{self._socket.detach()}"]
        config.accesslog = config.errorlog = None
        config.keep_alive_timeout = 600
        config.graceful_timeout = 0.1
        config.h11_max_incomplete_size = 1 << 20
        config.h2_max_concurrent_streams = 1000
        self._loop.run_until_complete(
            serve(self._application, config, shutdown_trigger=self._stopping.wait)  # type: ignore[arg-type]
        )

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=10)

    def behave(self, path: str, **behaviour: Any) -> None:
        self._behaviours[path] = Behaviour(**behaviour)

    def arrived(self, path: str) -> list[Arrival]:
        """What came to this path (the query does not count)."""
        return [arrival for arrival in list(self.arrivals) if arrival.path.partition("?")[0] == path]

    def wait_for(self, path: str, count: int = 1) -> list[Arrival]:
        def enough() -> list[Arrival] | None:
            arrivals = self.arrived(path)
            return arrivals if len(arrivals) >= count else None

        return eventually(enough, f"{count} requests to {path}")

    async def _application(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        query = scope["query_string"].decode()
        arrival = Arrival(
            method=scope.get("method", "GET"),
            path=scope["raw_path"].decode() + (f"?{query}" if query else ""),
            http_version=scope["http_version"],
            headers=[(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]],
        )
        if scope["type"] == "websocket":
            await self._web_socket(arrival, receive, send)
        else:
            await self._request(arrival, scope["path"], receive, send)

    async def _request(self, arrival: Arrival, path: str, receive: Receive, send: Send) -> None:
        digest = hashlib.sha256()
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            digest.update(event.get("body", b""))
            arrival.body_length += len(event.get("body", b""))
            if not event.get("more_body"):
                break
        arrival.body_sha256 = digest.hexdigest()
        self.arrivals.append(arrival)
        behaviour = self._behaviour(path)
        if behaviour.hold is not None:
            await asyncio.to_thread(behaviour.hold.wait, 30)
        headers = {"content-type": "application/json", **behaviour.headers}
        body = json.dumps(asdict(arrival)).encode()
        await send(
            {
                "type": "http.response.start",
                "status": behaviour.status,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        if behaviour.second_piece is not None:
            await send({"type": "http.response.body", "body": b"first piece\n", "more_body": True})
            await asyncio.to_thread(behaviour.second_piece.wait, 30)
        await send({"type": "http.response.body", "body": body})

    def _behaviour(self, path: str) -> Behaviour:
        behaviour = self._behaviours.get(path, Behaviour())
        if behaviour.times is not None:
            if behaviour.times == 0:
                return Behaviour()
            behaviour.times -= 1
        return behaviour

    async def _web_socket(self, arrival: Arrival, receive: Receive, send: Send) -> None:
        await receive()
        self.arrivals.append(arrival)
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": json.dumps(asdict(arrival))})
        while (event := await receive())["type"] == "websocket.receive":
            if event.get("text") is not None:
                await send({"type": "websocket.send", "text": event["text"]})
            else:
                await send({"type": "websocket.send", "bytes": event["bytes"]})
