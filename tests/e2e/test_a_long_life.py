"""What an Envoy goes through in a long life: made-up hosts without end, and one update after another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.bootstrap import virtual_host
from harness.client import sweep
from harness.emulator import Emulator
from harness.fast_metadata import FastMetadata
from harness.names import Fresh
from harness.sidecar import LISTENER, Launch, Sidecar
from harness.waiting import eventually


@pytest.fixture
def fast_metadata() -> Iterator[FastMetadata]:
    server = FastMetadata()
    yield server
    server.stop()


def test_a_hundred_thousand_made_up_hosts_leave_memory_flat(launch: Launch, fast_metadata: FastMetadata) -> None:
    answer_at_once = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    sidecar = launch(
        LISTENER,
        workers=2,
        metadata_port=fast_metadata.port,
        rules=[{"authority": "*.derived.test", "audience": "https://{authority}"}],
        virtual_hosts=[virtual_host("all", ["*"], [answer_at_once])],
    )

    def flood(start: int, end: int) -> int:
        statuses = sweep(sidecar.port, [f"h{number}.derived.test" for number in range(start, end)])
        assert statuses == {b"200": end - start}
        return sidecar.envoy.resident_bytes()

    settled = flood(0, 20_000)
    after = flood(20_000, 100_000)
    # 80,000 tokens of some 250 bytes, kept, would be more than this, in shared data alone.
    assert after < settled + 12 * 1024 * 1024
    assert fast_metadata.calls == 100_000
    # And the one that was asked for last is still there.
    assert sweep(sidecar.port, ["h99999.derived.test"] * 3) == {b"200": 3}
    eventually(lambda: 0 < sidecar.envoy.metric("tokens.cached") <= 1000, "the tokens to be counted")


def test_many_updates_leave_nothing_behind(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("many")
    sidecar = launch(place, workers=2, changeable=True, rules=[{"cluster": "profiles", "audience": audience}])

    def update_to(turn: int) -> None:
        sidecar.layout.settings = {"max_waiting_requests": turn}
        assert sidecar.update()
        assert sidecar.request("profiles.test").claims["aud"] == audience

    for turn in range(1, 11):
        update_to(turn)
    wait_for_old_listeners(sidecar)
    before = sidecar.envoy.resident_bytes()
    for turn in range(11, 41):
        update_to(turn)
    wait_for_old_listeners(sidecar)
    # A VM of its own for each update would be several megabytes each.
    assert sidecar.envoy.resident_bytes() < before + 40 * 1024 * 1024
    assert len(emulator.calls(audience)) == 1


def wait_for_old_listeners(sidecar: Sidecar) -> None:
    """They go when the drain time is over."""
    draining = "listener_manager.total_filter_chains_draining"
    eventually(lambda: sidecar.envoy.statistic(draining) == 0, "the old listeners to go", within=60)
