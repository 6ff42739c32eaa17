"""The first requests, before any token is there."""

from __future__ import annotations

import pytest
from harness.bootstrap import Cluster, hosts_of, route, virtual_host
from harness.client import at_once
from harness.emulator import LOGIN, Emulator
from harness.names import Fresh
from harness.sidecar import UPSTREAM, Launch
from harness.tokens import bearer
from harness.upstream import Upstream
from harness.waiting import eventually

PROFILES = "https://profiles.test"
RULES = [{"cluster": "profiles", "audience": PROFILES}]


def test_a_request_arrives_with_a_token_for_the_service_it_goes_to(
    launch: Launch, place: str, emulator: Emulator
) -> None:
    sidecar = launch(place, rules=[{"cluster": "profiles", "audience": "https://first.test"}])
    answer = sidecar.request("profiles.test", "/me?page=2", headers=[("x-mine", "kept")])
    arrival = answer.arrival
    assert arrival.path == "/me?page=2"
    assert arrival.header("x-mine") == "kept"
    token = answer.claims
    assert token["aud"] == "https://first.test"
    assert token["iss"] == "https://accounts.google.com"
    assert (token["email"], token["email_verified"]) == (LOGIN, True)
    assert emulator.calls("https://first.test")[0].headers["metadata-flavor"] == "Google"


@pytest.mark.parametrize("workers", [1, 4, 8])
def test_a_cold_stampede_makes_one_call(
    launch: Launch, place: str, emulator: Emulator, workers: int, fresh: Fresh
) -> None:
    audience = fresh.audience("stampede")
    sidecar = launch(place, workers=workers, rules=[{"cluster": "profiles", "audience": audience}])
    with emulator.fault(audience=audience, delay="500ms"):
        answers = at_once(200, sidecar.port, "profiles.test")
    tokens = {bearer(answer.arrival.header("authorization")) for answer in answers}
    assert len(emulator.calls(audience)) == 1
    assert len(tokens) == 1
    sidecar.envoy.wait_for_metric("requests.authorized", 200)


def test_two_audiences_at_once_are_not_mixed_up(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream
) -> None:
    sidecar = launch(
        place,
        workers=4,
        clusters=[Cluster("profiles", upstream.port), Cluster("search", upstream.port)],
        rules=[
            {"cluster": "profiles", "audience": "https://profiles-mix.test"},
            {"cluster": "search", "audience": "https://search-mix.test"},
        ],
    )
    with emulator.fault(audience="https://profiles-mix.test", delay="300ms"):
        pending = [
            (service, sidecar.start_request(f"{service}.test")) for service in ["profiles", "search"] * 20
        ]
        for service, answer in pending:
            assert answer.result().claims["aud"] == f"https://{service}-mix.test"


@pytest.mark.parametrize(
    "audience",
    ["https://profiles.test/?a=1&b=2#part", "https://profiles.test/über/%41 b+c", "https://Profiles.test:443"],
    ids=["separators", "foreign", "upper_case_and_port"],
)
def test_an_audience_is_asked_for_byte_for_byte(
    launch: Launch, place: str, emulator: Emulator, audience: str
) -> None:
    sidecar = launch(place, rules=[{"cluster": "profiles", "audience": audience}])
    assert sidecar.request("profiles.test").claims["aud"] == audience
    assert emulator.calls(audience)


def test_literal_audiences_are_fetched_before_the_first_request(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("early")
    sidecar = launch(
        place, workers=4, rules=[{"cluster": "profiles", "audience": audience}], settings={"prefetch": True}
    )
    emulator.wait_for_calls(audience, 1)
    sidecar.envoy.wait_for_metric("tokens.cached", 1)
    for _ in range(8):
        assert sidecar.request("profiles.test").claims["aud"] == audience
    assert len(emulator.calls(audience)) == 1
    assert sidecar.envoy.metric("requests.waited") == 0


def test_an_audience_that_can_not_be_had_keeps_nobody_else_from_starting(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    ill, well = (fresh.audience(state) for state in ("ill", "well"))
    with emulator.fault(audience=ill, hang=True):
        sidecar = launch(
            place,
            clusters=[Cluster("ill", upstream.port), Cluster("well", upstream.port)],
            rules=[{"cluster": "ill", "audience": ill}, {"cluster": "well", "audience": well}],
            settings={"prefetch": True},
        )
        emulator.wait_for_calls(ill, 1)
        assert sidecar.request("well.test").claims["aud"] == well
        assert sidecar.request("ill.test").status == 503


def test_a_metadata_server_that_starts_late_is_waited_for(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("late")
    with emulator.fault(audience=audience, status=404, times=2):
        sidecar = launch(place, rules=[{"cluster": "profiles", "audience": audience}])
        assert sidecar.request("profiles.test").status == 200
    assert len(emulator.calls(audience)) == 3


def test_a_service_account_other_than_the_default_is_asked_for_by_name(
    launch: Launch, place: str, emulator: Emulator
) -> None:
    sidecar = launch(
        place,
        rules=RULES,
        settings={"credentials": {"type": "metadata", "cluster": "metadata", "service_account": LOGIN}},
    )
    assert sidecar.request("profiles.test").status == 200
    assert LOGIN in {call.account.replace("%40", "@") for call in emulator.calls(PROFILES)}


def test_other_clusters_are_left_alone(launch: Launch, place: str, upstream: Upstream) -> None:
    sidecar = launch(
        place,
        clusters=[Cluster("profiles", upstream.port), Cluster("status", upstream.port)],
        rules=RULES,
        virtual_hosts=[
            virtual_host("profiles", hosts_of("profiles"), [route("profiles")]),
            virtual_host("status", hosts_of("status"), [route("status")]),
        ],
    )
    assert sidecar.request("status.test").arrival.header("authorization") is None
    own = [("authorization", "Basic bWU6bWU=")]
    assert sidecar.request("status.test", headers=own).arrival.header("authorization") == "Basic bWU6bWU="
    expected = {"requests.bypassed": 2} if place != UPSTREAM else {}
    eventually(
        lambda: {n: v for n, v in sidecar.envoy.metrics().items() if n.startswith("requests.") and v} == expected,
        "the requests to be counted",
    )
