"""A token's life after the first: refreshed in the background, served to its usable end, no longer.

The usable end is `exp` − 30 s, so a token with a life of 45 s serves for 15 s.
"""

from __future__ import annotations

import itertools
import time

from harness.client import Load, load
from harness.emulator import Emulator
from harness.names import Fresh
from harness.sidecar import LISTENER, Launch, Sidecar
from harness.waiting import eventually

MARGIN = 30


def start(launch: Launch, place: str, audience: str, workers: int = 2) -> Sidecar:
    return launch(
        place,
        workers=workers,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"callout_timeout": "3s"},
    )


def assert_no_token_after_its_end(answers: Load) -> None:
    """The request left before the token was attached: had it left later, the token was over."""
    for answer in answers.answers:
        if answer.status == 200:
            assert answer.sent < answer.claims["exp"] - MARGIN


def test_no_request_waits_for_a_refresh(launch: Launch, place: str, emulator: Emulator, fresh: Fresh) -> None:
    audience = fresh.audience("background")
    with emulator.fault(audience=audience, token={"lifetime": "45s"}):
        sidecar = start(launch, place, audience, workers=4)
        assert sidecar.request("profiles.test").status == 200
    with emulator.fault(audience=audience, token={"lifetime": "45s"}, delay="2s"):
        with load(lambda: sidecar.request("profiles.test")) as seen:
            eventually(lambda: sidecar.envoy.metric("fetches.succeeded") >= 2, "a refresh", within=30)
            eventually(
                lambda: len({answer.claims["exp"] for answer in seen.answers}) >= 2, "the new token to serve"
            )
    assert seen.errors == []
    assert seen.statuses() == {200}
    # The only one that waited is the first, before there was a token.
    assert sidecar.envoy.metric("requests.waited") == 1
    assert_no_token_after_its_end(seen)
    print(f"slowest request during a refresh from a server that takes 2 s: {seen.slowest() * 1000:.0f} ms")


def test_a_refresh_failure_keeps_serving_the_old_token_to_its_end_and_no_longer(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("to-the-end")
    with emulator.fault(audience=audience, token={"lifetime": "42s"}):
        sidecar = start(launch, place, audience)
        first = sidecar.request("profiles.test")
    usable_end = first.claims["exp"] - MARGIN
    with emulator.fault(audience=audience, status=500):
        with load(lambda: sidecar.request("profiles.test"), clients=2) as seen:
            eventually(lambda: 503 in seen.statuses(), "the token's end", within=40)
    assert seen.errors == []
    assert seen.statuses() == {200, 503}
    assert {answer.claims["exp"] for answer in seen.answers if answer.status == 200} == {first.claims["exp"]}
    assert_no_token_after_its_end(seen)
    # It did serve to the end: everyone who was denied had not got an answer before it.
    for answer in seen.answers:
        if answer.status == 503:
            assert answer.sent + answer.seconds >= usable_end
    assert len(emulator.calls(audience)) >= 3
    assert sidecar.envoy.log_lines(r"refresh_failed \(server_error\)")
    eventually(lambda: sidecar.request("profiles.test").status == 200, "to be served again")
    assert sidecar.envoy.wait_for_log("recovered: ")


def test_a_refused_refresh_is_tried_again_and_nobody_notices(
    launch: Launch, emulator: Emulator, fresh: Fresh
) -> None:
    """An error that needs a person stops requests without a token, never the refresher."""
    audience = fresh.audience("refused")
    with emulator.fault(audience=audience, token={"lifetime": "55s"}):
        sidecar = start(launch, LISTENER, audience)
        first = sidecar.request("profiles.test")
        with emulator.fault(audience=audience, status=403, times=1):
            with load(lambda: sidecar.request("profiles.test")) as seen:
                eventually(
                    lambda: seen.answers and seen.answers[-1].claims["exp"] > first.claims["exp"],
                    "the second refresh",
                    within=40,
                )
    assert seen.statuses() == {200}
    assert [call.status for call in emulator.calls(audience)] == [200, 403, 200]


def test_short_lived_tokens_are_used_and_not_hammered_for(launch: Launch, emulator: Emulator, fresh: Fresh) -> None:
    audience = fresh.audience("short-lived")
    # One second of usable life.
    with emulator.fault(audience=audience, token={"lifetime": "31s"}):
        sidecar = start(launch, LISTENER, audience, workers=4)
        with load(lambda: sidecar.request("profiles.test")) as seen:
            eventually(lambda: len(emulator.calls(audience)) >= 5, "five tokens", within=60)
    assert seen.statuses() == {200}
    assert_no_token_after_its_end(seen)
    calls = emulator.calls(audience)
    # Seconds are whole in `exp`: a token lives for up to one second, and can be over as it comes.
    assert len(calls) <= 2 * (calls[-1].at - calls[0].at) + 3


def test_the_same_token_again_is_no_reason_to_ask_at_once(launch: Launch, emulator: Emulator, fresh: Fresh) -> None:
    audience = fresh.audience("same-again")
    with emulator.fault(audience=audience, token={"lifetime": "46s", "same": True}):
        sidecar = start(launch, LISTENER, audience, workers=4)
        with load(lambda: sidecar.request("profiles.test")) as seen:
            eventually(lambda: len(emulator.calls(audience)) >= 3, "two refreshes", within=60)
    assert seen.statuses() == {200}
    assert len({answer.claims["iat"] for answer in seen.answers}) == 1
    assert_no_token_after_its_end(seen)
    calls = emulator.calls(audience)
    assert all(later.at - earlier.at >= 4.9 for earlier, later in itertools.pairwise(calls))


def test_an_endless_supply_of_expired_tokens_is_no_hot_loop(
    launch: Launch, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("expired")
    with emulator.fault(audience=audience, token={"lifetime": "-1h"}):
        sidecar = start(launch, LISTENER, audience, workers=4)
        started = time.monotonic()
        with load(lambda: sidecar.request("profiles.test")) as seen:
            eventually(lambda: time.monotonic() - started > 7, "seven seconds", within=30)
    assert seen.statuses() == {503}
    # At most one a second on average once the pauses have grown, and the first few.
    assert len(emulator.calls(audience)) <= 35


def test_an_idle_sidecar_has_a_fresh_token_when_the_next_request_comes(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("idle")
    with emulator.fault(audience=audience, token={"lifetime": "42s"}):
        sidecar = start(launch, place, audience)
        first = sidecar.request("profiles.test")
        # Past the first token's usable end, without a request meanwhile.
        eventually(lambda: time.time() > first.claims["exp"] - MARGIN, "the first token's end", within=30)
        later = sidecar.request("profiles.test")
    assert later.claims["exp"] > first.claims["exp"]
    assert sidecar.envoy.metric("requests.waited") == 1
