"""Whatever hosts clients make up, whatever the metadata server sends: nothing grows without bound."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.bootstrap import Cluster, route, virtual_host
from harness.client import Leaver, sweep
from harness.emulator import Emulator
from harness.fast_metadata import FastMetadata
from harness.names import Fresh
from harness.sidecar import LISTENER, Launch, Sidecar
from harness.tokens import claims
from harness.upstream import Upstream
from harness.waiting import eventually

MEBIBYTE = 1 << 20
# What 80,000 more tokens of 300 bytes would take at the very least, kept once.
ALL_TOKENS = 80_000 * 300
DERIVED = [{"authority": "*.derived.test", "audience": "https://{authority}"}]


@pytest.fixture
def fast_metadata() -> Iterator[FastMetadata]:
    server = FastMetadata()
    yield server
    server.stop()


def heap(sidecar: Sidecar) -> int:
    """What Envoy itself says that it has allocated; the virtual machines' memory lies outside of it."""
    return int(sidecar.envoy.admin.get("/memory").json()["allocated"])


def start_for_a_flood(launch: Launch, place: str, fast_metadata: FastMetadata) -> Sidecar:
    """The metadata server is the receiving service too: what counts is that both are fast."""
    return launch(
        place,
        workers=2,
        metadata_port=fast_metadata.port,
        clusters=[Cluster("receiver", fast_metadata.port)],
        rules=DERIVED,
        virtual_hosts=[virtual_host("all", ["*"], [route("receiver")])],
    )


def flood(sidecar: Sidecar, start: int, end: int) -> None:
    statuses = sweep(sidecar.port, [f"h{number}.derived.test" for number in range(start, end)])
    assert statuses == {b"200": end - start}


def test_a_hundred_thousand_made_up_hosts_leave_memory_flat(
    launch: Launch, place: str, fast_metadata: FastMetadata
) -> None:
    sidecar = start_for_a_flood(launch, place, fast_metadata)
    flood(sidecar, 0, 20_000)
    settled, settled_heap = sidecar.envoy.resident_bytes(), heap(sidecar)
    flood(sidecar, 20_000, 100_000)
    print(
        f"RSS {settled >> 10} -> {sidecar.envoy.resident_bytes() >> 10} KiB, heap {settled_heap >> 10} -> "
        f"{heap(sidecar) >> 10} KiB"
    )
    assert fast_metadata.calls >= 100_000
    assert sidecar.envoy.resident_bytes() < settled + ALL_TOKENS // 2
    assert heap(sidecar) < settled_heap + ALL_TOKENS // 4
    eventually(lambda: 0 < sidecar.envoy.metric("tokens.cached") <= 1000, "the tokens to be counted")
    # It still does what it is for: the last one is there, and the first one can be had again.
    before = fast_metadata.calls
    flood(sidecar, 99_999, 100_000)
    flood(sidecar, 0, 1)
    assert before < fast_metadata.calls <= before + 2


def test_hosts_that_come_often_are_kept_while_others_come_and_go(launch: Launch, fast_metadata: FastMetadata) -> None:
    sidecar = start_for_a_flood(launch, LISTENER, fast_metadata)
    flood(sidecar, 0, 1)
    for turn in range(1, 80):
        flood(sidecar, 100 * turn, 100 * (turn + 1))
        flood(sidecar, 0, 1)
    assert fast_metadata.asked["https://h0.derived.test"] <= 2


def test_twenty_megabytes_from_the_metadata_server_are_an_error_and_not_kept(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    name = fresh("huge")
    sidecar = launch(
        place,
        rules=[{"authority": "*.profiles.test", "audience": "https://{authority}"}],
        settings={"timeout": "8s", "callout_timeout": "8s"},
    )
    audiences = [f"https://{name}-{number}.profiles.test" for number in range(12)]
    assert sidecar.request("well.profiles.test").status == 200
    settled = 0
    for number, audience in enumerate(audiences):
        with emulator.fault(audience=audience, status=200, body_size=20 * MEBIBYTE):
            answer = sidecar.request(audience.removeprefix("https://"))
        assert answer.status == 500
        assert answer.text.startswith("invoker: malformed_answer: ")
        if number == 3:
            settled = sidecar.envoy.resident_bytes()
    # Eight more of them, kept, would be 160 MiB.
    assert sidecar.envoy.resident_bytes() < settled + 40 * MEBIBYTE
    assert sidecar.request("well.profiles.test").status == 200


@pytest.mark.parametrize(("length", "status"), [(60, 200), (65, 500)], ids=["below", "above"])
def test_answers_above_64_kibibytes_are_errors(
    launch: Launch, emulator: Emulator, fresh: Fresh, length: int, status: int
) -> None:
    """A good token in front of so much blank space that it may be too much."""
    audience = fresh.audience("padded")
    sidecar = launch(LISTENER, rules=[{"cluster": "profiles", "audience": audience}])
    padding = " " * (length * 1024)
    with emulator.fault(audience=audience, token={"suffix": padding}):
        answer = sidecar.request("profiles.test")
    assert answer.status == status, answer.text
    if status == 500:
        assert answer.text.startswith("invoker: malformed_answer: ")


@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_tokens_above_8_kibibytes_are_errors(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, excess: int
) -> None:
    name = fresh("long")
    audience, probe = f"https://a.{name}.test", f"https://b.{name}.test"
    rules = [
        {"cluster": "profiles", "path": "/probe", "audience": probe},
        {"cluster": "profiles", "audience": audience},
    ]
    sidecar = launch(place, rules=rules)
    token = (sidecar.request("profiles.test", "/probe").arrival.header("authorization") or "").removeprefix("Bearer ")
    assert claims(token)["aud"] == probe
    # Longer in its signature, which the receiver is to check.
    suffix = "A" * (8 * 1024 + excess - len(token))
    with emulator.fault(audience=audience, token={"suffix": suffix}):
        answer = sidecar.request("profiles.test")
    assert answer.status == (500 if excess > 0 else 200), answer.text
    if excess > 0:
        assert answer.text.startswith("invoker: malformed_answer: ")


def test_clients_that_left_give_their_places_back_again_and_again(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    audience, path = fresh.audience("places"), fresh.path("places")
    sidecar = launch(
        place,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"max_waiting_requests": 8, "timeout": "60s", "callout_timeout": "50s"},
        manager={"stream_idle_timeout": "80s"},
    )
    metric = sidecar.envoy.metric

    def enter() -> Leaver | None:
        """A client that waits, or None if there is no place."""
        waited, denied = metric("requests.waited"), metric("requests.denied")
        client = Leaver(sidecar.port, "profiles.test", path)
        eventually(lambda: metric("requests.waited") > waited or metric("requests.denied") > denied, "a place or not")
        if metric("requests.waited") > waited:
            return client
        client.leave()
        return None

    with emulator.fault(audience=audience, hang=True):
        for _ in range(3):
            clients = [eventually(enter, "a place") for _ in range(8)]
            assert enter() is None
            for client in clients:
                client.leave()
    assert upstream.arrived(path) == []
