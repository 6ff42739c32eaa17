"""A process that was stopped and goes on: a laptop's lid, a throttled container.

No timer runs meanwhile, so a token can be long over when the next request looks at it. A token with a
life of 36 s serves for 6 s, since the last 30 s are not used.
"""

from __future__ import annotations

import time
from concurrent.futures import Future

from harness.client import Answer
from harness.emulator import Emulator
from harness.names import Fresh
from harness.sidecar import Launch, Sidecar
from harness.upstream import Upstream
from harness.waiting import eventually

MARGIN = 30
SHORT = {"lifetime": "36s"}


def freeze_until(sidecar: Sidecar, unix_time: float) -> float:
    """Stops it until that time; gives the time at which it went on."""
    sidecar.envoy.freeze()
    try:
        eventually(lambda: time.time() > unix_time, "the time to go on", within=60)
    finally:
        thawed_at = time.time()
        sidecar.envoy.thaw()
    return thawed_at


def assert_alive(answers: list[Answer], at: float) -> None:
    """All were served, each with a token that was usable at that time."""
    assert {answer.status for answer in answers} == {200}, [answer.text for answer in answers][:3]
    for answer in answers:
        assert at < answer.claims["exp"] - MARGIN


def test_a_token_that_died_in_a_frozen_process_is_never_sent(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    """Also not to those who were in its sockets before it could look at a clock."""
    audience = fresh.audience("died")
    with emulator.fault(audience=audience, token=SHORT):
        sidecar = launch(place, workers=4, rules=[{"cluster": "profiles", "audience": audience}])
        for _ in range(8):
            first = sidecar.request("profiles.test")
        usable_end = first.claims["exp"] - MARGIN
        sidecar.envoy.freeze()
        in_the_sockets = [sidecar.start_request("profiles.test") for _ in range(20)]
        eventually(lambda: time.time() > usable_end, "the token's end", within=60)
        thawed_at = time.time()
        sidecar.envoy.thaw()
        answers = [answer.result() for answer in in_the_sockets]
        answers += [sidecar.request("profiles.test") for _ in range(8)]
    assert_alive(answers, thawed_at)
    assert len({answer.claims["exp"] for answer in answers}) == 1
    # However many came, the metadata server was asked once for them.
    assert len(emulator.calls(audience)) <= 3


def test_without_a_new_token_nobody_gets_the_dead_one(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    audience, path = fresh.audience("dead"), fresh.path("dead")
    with emulator.fault(audience=audience, token=SHORT):
        sidecar = launch(place, workers=2, rules=[{"cluster": "profiles", "audience": audience}])
        usable_end = sidecar.request("profiles.test").claims["exp"] - MARGIN
    with emulator.fault(audience=audience, status=500):
        sidecar.envoy.freeze()
        in_the_sockets = [sidecar.start_request("profiles.test", path) for _ in range(10)]
        eventually(lambda: time.time() > usable_end, "the token's end", within=60)
        sidecar.envoy.thaw()
        assert {answer.result().status for answer in in_the_sockets} == {503}
        assert sidecar.request("profiles.test", path).status == 503
        assert upstream.arrived(path) == []
    eventually(lambda: sidecar.request("profiles.test").status == 200, "to be served again")


def test_a_token_that_is_still_good_after_the_thaw_is_used_at_once(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("still-good")
    sidecar = launch(place, workers=2, rules=[{"cluster": "profiles", "audience": audience}])
    first = sidecar.request("profiles.test")
    freeze_until(sidecar, time.time() + 2)
    later = [sidecar.request("profiles.test") for _ in range(8)]
    assert {answer.claims["exp"] for answer in later} == {first.claims["exp"]}
    assert len(emulator.calls(audience)) == 1


def test_a_flight_that_was_under_way_is_taken_over(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    """Its answer never comes, and its time ran out while nobody looked."""
    audience = fresh.audience("flight")
    sidecar = launch(
        place,
        workers=4,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"timeout": "14s", "callout_timeout": "2s"},
    )
    with emulator.fault(audience=audience, hang=True, times=1):
        waiting = start_waiting(sidecar, emulator, audience)
        thawed_at = freeze_until(sidecar, time.time() + 4)
        newcomers = [sidecar.start_request("profiles.test") for _ in range(10)]
        assert_alive([answer.result() for answer in [*waiting, *newcomers]], thawed_at)
    assert len(emulator.calls(audience)) == 2


def test_an_answer_that_came_while_it_was_frozen_is_taken(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("answered")
    sidecar = launch(
        place,
        workers=4,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"timeout": "14s", "callout_timeout": "12s"},
    )
    with emulator.fault(audience=audience, delay="2s"):
        waiting = start_waiting(sidecar, emulator, audience)
        thawed_at = freeze_until(sidecar, time.time() + 4)
        assert_alive([answer.result() for answer in waiting], thawed_at)
    assert len(emulator.calls(audience)) == 1


def test_an_answer_whose_token_died_while_it_was_frozen_is_not_taken(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("stale-answer")
    sidecar = launch(
        place,
        workers=2,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"timeout": "20s", "callout_timeout": "18s"},
    )
    with emulator.fault(audience=audience, delay="1s", token={"lifetime": "33s"}, times=1):
        waiting = start_waiting(sidecar, emulator, audience)
        # The token is made a second later and serves for three seconds at most.
        thawed_at = freeze_until(sidecar, time.time() + 6)
        assert_alive([answer.result() for answer in waiting], thawed_at)
    assert len(emulator.calls(audience)) == 2


def test_requests_whose_time_ran_out_meanwhile_end_and_the_next_ones_are_served(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    audience, path = fresh.audience("too-long"), fresh.path("too-long")
    sidecar = launch(place, workers=2, rules=[{"cluster": "profiles", "audience": audience}])
    with emulator.fault(audience=audience, hang=True):
        waiting = start_waiting(sidecar, emulator, audience, path)
        freeze_until(sidecar, time.time() + 5)
        assert {answer.result().status for answer in waiting} <= {503, 504}
    assert upstream.arrived(path) == []
    eventually(lambda: sidecar.request("profiles.test").status == 200, "to be served")


def start_waiting(sidecar: Sidecar, emulator: Emulator, audience: str, path: str = "/") -> list[Future[Answer]]:
    """Requests that wait for a fetch that is under way."""
    waiting = [sidecar.start_request("profiles.test", path) for _ in range(10)]
    emulator.wait_for_calls(audience, 1)
    sidecar.envoy.wait_for_metric("requests.waited", 10)
    return waiting
