"""A new configuration, or a new module, while requests come in: nobody notices, and no token is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness.bootstrap import MODULE, Cluster
from harness.client import Answer, Load, load
from harness.emulator import LOGIN, Emulator
from harness.names import Fresh
from harness.sidecar import LISTENER, Launch, Sidecar
from harness.tokens import bearer
from harness.upstream import Upstream
from harness.waiting import eventually

# Written beside `authorization` by a later configuration: so one sees which one a request met.
LATER = "x-later"


def start(launch: Launch, place: str, rules: list[dict[str, Any]], **layout: Any) -> Sidecar:
    return launch(place, workers=layout.pop("workers", 4), rules=rules, changeable=True, **layout)


def is_later(answer: Answer) -> bool:
    return answer.status == 200 and answer.arrival.header(LATER) is not None


def tokens(answers: list[Answer]) -> set[str]:
    return {bearer(answer.arrival.header("authorization")) for answer in answers}


@contextmanager
def unnoticed(sidecar: Sidecar, emulator: Emulator, audience: str, others_waited: int = 0) -> Iterator[Load]:
    """Whatever the block does: every request gets through, with the one token that is there already."""
    first = sidecar.request("profiles.test")
    # What a configuration has counted is written down on its tick.
    sidecar.envoy.wait_for_metric("requests.waited", 1)
    with load(lambda: sidecar.request("profiles.test")) as seen:
        yield seen
        so_far = len(seen.answers)
        eventually(lambda: len(seen.answers) >= so_far + 20, "requests after it")
    assert seen.errors == []
    assert seen.statuses() == {200}
    assert tokens(seen.answers) == tokens([first])
    assert len(emulator.calls(audience)) == 1
    assert sidecar.envoy.metric("requests.waited") == 1 + others_waited


def other_module(folder: Path) -> Path:
    """The same code in a file of other bytes: to Envoy, another program."""
    name = b"version"
    content = bytes([len(name)]) + name + b"the next one"
    module = folder / "invoker-next.wasm"
    module.write_bytes(MODULE.read_bytes() + bytes([0, len(content)]) + content)
    return module


def virtual_machines(sidecar: Sidecar, which: str) -> int:
    """How many were ever created, or are active. An older Envoy (1.36) counts those of a cluster apart."""
    pattern = rf"(^|\.)wasm\.envoy\.wasm\.runtime\.v8\.{which}$"
    answer = sidecar.envoy.admin.get("/stats", params={"filter": pattern, "format": "json"}).json()
    return sum(int(entry["value"]) for entry in answer["stats"] if "value" in entry)


def test_a_new_configuration_under_load_is_not_noticed(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("update")
    sidecar = start(launch, place, [{"cluster": "profiles", "audience": audience}])
    with unnoticed(sidecar, emulator, audience) as seen:
        for name in ("x-a", "x-b", LATER):
            sidecar.layout.settings["header"] = ["authorization", name]
            assert sidecar.update()
        eventually(lambda: is_later(seen.answers[-1]), "the new configuration to be in force")
        # Once the old one has gone too.
        eventually(lambda: all(map(is_later, seen.answers[-100:])), "the old configuration to be gone")


def test_a_new_module_under_load_is_not_noticed(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, tmp_path: Path
) -> None:
    audience = fresh.audience("code-update")
    sidecar = start(launch, place, [{"cluster": "profiles", "audience": audience}])
    created, active = (virtual_machines(sidecar, which) for which in ("created", "active"))
    with unnoticed(sidecar, emulator, audience):
        sidecar.layout.module = other_module(tmp_path)
        assert sidecar.update()
        # One for each worker and one for the main thread, and then the old ones go.
        eventually(lambda: virtual_machines(sidecar, "created") >= created + 5, "new virtual machines")
        eventually(lambda: virtual_machines(sidecar, "active") <= active, "the old ones to be gone", within=30)


def test_an_update_can_add_an_audience(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    known, added = fresh.audience("known"), fresh.audience("added")
    sidecar = start(
        launch,
        place,
        [{"cluster": "profiles", "audience": known}],
        clusters=[Cluster("profiles", upstream.port), Cluster("search", upstream.port)],
    )
    assert sidecar.request("search.test").arrival.header("authorization") is None
    with unnoticed(sidecar, emulator, known, others_waited=1):
        sidecar.layout.rules = [*sidecar.layout.rules, {"cluster": "search", "audience": added}]
        assert sidecar.update()

        def has_token() -> bool:
            return sidecar.request("search.test").arrival.header("authorization") is not None

        eventually(has_token, "the added audience")
        assert sidecar.request("search.test").claims["aud"] == added
        sidecar.envoy.wait_for_metric("requests.waited", 2)
    assert len(emulator.calls(added)) == 1


def test_another_service_account_gets_tokens_of_its_own(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("other-account")
    sidecar = start(launch, place, [{"cluster": "profiles", "audience": audience}])
    assert sidecar.request("profiles.test").status == 200
    sidecar.layout.settings = {
        "header": ["authorization", LATER],
        "credentials": {"type": "metadata", "cluster": "metadata", "service_account": LOGIN},
    }
    assert sidecar.update()
    later = eventually(lambda: is_later(answer := sidecar.request("profiles.test")) and answer, "the new account")
    assert later.arrival.header("authorization") == later.arrival.header(LATER)
    accounts = [call.account.replace("%40", "@") for call in emulator.calls(audience)]
    assert accounts == ["default", LOGIN]


def test_old_and_new_configuration_can_both_have_waiting_requests(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    """In one virtual machine, and for one token that only the old one has asked for."""
    common, added = fresh.audience("common"), fresh.audience("only-new")
    rules = [{"cluster": "profiles", "audience": common}]
    patience = {"timeout": "14s", "callout_timeout": "12s"}
    sidecar = start(launch, place, rules, workers=1, settings=patience, drain_seconds=30)
    created = virtual_machines(sidecar, "created")
    assert created > 0
    with emulator.fault(audience=common, delay="6s"), emulator.fault(audience=added, delay="6s"):
        old = [sidecar.start_request("profiles.test") for _ in range(5)]
        emulator.wait_for_calls(common, 1)
        sidecar.envoy.wait_for_metric("requests.waited", 5)
        sidecar.layout.rules = [{"cluster": "profiles", "path": "/added", "audience": added}, *rules]
        sidecar.layout.settings = {**patience, "header": ["authorization", LATER]}
        assert sidecar.update()

        def arrived_at_the_new_one() -> bool:
            new_added.append(sidecar.start_request("profiles.test", "/added"))
            return bool(emulator.calls(added))

        new_added: list[Any] = []
        eventually(arrived_at_the_new_one, "the new configuration to serve")
        new_common = [sidecar.start_request("profiles.test") for _ in range(5)]
        assert not any(answer.done() for answer in old), "the metadata server was not slow enough"
        old_answers = [answer.result() for answer in old]
        common_answers = [answer.result() for answer in new_common]
        added_answers = [answer.result() for answer in new_added]
    assert not any(map(is_later, old_answers))
    assert all(map(is_later, common_answers))
    assert is_later(added_answers[-1]) and added_answers[-1].claims["aud"] == added
    assert {answer.status for answer in added_answers} == {200}
    assert len(tokens([*old_answers, *common_answers])) == 1
    assert (len(emulator.calls(common)), len(emulator.calls(added))) == (1, 1)
    # Both were in one virtual machine: beside it there was at most one to try the configuration on.
    assert virtual_machines(sidecar, "created") <= created + 1


def not_a_module(folder: Path) -> Path:
    module = folder / "not-a-module.wasm"
    module.write_bytes(b"\0asm and then something else")
    return module


@pytest.mark.parametrize("bad", ["configuration", "module", "missing_module"])
def test_a_bad_update_leaves_the_old_configuration_serving(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, tmp_path: Path, bad: str
) -> None:
    audience = fresh.audience("bad-update")
    sidecar = start(launch, place, [{"cluster": "profiles", "audience": audience}])
    layout = sidecar.layout
    with unnoticed(sidecar, emulator, audience) as seen:
        if bad == "configuration":
            layout.settings["timeout"] = "soon"
        else:
            layout.module = not_a_module(tmp_path) if bad == "module" else tmp_path / "nowhere.wasm"
        assert not sidecar.update()
        if bad == "configuration":
            assert sidecar.envoy.wait_for_log(r'invoker: configuration rejected: timeout: "soon" is no duration')
        assert sidecar.envoy.wait_for_log("config update rejected: Error adding/updating (listener|cluster)")
        # And a good one is taken again.
        layout.settings = {"header": ["authorization", LATER]}
        layout.module = MODULE
        assert sidecar.update()
        eventually(lambda: is_later(seen.answers[-1]), "the next configuration to be in force")


def test_the_configuration_dump_shows_what_was_rejected(launch: Launch, emulator: Emulator, fresh: Fresh) -> None:
    audience = fresh.audience("dumped")
    sidecar = start(launch, LISTENER, [{"cluster": "profiles", "audience": audience}])
    sidecar.layout.settings["timeout"] = "soon"
    assert not sidecar.update()
    dump = sidecar.envoy.admin.get("/config_dump", params={"resource": "dynamic_listeners"}).json()
    (listener,) = [entry for entry in dump["configs"] if entry.get("name") == "outbound"]
    assert "Unable to create Wasm plugin outbound" in listener["error_state"]["details"]
    assert "soon" in json.dumps(listener["error_state"]["failed_configuration"])
    assert "soon" not in json.dumps(listener["active_state"])


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
