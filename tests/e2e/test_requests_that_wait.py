"""Many wait for one fetch: some leave, some are too many, and the fetch itself may be lost."""

from __future__ import annotations

from harness.client import Leaver, at_once
from harness.emulator import Emulator
from harness.names import Fresh
from harness.sidecar import Launch
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
