"""Who shares a virtual machine or its data, and that nobody gets or spoils another's tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import tokens
from harness.bootstrap import Cluster, Plugin, route, virtual_host
from harness.client import at_once
from harness.emulator import Emulator
from harness.names import Fresh
from harness.neighbour import Neighbour, of_metadata
from harness.sidecar import LISTENER, SETTINGS, UPSTREAM, Launch, Sidecar
from harness.tokens import bearer, claims
from harness.upstream import Upstream
from harness.waiting import eventually


def second_plugin(rules: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """Another Invoker in the same listener, of the same vm_id: another root context of the same VM."""
    config = {
        "credentials": {"type": "metadata", "cluster": "metadata"},
        **SETTINGS,
        "audiences": rules,
        **settings,
    }
    return Plugin(config, "second").http_filter()


def test_two_plugins_in_one_vm_do_their_own_work(launch: Launch, emulator: Emulator, fresh: Fresh) -> None:
    first, second = fresh.audience("first"), fresh.audience("second")
    sidecar = launch(
        LISTENER,
        workers=4,
        rules=[{"cluster": "profiles", "audience": first}],
        filters_before=[
            second_plugin([{"cluster": "profiles", "audience": second}], header="x-serverless-authorization")
        ],
    )
    with emulator.fault(audience=first, delay="300ms"), emulator.fault(audience=second, delay="300ms"):
        answers = at_once(40, sidecar.port, "profiles.test")
    for answer in [*answers, sidecar.request("profiles.test")]:
        arrival = answer.arrival
        assert claims(bearer(arrival.header("authorization")))["aud"] == first
        assert claims(bearer(arrival.header("x-serverless-authorization")))["aud"] == second
    assert (len(emulator.calls(first)), len(emulator.calls(second))) == (1, 1)


def test_two_root_contexts_with_waiting_requests_answer_their_own(
    launch: Launch, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    """One worker, one VM: each cluster's plugin is a root context, and both have a crowd waiting."""
    ill, well = fresh.audience("ill"), fresh.audience("well")
    sidecar = launch(
        UPSTREAM,
        clusters=[Cluster("ill", upstream.port), Cluster("well", upstream.port)],
        rules=[{"cluster": "ill", "audience": ill}, {"cluster": "well", "audience": well}],
    )
    with emulator.fault(audience=ill, status=403, delay="500ms"), emulator.fault(audience=well, delay="700ms"):
        waiting = [(name, sidecar.start_request(f"{name}.test")) for name in ["ill", "well"] * 15]
        eventually(lambda: sidecar.envoy.metric("requests.waited") == 30, "everyone to wait")
        for name, answer in waiting:
            if name == "ill":
                assert (answer.result().status, ill in answer.result().text) == (500, True)
            else:
                assert answer.result().claims["aud"] == well


@pytest.fixture
def two_accounts(tmp_path: Path) -> Iterator[Emulator]:
    emulator = Emulator(tmp_path, accounts=["one@demo.iam.gserviceaccount.com", "two@demo.iam.gserviceaccount.com"])
    yield emulator
    emulator.stop()


def test_two_service_accounts_do_not_see_each_other_s_tokens(launch: Launch, two_accounts: Emulator) -> None:
    """The same audience, the same metadata server, the same VM: only the account differs."""
    rules = [{"cluster": "profiles", "audience": "https://profiles.test"}]
    one, two = ({"type": "metadata", "cluster": "metadata", "service_account": f"{name}@demo.iam.gserviceaccount.com"} for name in ("one", "two"))
    sidecar = launch(
        LISTENER,
        workers=2,
        metadata_port=two_accounts.port,
        rules=rules,
        settings={"credentials": one},
        filters_before=[second_plugin(rules, credentials=two, header="x-serverless-authorization")],
    )
    for answer in at_once(20, sidecar.port, "profiles.test"):
        arrival = answer.arrival
        emails = [
            claims(bearer(arrival.header(name)))["email"] for name in ("authorization", "x-serverless-authorization")
        ]
        assert emails == ["one@demo.iam.gserviceaccount.com", "two@demo.iam.gserviceaccount.com"]


def test_plugins_with_the_same_need_share_a_token(launch: Launch, emulator: Emulator, upstream: Upstream, fresh: Fresh) -> None:
    audience = fresh.audience("shared")
    sidecar = launch(
        UPSTREAM,
        workers=2,
        clusters=[Cluster("profiles", upstream.port), Cluster("search", upstream.port)],
        rules=[{"cluster": "profiles", "audience": audience}, {"cluster": "search", "audience": audience}],
    )
    for host in ("profiles.test", "search.test") * 5:
        assert sidecar.request(host).claims["aud"] == audience
    assert len(emulator.calls(audience)) == 1


# Enough for all Envoys, whose tests share the metadata server.
SERVICES = 120


@pytest.fixture(scope="module")
def sidecar(launch_shared: Launch) -> Sidecar:
    """Many literal audiences, so that each test finds a cold one, and all derived ones."""
    literals = [
        {"authority": f"s{number}.literal.test", "audience": f"https://s{number}.literal.test"}
        for number in range(SERVICES)
    ]
    return launch_shared(
        LISTENER,
        workers=4,
        rules=[*literals, {"authority": "*.derived.test", "audience": "https://{authority}"}],
        virtual_hosts=[virtual_host("all", ["*"], [route("profiles")])],
        filters_before=[Neighbour.http_filter()],
    )


@pytest.fixture(scope="module")
def services() -> Iterator[str]:
    return iter([f"s{number}.literal.test" for number in range(SERVICES)])


@pytest.fixture(scope="module")
def record(sidecar: Sidecar, emulator: Emulator, services: Iterator[str]) -> dict[str, Any]:
    """A record as Invoker writes it, with all of its three parts."""
    neighbour = Neighbour(sidecar)
    host = next(services)
    with emulator.fault(audience=f"https://{host}", status=403):
        assert sidecar.request(host).status == 500
    failure = neighbour.read(of_metadata(f"https://{host}"))["failure"]
    host = next(services)
    with emulator.fault(audience=f"https://{host}", delay="1s"):
        waiting = sidecar.start_request(host)
        emulator.wait_for_calls(f"https://{host}", 1)
        lease = neighbour.read(of_metadata(f"https://{host}"))["lease"]
        assert waiting.result().status == 200
    record = neighbour.read(of_metadata(f"https://{host}"))
    assert record["token"]["jwt"].startswith("eyJ")
    return {**record, "lease": lease, "failure": failure}


def far(part: Any) -> Any:
    """All numbers of a part as large as they can be: leases and pauses until the end of time."""
    if isinstance(part, dict):
        return {name: far(value) for name, value in part.items()}
    return (1 << 63) if isinstance(part, int) and not isinstance(part, bool) else part


def with_token(record: dict[str, Any], jwt: str) -> dict[str, Any]:
    return {"token": {**record["token"], "jwt": jwt}}


FOREVER = 4_000_000_000

# What the neighbour writes, from a real record and the audience.
RECORDS: dict[str, Any] = {
    "nothing": lambda record, audience: b"",
    "no_json": lambda record, audience: b"boo",
    "no_utf8": lambda record, audience: b"\xff\xfe\x00",
    "an_array": lambda record, audience: b"[]",
    "deep_nesting": lambda record, audience: b"[" * 20_000,
    "other_types": lambda record, audience: {"token": 1, "lease": "x", "failure": [None]},
    "somebody_else_s_key": lambda record, audience: {"key": "x", "token": record["token"]},
    "token_of_another_audience": lambda record, audience: {"token": record["token"]},
    "no_jwt": lambda record, audience: with_token(record, "boo"),
    "token_without_exp": lambda record, audience: with_token(record, tokens.unsigned(aud=audience)),
    "expired_token": lambda record, audience: with_token(record, tokens.unsigned(aud=audience, exp=1)),
    "line_break_in_the_token": lambda record, audience: with_token(
        record, tokens.unsigned(aud=audience, exp=FOREVER) + "\r\nx-evil: 1"
    ),
    "huge_token": lambda record, audience: with_token(record, tokens.unsigned(aud=audience, exp=FOREVER, pad="x" * 9000)),
    "endless_lease": lambda record, audience: {"lease": far(record["lease"])},
    "lease_with_many_waiters": lambda record, audience: {
        "lease": {**record["lease"], "waiters": list(range(5000))}
    },
    "endless_failure": lambda record, audience: {"failure": far(record["failure"])},
}


@pytest.mark.parametrize("evil", RECORDS.values(), ids=RECORDS.keys())
def test_what_a_neighbour_writes_into_our_records_changes_nothing(
    sidecar: Sidecar, services: Iterator[str], record: dict[str, Any], evil: Any, emulator: Emulator
) -> None:
    neighbour, host = Neighbour(sidecar), next(services)
    audience = f"https://{host}"
    key = of_metadata(audience)
    value = evil(record, audience)
    if isinstance(value, dict):
        value = json.dumps({"key": key.removeprefix("invoker/1/token/"), **value}).encode()
    neighbour.write(key, value)
    for answer in at_once(40, sidecar.port, host):
        assert answer.claims["aud"] == audience
        assert answer.claims["iss"] == "https://accounts.google.com"
        assert answer.arrival.header("x-evil") is None
    assert len(emulator.calls(audience)) >= 1
    # And on top of a token that is there.
    neighbour.write(key, value)
    assert {answer.status for answer in at_once(20, sidecar.port, host)} == {200}


@pytest.mark.parametrize("content", ["boo", "lease"])
def test_a_neighbour_in_all_slots_of_derived_audiences_changes_nothing(
    sidecar: Sidecar, record: dict[str, Any], fresh: Fresh, content: str
) -> None:
    value = b"boo"
    if content == "lease":
        value = json.dumps({"key": "somebody else", "lease": record["lease"]}).encode()
    Neighbour(sidecar).write("invoker/1/slot/{0..1024}", value)
    for _ in range(3):
        host = f"{fresh('host')}.derived.test"
        for answer in at_once(20, sidecar.port, host):
            assert answer.claims["aud"] == f"https://{host}"


def test_a_neighbour_that_wakes_us_for_nothing_changes_nothing(
    sidecar: Sidecar, emulator: Emulator, fresh: Fresh
) -> None:
    neighbour = Neighbour(sidecar)
    host = f"{fresh('host')}.derived.test"
    with emulator.fault(audience=f"https://{host}", delay="700ms"):
        waiting = [sidecar.start_request(host) for _ in range(20)]
        assert any([neighbour.wake(f"invoker/1/queue/{slot}") for slot in range(8)])
        neighbour.write("invoker/1/queue/{0..16}", b"boo")
        assert {answer.result().status for answer in waiting} == {200}
    assert len(emulator.calls(f"https://{host}")) == 1
