"""Everything that is more than a head: bodies, streams, upgrades, gRPC, and both versions of HTTP."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from harness.bootstrap import Cluster
from harness.client import Leaver
from harness.emulator import Emulator
from harness.grpc_service import GrpcClient, GrpcService
from harness.names import Fresh
from harness.sidecar import Launch, Sidecar
from harness.tokens import bearer, claims
from harness.upstream import Upstream
from harness.waiting import eventually
from websockets.sync.client import connect

DERIVED = [{"authority": "*.profiles.test", "audience": "https://{authority}"}]


@pytest.fixture(scope="module", params=[False, True], ids=["to_http1", "to_http2"])
def sidecar(request: pytest.FixtureRequest, launch_shared: Launch, place: str, upstream: Upstream) -> Sidecar:
    clusters = [Cluster("profiles", upstream.port, http2=request.param)]
    return launch_shared(place, clusters=clusters, rules=DERIVED, settings={"timeout": "10s", "callout_timeout": "8s"})


@pytest.fixture
def host(fresh: Fresh) -> str:
    """A host without a token."""
    return f"{fresh('service')}.profiles.test"


@pytest.fixture(params=[False, True], ids=["from_http1", "from_http2"])
def http2(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def noise(size: int) -> bytes:
    """Bytes that can't be confused with each other's neighbours."""
    return (hashlib.sha512(str(size).encode()).digest() * (size // 64 + 1))[:size]


def test_a_request_without_a_body(sidecar: Sidecar, host: str, http2: bool) -> None:
    assert sidecar.request(host, http2=http2).claims["aud"] == f"https://{host}"
    assert sidecar.request(host, http2=http2).claims["aud"] == f"https://{host}"


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000], ids=["empty", "1_byte", "100_KB", "3_MB"])
def test_a_body_waits_for_the_token_and_arrives_whole(
    sidecar: Sidecar, emulator: Emulator, host: str, http2: bool, size: int
) -> None:
    body = noise(size)
    with emulator.fault(audience=f"https://{host}", delay="700ms"):
        cold = sidecar.request(host, method="POST", content=body, http2=http2)
    warm = sidecar.request(host, method="POST", content=body, http2=http2)
    for answer in (cold, warm):
        assert answer.claims["aud"] == f"https://{host}"
        assert answer.arrival.body_length == size
        assert answer.arrival.body_sha256 == hashlib.sha256(body).hexdigest()


def test_a_body_is_not_sent_anywhere_when_there_is_no_token(
    sidecar: Sidecar, emulator: Emulator, upstream: Upstream, fresh: Fresh, host: str, http2: bool
) -> None:
    path = fresh.path("no-token")
    with emulator.fault(audience=f"https://{host}", status=403, delay="300ms"):
        answer = sidecar.request(host, path, method="POST", content=noise(500_000), http2=http2)
    assert answer.status == 500
    assert upstream.arrived(path) == []


def test_a_response_is_streamed(sidecar: Sidecar, upstream: Upstream, fresh: Fresh, host: str, http2: bool) -> None:
    path, second = fresh.path("streamed"), threading.Event()
    upstream.behave(path, second_piece=second)
    with httpx.Client(http1=not http2, http2=http2, trust_env=False, timeout=20) as client:
        with client.stream("GET", sidecar.url(path), headers={"host": host}) as answer:
            pieces = answer.iter_raw()
            # The second piece is not sent before the first has come.
            assert next(pieces).startswith(b"first piece")
            second.set()
            rest = b"".join(pieces)
    assert b'"path"' in rest


def test_a_web_socket(sidecar: Sidecar, host: str) -> None:
    for _ in range(2):
        with connect(f"ws://{host}/chat", sock=raw_socket(sidecar), close_timeout=1) as web_socket:
            arrived = dict(json.loads(web_socket.recv(timeout=10))["headers"])
            assert claims(bearer(arrived["authorization"]))["aud"] == f"https://{host}"
            for message in ("hello", b"\x00\x01", "x" * 100_000):
                web_socket.send(message)
                assert web_socket.recv(timeout=10) == message


def raw_socket(sidecar: Sidecar) -> socket.socket:
    return socket.create_connection(("127.0.0.1", sidecar.port), timeout=10)


@pytest.fixture(scope="module")
def grpc_service() -> Iterator[GrpcService]:
    service = GrpcService()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def grpc_sidecar(launch_shared: Launch, place: str, grpc_service: GrpcService) -> Sidecar:
    clusters = [Cluster("profiles", grpc_service.port, http2=True)]
    return launch_shared(
        place, clusters=clusters, rules=DERIVED, settings={"timeout": "1200ms", "callout_timeout": "1s"}
    )


def test_grpc_calls_arrive_with_a_token(grpc_sidecar: Sidecar, host: str) -> None:
    with GrpcClient(grpc_sidecar.port, host) as client:
        cold, warm = client.unary(), client.unary()
        streamed = client.stream(5)
    for arrived in (cold, warm, *streamed):
        assert claims(bearer(arrived["authorization"]))["aud"] == f"https://{host}"
    assert len(streamed) == 5


@pytest.mark.parametrize(
    ("fault", "status"),
    [({"status": 500}, grpc.StatusCode.UNAVAILABLE), ({"status": 403}, grpc.StatusCode.UNAUTHENTICATED)],
    ids=["passing", "permanent"],
)
def test_grpc_calls_are_denied_in_grpc_s_own_words(
    grpc_sidecar: Sidecar,
    grpc_service: GrpcService,
    emulator: Emulator,
    host: str,
    fault: dict[str, Any],
    status: grpc.StatusCode,
) -> None:
    before = len(grpc_service.calls)
    with emulator.fault(audience=f"https://{host}", **fault), GrpcClient(grpc_sidecar.port, host) as client:
        with pytest.raises(grpc.RpcError) as unary:
            client.unary()
        with pytest.raises(grpc.RpcError) as streamed:
            client.stream(1)
    for denied in (unary, streamed):
        assert denied.value.code() == status  # type: ignore[attr-defined]
        assert f"https://{host}" in denied.value.details()  # type: ignore[attr-defined]
    assert len(grpc_service.calls) == before


@pytest.fixture(scope="module")
def option_sidecar(launch_shared: Launch, place: str) -> Sidecar:
    return launch_shared(
        place,
        rules=DERIVED,
        settings={"timeout": "10s", "callout_timeout": "8s"},
        plugin={"allow_on_headers_stop_iteration": True},
    )


class TestAllowOnHeadersStopIteration:
    """An option of Envoy's plugins that lets a body overtake its waiting head, unless it is held too."""

    @pytest.mark.parametrize("size", [0, 1, 100_000], ids=["empty", "1_byte", "100_KB"])
    def test_a_body_still_waits_for_the_token(
        self, option_sidecar: Sidecar, emulator: Emulator, host: str, http2: bool, size: int
    ) -> None:
        body = noise(size)
        with emulator.fault(audience=f"https://{host}", delay="700ms"):
            cold = option_sidecar.request(host, method="POST", content=body, http2=http2)
        warm = option_sidecar.request(host, method="POST", content=body, http2=http2)
        for answer in (cold, warm):
            assert answer.claims["aud"] == f"https://{host}"
            assert answer.arrival.body_sha256 == hashlib.sha256(body).hexdigest()

    def test_a_body_beyond_the_buffer_is_refused_not_sent_without_a_token(
        self, option_sidecar: Sidecar, emulator: Emulator, upstream: Upstream, fresh: Fresh, host: str
    ) -> None:
        path = fresh.path("beyond")
        with emulator.fault(audience=f"https://{host}", delay="1s"):
            try:
                assert option_sidecar.request(host, path, method="POST", content=noise(3_000_000)).status == 413
            except httpx.TransportError:
                # Envoy may hang up on a client that is still sending.
                pass
        assert upstream.arrived(path) == []

    def test_a_large_body_passes_once_there_is_a_token(self, option_sidecar: Sidecar, host: str) -> None:
        assert option_sidecar.request(host).status == 200
        body = noise(3_000_000)
        answer = option_sidecar.request(host, method="POST", content=body)
        assert answer.arrival.body_sha256 == hashlib.sha256(body).hexdigest()

    def test_a_denied_request_s_body_goes_nowhere(
        self, option_sidecar: Sidecar, emulator: Emulator, upstream: Upstream, fresh: Fresh, host: str
    ) -> None:
        path = fresh.path("denied-body")
        with emulator.fault(audience=f"https://{host}", status=403, delay="300ms"):
            answer = option_sidecar.request(host, path, method="POST", content=noise(100_000))
            # The second one is denied at its head, before any of its body.
            again = option_sidecar.request(host, path, method="POST", content=noise(100_000))
        assert (answer.status, again.status) == (500, 500)
        assert upstream.arrived(path) == []


def test_a_client_that_leaves_with_its_body_half_sent_harms_nobody(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    audience, path = fresh.audience("half-sent"), fresh.path("half-sent")
    sidecar = launch(place, rules=[{"cluster": "profiles", "audience": audience}])
    with emulator.fault(audience=audience, delay="1s"):
        leaver = Leaver(sidecar.port, "profiles.test", path, body=1_000_000)
        emulator.wait_for_calls(audience, 1)
        leaver.leave()
        assert sidecar.request("profiles.test").status == 200
    eventually(lambda: sidecar.envoy.statistic("http.outbound.downstream_rq_active") == 0, "all requests to be over")
    assert upstream.arrived(path) == []
