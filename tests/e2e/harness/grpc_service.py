"""gRPC, both ends, without generated code: messages are bytes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

METHOD = "/test.Echo/Unary"
STREAM = "/test.Echo/Stream"


class GrpcService:
    """Answers with the metadata that arrived, as JSON; the stream does so for each message."""

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []
        self._server = grpc.server(ThreadPoolExecutor(8))
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
            "Stream": grpc.stream_stream_rpc_method_handler(self._stream),
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", handlers)])
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(grace=None).wait(5)

    def _unary(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        return self._arrived(context)

    def _stream(self, messages: Any, context: grpc.ServicerContext) -> Any:
        arrived = self._arrived(context)
        for _ in messages:
            yield arrived

    def _arrived(self, context: grpc.ServicerContext) -> bytes:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
        self.calls.append(metadata)
        return json.dumps(metadata).encode()


class GrpcClient:
    """One channel through a sidecar, to a host."""

    def __init__(self, port: int, host: str) -> None:
        options = [("grpc.default_authority", host), ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)

    def __enter__(self) -> GrpcClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def unary(self, message: bytes = b"hello") -> dict[str, str]:
        call = self._channel.unary_unary(METHOD)
        return dict(json.loads(call(message, timeout=20)))

    def stream(self, count: int) -> list[dict[str, str]]:
        call = self._channel.stream_stream(STREAM)
        return [json.loads(answer) for answer in call(iter([b"hello"] * count), timeout=20)]
