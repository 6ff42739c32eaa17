"""New configurations and new code while requests come in: nothing fails, nothing is fetched anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.bootstrap import MODULE, Cluster
from harness.client import load
from harness.emulator import Emulator
from harness.names import Fresh
from harness.process import built
from harness.sidecar import Launch, Sidecar
from harness.upstream import Upstream
from harness.waiting import eventually


def start(launch: Launch, place: str, audience: str, **more: Any) -> Sidecar:
    return launch(
        place, workers=2, changeable=True, rules=[{"cluster": "profiles", "audience": audience}], **more
    )


def other_code(folder: Path) -> Path:
    """The same module with one more custom section: to Envoy it is other code."""
    path = folder / "other.wasm"
    path.write_bytes(built(MODULE).read_bytes() + b"\x00\x06\x05other")
    return path


@pytest.mark.parametrize("what", ["plugin", "code"])
def test_an_update_under_load_fails_no_request_and_fetches_nothing(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, tmp_path: Path, what: str
) -> None:
    audience = fresh.audience("updated")
    sidecar = start(launch, place, audience)
    assert sidecar.request("profiles.test").claims["aud"] == audience
    with load(lambda: sidecar.request("profiles.test")) as seen:
        for turn in range(4):
            before = len(seen.answers)
            if what == "code":
                sidecar.layout.module = MODULE if turn % 2 else other_code(tmp_path)
            # Something that can be seen from outside: the header.
            header = f"x-turn-{turn}"
            sidecar.layout.settings = {"header": ["authorization", header]}
            assert sidecar.update()
            eventually(
                lambda header=header: sidecar.request("profiles.test").arrival.header(header) is not None,
                "the update to be in force",
            )
            eventually(lambda before=before: len(seen.answers) > before + 20, "some more requests")
    assert seen.errors == []
    assert seen.statuses() == {200}
    assert {answer.claims["aud"] for answer in seen.answers} == {audience}
    assert len(emulator.calls(audience)) == 1


def test_requests_that_wait_survive_an_update(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("waiting")
    sidecar = start(launch, place, audience, settings={"timeout": "10s", "callout_timeout": "8s"})
    with emulator.fault(audience=audience, delay="2s"):
        waiting = [sidecar.start_request("profiles.test") for _ in range(20)]
        emulator.wait_for_calls(audience, 1)
        sidecar.layout.settings = {**sidecar.layout.settings, "header": ["authorization", "x-new"]}
        assert sidecar.update()
        newcomers = [sidecar.start_request("profiles.test") for _ in range(20)]
        answers = [answer.result() for answer in [*waiting, *newcomers]]
    assert [answer.status for answer in answers] == [200] * 40
    # Those who came later wait for the same fetch.
    assert len(emulator.calls(audience)) == 1


def test_a_new_rule_works_at_once_and_the_old_one_still(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    old, new = fresh.audience("old"), fresh.audience("new")
    sidecar = start(
        launch, place, old, clusters=[Cluster("profiles", upstream.port), Cluster("search", upstream.port)]
    )
    assert sidecar.request("profiles.test").claims["aud"] == old
    assert sidecar.request("search.test").arrival.header("authorization") is None
    sidecar.layout.rules = [*sidecar.layout.rules, {"cluster": "search", "audience": new}]
    assert sidecar.update()
    eventually(
        lambda: sidecar.request("search.test").arrival.header("authorization") is not None, "the rule to be in force"
    )
    assert sidecar.request("search.test").claims["aud"] == new
    assert sidecar.request("profiles.test").claims["aud"] == old
    assert len(emulator.calls(old)) == 1


def test_a_bad_update_leaves_the_old_configuration_serving(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("good")
    sidecar = start(launch, place, audience)
    assert sidecar.request("profiles.test").claims["aud"] == audience
    good = sidecar.layout.rules
    with load(lambda: sidecar.request("profiles.test")) as seen:
        sidecar.layout.rules = [{"cluster": "profiles", "audience": "no-scheme.test"}]
        assert not sidecar.update()
        eventually(lambda before=len(seen.answers): len(seen.answers) > before + 20, "some more requests")
        sidecar.layout.rules = good
        sidecar.layout.settings = {"header": ["authorization", "x-good-again"]}
        assert sidecar.update()
        eventually(
            lambda: sidecar.request("profiles.test").arrival.header("x-good-again") is not None,
            "the good update to be in force",
        )
    assert seen.errors == []
    assert {answer.claims["aud"] for answer in seen.answers} == {audience}
    assert len(emulator.calls(audience)) == 1


def test_many_updates_leave_nothing_behind(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("many")
    sidecar = start(launch, place, audience)

    def update_to(turn: int) -> None:
        sidecar.layout.settings = {"max_waiting_requests": turn}
        assert sidecar.update()
        assert sidecar.request("profiles.test").claims["aud"] == audience

    for turn in range(1, 11):
        update_to(turn)
    # Old listeners go after the drain time.
    settled: Callable[[], bool] = lambda: sidecar.envoy.statistic("listener_manager.total_listeners_draining") == 0
    eventually(settled, "the old listeners to go", within=30)
    before = sidecar.envoy.resident_bytes()
    for turn in range(11, 41):
        update_to(turn)
    eventually(settled, "the old listeners to go", within=30)
    # A VM of its own for each update would be several megabytes each.
    assert sidecar.envoy.resident_bytes() < before + 40 * 1024 * 1024
    assert len(emulator.calls(audience)) == 1
