"""What becomes of requests when a virtual machine dies.

The module that ships does not panic. A build that does so on demand shows what Envoy makes of it under
each failure policy, and that nothing worse happens than Envoy's own rules say.
"""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from harness.bootstrap import PANICKING_MODULE
from harness.client import Answer, Leaver
from harness.emulator import Emulator
from harness.names import Fresh
from harness.process import built
from harness.sidecar import Launch, Sidecar
from harness.tokens import bearer
from harness.upstream import Upstream
from harness.waiting import eventually

PANIC = [("x-invoker-test-panic", "now")]


def start(launch: Launch, place: str, audience: str, policy: str, workers: int = 1) -> Sidecar:
    return launch(
        place,
        workers=workers,
        may_crash=True,
        module=built(PANICKING_MODULE),
        rules=[{"cluster": "profiles", "audience": audience}],
        plugin={"failure_policy": policy},
        settings={"timeout": "12s", "callout_timeout": "10s"},
        # Shorter than what Invoker itself would wait: what ends a stranded request is Envoy.
        manager={"stream_idle_timeout": "3s", "request_timeout": "3s"},
    )


def crash(sidecar: Sidecar, path: str) -> Answer:
    answer = sidecar.request("profiles.test", path, headers=PANIC)
    sidecar.envoy.wait_for_log("Function: proxy_on_request_headers failed")
    return answer


def strand(sidecar: Sidecar, emulator: Emulator, audience: str, path: str) -> list[Future[Answer]]:
    """Requests that wait in the virtual machine as it dies."""
    waiting = [sidecar.start_request("profiles.test", path) for _ in range(5)]
    emulator.wait_for_calls(audience, 1)
    sidecar.envoy.wait_for_metric("requests.waited", 5)
    return waiting


@pytest.mark.parametrize("policy", ["FAIL_RELOAD", "FAIL_CLOSED", "FAIL_OPEN"])
def test_waiting_requests_end_at_the_idle_timeout_and_go_nowhere(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh, policy: str
) -> None:
    audience, path = fresh.audience("stranded"), fresh.path("stranded")
    sidecar = start(launch, place, audience, policy)
    with emulator.fault(audience=audience, delay="2s"):
        waiting = strand(sidecar, emulator, audience, path)
        half_sent = Leaver(sidecar.port, "profiles.test", path, body=100)
        crash(sidecar, fresh.path("crash"))
        answers = [answer.result() for answer in waiting]
        # 504 at the idle timeout, 408 with a body that is awaited; 503 where Envoy fails them itself.
        assert {answer.status for answer in answers} <= {503, 504}
        assert half_sent.first_line().split()[1] in (b"408", b"503", b"504")
    assert upstream.arrived(path) == []


def test_under_fail_reload_the_next_request_is_served_with_a_token(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    audience, path = fresh.audience("reload"), fresh.path("reload")
    sidecar = start(launch, place, audience, "FAIL_RELOAD")
    first = sidecar.request("profiles.test", path)
    crashed = crash(sidecar, path)
    assert crashed.status >= 500
    after = eventually(
        lambda: (answer := sidecar.request("profiles.test", path)).status == 200 and answer, "to be served again"
    )
    assert after.claims["aud"] == first.claims["aud"] == audience
    # Two arrived, or a few that Envoy answered itself did not; each with a token.
    assert all(bearer(arrival.header("authorization")) for arrival in upstream.arrived(path))


def test_under_fail_reload_new_requests_are_served_while_others_are_stranded(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    audience, path = fresh.audience("beside"), fresh.path("beside")
    sidecar = start(launch, place, audience, "FAIL_RELOAD")
    with emulator.fault(audience=audience, hang=True, times=1):
        waiting = strand(sidecar, emulator, audience, fresh.path("stranded"))
        crash(sidecar, path)
        # The dead one holds the lease: whoever comes next takes it over once it has run out.
        eventually(lambda: sidecar.request("profiles.test", path).status == 200, "a new virtual machine", within=60)
        assert {answer.result().status for answer in waiting} <= {503, 504}
    assert all(bearer(arrival.header("authorization")) for arrival in upstream.arrived(path))


def test_under_fail_reload_a_crash_on_one_worker_is_not_the_other_ones_matter(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    """Again and again, while others are served; nobody is sent on without a token."""
    audience, path = fresh.audience("one-of-four"), fresh.path("one-of-four")
    sidecar = start(launch, place, audience, "FAIL_RELOAD", workers=4)
    assert sidecar.request("profiles.test", path).status == 200
    for _ in range(3):
        crash(sidecar, path)
        for _ in range(10):
            sidecar.request("profiles.test", path)
    eventually(
        lambda: all(sidecar.request("profiles.test", path).status == 200 for _ in range(10)),
        "everybody to be served",
        within=30,
    )
    assert all(bearer(arrival.header("authorization")) for arrival in upstream.arrived(path))
    # The token was there all the time, in what virtual machines share.
    assert len(emulator.calls(audience)) == 1


def test_under_fail_closed_nobody_goes_on(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    audience, path = fresh.audience("closed"), fresh.path("closed")
    sidecar = start(launch, place, audience, "FAIL_CLOSED")
    assert sidecar.request("profiles.test").claims["aud"] == audience
    assert crash(sidecar, path).status >= 500
    for _ in range(5):
        assert sidecar.request("profiles.test", path).status >= 500
    assert upstream.arrived(path) == []


def test_under_fail_open_requests_go_on_without_a_token(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    """The danger that the documentation warns of: it is why the shipped configurations say FAIL_RELOAD."""
    audience, path = fresh.audience("open"), fresh.path("open")
    sidecar = start(launch, place, audience, "FAIL_OPEN")
    assert sidecar.request("profiles.test").claims["aud"] == audience
    crash(sidecar, fresh.path("crash"))
    answer = sidecar.request("profiles.test", path)
    assert answer.status == 200
    assert answer.arrival.header("authorization") is None
