"""Many wait for one fetch: some leave, some are too many, and the fetch itself may be lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.bootstrap import route, virtual_host
from harness.client import Leaver, at_once
from harness.emulator import Emulator
from harness.names import Fresh
from harness.sidecar import LISTENER, UPSTREAM, Launch
from harness.upstream import Upstream
from harness.waiting import eventually


def test_the_others_are_served_when_the_first_one_leaves(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, upstream: Upstream
) -> None:
    audience, path = fresh.audience("first-leaves"), fresh.path("first-leaves")
    sidecar = launch(place, workers=4, rules=[{"cluster": "profiles", "audience": audience}])
    with emulator.fault(audience=audience, delay="1s"):
        first = Leaver(sidecar.port, "profiles.test", path)
        emulator.wait_for_calls(audience, 1)
        others = [sidecar.start_request("profiles.test") for _ in range(20)]
        first.leave()
        assert {other.result().claims["aud"] for other in others} == {audience}
    assert len(emulator.calls(audience)) == 1
    assert upstream.arrived(path) == []


def test_the_token_is_kept_when_all_leave(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, upstream: Upstream
) -> None:
    audience, path = fresh.audience("all-leave"), fresh.path("all-leave")
    sidecar = launch(place, workers=4, rules=[{"cluster": "profiles", "audience": audience}])
    with emulator.fault(audience=audience, delay="1s"):
        leavers = [Leaver(sidecar.port, "profiles.test", path) for _ in range(20)]
        emulator.wait_for_calls(audience, 1)
        for leaver in leavers:
            leaver.leave()
        sidecar.envoy.wait_for_metric("fetches.succeeded", 1)
    assert sidecar.request("profiles.test").claims["aud"] == audience
    assert len(emulator.calls(audience)) == 1
    assert upstream.arrived(path) == []


def test_a_fetch_that_hangs_is_taken_over(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("taken-over")
    sidecar = launch(
        place,
        workers=4,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"timeout": "10s", "callout_timeout": "1s"},
    )
    with emulator.fault(audience=audience, hang=True, times=1):
        answers = at_once(100, sidecar.port, "profiles.test")
    assert {answer.status for answer in answers} == {200}
    assert len(emulator.calls(audience)) == 2


def test_nobody_waits_for_ever(launch: Launch, place: str, emulator: Emulator, fresh: Fresh) -> None:
    audience = fresh.audience("for-ever")
    sidecar = launch(
        place,
        workers=4,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"timeout": "2s", "callout_timeout": "2s"},
    )
    with emulator.fault(audience=audience, hang=True):
        answers = at_once(50, sidecar.port, "profiles.test", within=30)
    assert {answer.status for answer in answers} == {503}
    # Before its time is up, a request is never given up either: one try might still come back.
    assert min(answer.seconds for answer in answers) >= 1.9


def test_too_many_waiting_requests_are_refused_and_places_are_given_back(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("crowd")
    sidecar = launch(
        place,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"max_waiting_requests": 3, "timeout": "20s", "callout_timeout": "20s"},
    )
    with emulator.fault(audience=audience, hang=True):
        waiting = [Leaver(sidecar.port, "profiles.test") for _ in range(3)]
        sidecar.envoy.wait_for_metric("requests.waited", 3)
        refused = sidecar.request("profiles.test")
        assert (refused.status, refused.text.split(":")[1].strip()) == (503, "too_many_waiting")
        assert "invoker_too_many_waiting" in sidecar.logged(refused)["details"]
        for client in waiting:
            client.leave()

        def has_place() -> bool:
            """A client that waits is a client that had a place."""
            before = sidecar.envoy.metric("requests.denied")
            probe = Leaver(sidecar.port, "profiles.test")
            answered = probe.is_answered(within=1.0)
            probe.leave()
            return not answered and sidecar.envoy.metric("requests.denied") == before

        eventually(has_place, "a place to be free again")


@pytest.fixture
def slow_emulator(tmp_path: Path) -> Iterator[Emulator]:
    emulator = Emulator(tmp_path)
    emulator.add_fault(delay="1s")
    yield emulator
    emulator.stop()


def test_a_flood_of_cold_hosts_does_not_flood_the_metadata_server(launch: Launch, slow_emulator: Emulator) -> None:
    """At most 64 callouts in flight per credential and VM; the other hosts wait their turn."""
    hosts = [f"h{number}.derived.test" for number in range(150)]
    sidecar = launch(
        LISTENER,
        metadata_port=slow_emulator.port,
        rules=[{"authority": "*.derived.test", "audience": "https://{authority}"}],
        settings={"timeout": "20s", "callout_timeout": "10s"},
        virtual_hosts=[virtual_host("all", ["*"], [route("profiles")])],
    )
    waiting = [Leaver(sidecar.port, host) for host in hosts]
    most = 0
    deadline = time.monotonic() + 30
    while sidecar.envoy.metric("requests.authorized") < len(hosts):
        assert time.monotonic() < deadline, "not everyone was served"
        most = max(most, sum(call.status is None for call in slow_emulator.all_calls()))
    assert 32 < most <= 64
    assert {client.first_line().split()[1] for client in waiting} == {b"200"}
    assert len(slow_emulator.all_calls()) == len(hosts)


def test_the_route_s_own_timeout_ends_a_wait_too(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    """As an upstream filter it waits on the route's time; as a listener's filter before it. Nothing goes out."""
    audience, path = fresh.audience("short-route"), fresh.path("short-route")
    sidecar = launch(
        place,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"timeout": "3s", "callout_timeout": "3s"},
        virtual_hosts=[virtual_host("profiles", ["profiles.test"], [route("profiles", timeout="1s")])],
    )
    with emulator.fault(audience=audience, hang=True, times=1):
        assert sidecar.request("profiles.test", path).status == (504 if place == UPSTREAM else 503)
    assert upstream.arrived(path) == []
    # The one that gave up has not spoilt anything for those who come later.
    eventually(lambda: sidecar.request("profiles.test").status == 200, "to be served")
