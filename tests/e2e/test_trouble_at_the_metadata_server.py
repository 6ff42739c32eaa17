"""What a request gets when there is no token to be had, and that it never goes on without one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from harness.client import Answer, at_once
from harness.emulator import Emulator
from harness.names import Fresh, Service
from harness.process import free_port
from harness.sidecar import LISTENER, Launch, Sidecar
from harness.upstream import Upstream
from harness.waiting import eventually

DERIVED = [{"authority": "*.profiles.test", "audience": "https://{authority}"}]
SETTINGS = {"timeout": "1200ms", "callout_timeout": "500ms"}


@pytest.fixture(scope="module")
def sidecar(launch_shared: Launch, place: str) -> Sidecar:
    """The credential works: what goes wrong afterwards is not its start."""
    sidecar = launch_shared(place, rules=DERIVED, settings=SETTINGS)
    assert sidecar.request("well.profiles.test").status == 200
    return sidecar


@pytest.fixture
def service(fresh: Fresh) -> Service:
    return Service(f"{fresh('service')}.profiles.test")


def assert_denied(sidecar: Sidecar, answer: Answer, status: int, code: str) -> None:
    """The status, a body that says what happened, and Envoy's response code details."""
    assert answer.status == status, answer.text
    assert answer.text.startswith(f"invoker: {code}: "), answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert f"invoker_{code}" in sidecar.logged(answer)["details"]


FAULTS: list[tuple[str, dict[str, Any], int, str]] = [
    # May pass: 503, at the end of the request's time.
    ("internal_error", {"status": 500}, 503, "server_error"),
    ("overloaded", {"status": 503}, 503, "server_error"),
    ("rate_limited", {"status": 429}, 503, "server_error"),
    ("request_timeout", {"status": 408}, 503, "server_error"),
    ("hangs", {"hang": True}, 503, "callout_timeout|timeout"),
    ("closes_the_connection", {"close": True}, 503, "callout_unreachable"),
    ("only_expired_tokens", {"token": {"lifetime": "-60s"}}, 503, "expired_token"),
    ("tokens_in_their_last_seconds", {"token": {"lifetime": "25s"}}, 503, "expired_token"),
    # Needs a person: 500, at once.
    ("forbidden", {"status": 403}, 500, "refused"),
    ("bad_request", {"status": 400}, 500, "refused"),
    ("not_found_later", {"status": 404}, 500, "not_found"),
    ("no_content", {"status": 204}, 500, "refused"),
    ("redirect", {"status": 302, "headers": {"location": "http://elsewhere.test/"}}, 500, "refused"),
    ("error_page_with_200", {"status": 200, "body": "<html>Service worker error</html>"}, 500, "malformed_answer"),
    ("empty_body", {"status": 200, "body": ""}, 500, "malformed_answer"),
    ("json_instead_of_a_token", {"status": 200, "body": '{"access_token":"ya29.x"}'}, 500, "malformed_answer"),
    ("no_exp", {"token": {"omit": ["exp"]}}, 500, "malformed_answer"),
    ("wrong_audience", {"token": {"aud": "https://somebody-else.test"}}, 500, "malformed_answer"),
    ("line_break_in_the_token", {"token": {"suffix": "\r\nx-evil: 1"}}, 500, "malformed_answer"),
    ("character_that_no_header_takes", {"token": {"suffix": "\x00"}}, 500, "malformed_answer"),
    ("token_of_nine_kilobytes", {"token": {"suffix": "A" * 9000}}, 500, "malformed_answer"),
    ("answer_of_65_kilobytes", {"status": 200, "body_size": 65 * 1024}, 500, "malformed_answer"),
    ("answer_of_20_megabytes", {"status": 200, "body_size": 20 << 20}, 500, "malformed_answer"),
]


@pytest.mark.parametrize(
    ("fault", "status", "code"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS]
)
def test_without_a_usable_token_a_request_is_denied(
    sidecar: Sidecar,
    emulator: Emulator,
    upstream: Upstream,
    fresh: Fresh,
    service: Service,
    fault: dict[str, Any],
    status: int,
    code: str,
) -> None:
    path = fresh.path("denied")
    with emulator.fault(audience=service.audience, **fault):
        answer = sidecar.request(service.host, path)
    assert answer.status == status, answer.text
    said = re.match(r"invoker: (\w+): ", answer.text)
    assert said and re.fullmatch(code, said.group(1)), answer.text
    assert_denied(sidecar, answer, status, said.group(1))
    assert service.audience in answer.text
    assert "metadata" in answer.text
    assert upstream.arrived(path) == []


@pytest.mark.parametrize(
    "fault", [{"token": {"suffix": "\n"}}, {"headers": {"Metadata-Flavor": None}}], ids=["newline", "no_flavor"]
)
def test_oddities_of_real_servers_are_taken(
    sidecar: Sidecar, emulator: Emulator, service: Service, fault: dict[str, Any]
) -> None:
    with emulator.fault(audience=service.audience, **fault):
        assert sidecar.request(service.host).claims["aud"] == service.audience


@pytest.mark.parametrize(
    "fault",
    [{"status": 500, "times": 2}, {"hang": True, "times": 1}, {"close": True, "times": 2}],
    ids=["errors", "hang", "closed"],
)
def test_trouble_that_passes_is_not_noticed(
    sidecar: Sidecar, emulator: Emulator, service: Service, fault: dict[str, Any]
) -> None:
    with emulator.fault(audience=service.audience, **fault):
        answer = sidecar.request(service.host)
    assert answer.status == 200, answer.text
    assert len(emulator.calls(service.audience)) == fault["times"] + 1


def test_a_server_that_asks_for_patience_gets_it(launch: Launch, place: str, emulator: Emulator, fresh: Fresh) -> None:
    audience = fresh.audience("patience")
    sidecar = launch(place, rules=[{"cluster": "profiles", "audience": audience}], settings={"timeout": "6s"})
    with emulator.fault(audience=audience, status=429, headers={"retry-after": "2"}, times=1):
        assert sidecar.request("profiles.test").status == 200
    first, second = emulator.calls(audience)
    assert second.at - first.at >= 2.0


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 500}], ids=["permanent", "passing"])
def test_everyone_is_served_again_once_lasting_trouble_ends(
    sidecar: Sidecar, emulator: Emulator, service: Service, fault: dict[str, Any]
) -> None:
    with emulator.fault(audience=service.audience, **fault):
        assert sidecar.request(service.host).status in (500, 503)
        assert sidecar.request(service.host).status in (500, 503)
    eventually(lambda: sidecar.request(service.host).status == 200, "to be served again", within=20)


def test_a_permanent_error_is_not_asked_for_again_and_again(
    sidecar: Sidecar, emulator: Emulator, service: Service
) -> None:
    with emulator.fault(audience=service.audience, status=403):
        for _ in range(3):
            answers = at_once(20, sidecar.port, service.host)
            assert {answer.status for answer in answers} == {500}
    calls = emulator.calls(service.audience)
    # The second attempt comes 5 seconds after the first, whatever was asked meanwhile.
    assert len(calls) <= 1 + int(calls[-1].at - calls[0].at) // 5


def test_a_passing_error_is_retried_with_growing_pauses(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("pauses")
    sidecar = launch(place, workers=4, rules=[{"cluster": "profiles", "audience": audience}])
    with emulator.fault(audience=audience, status=500):
        answers = at_once(100, sidecar.port, "profiles.test")
    assert {answer.status for answer in answers} == {503}
    # 3 seconds, pauses of up to 0.1, 0.2, 0.4, 0.8, 1, 1 ... seconds, shared by all workers and clients;
    # with jitter they can all be short, but not endlessly often.
    assert 2 <= len(emulator.calls(audience)) <= 25


def start_with(
    launch: Launch, place: str, upstream: Upstream, **layout: Any
) -> tuple[Sidecar, Callable[[], Answer]]:
    sidecar = launch(
        place, rules=[{"cluster": "profiles", "audience": "https://profiles.test"}], settings=SETTINGS, **layout
    )
    return sidecar, lambda: sidecar.request("profiles.test")


def test_nobody_listens_at_the_metadata_server(launch: Launch, place: str, upstream: Upstream) -> None:
    sidecar, request = start_with(launch, place, upstream, metadata_port=free_port())
    assert_denied(sidecar, request(), 503, "callout_unreachable")


def test_the_metadata_cluster_has_no_endpoint(launch: Launch, place: str, upstream: Upstream) -> None:
    sidecar, request = start_with(launch, place, upstream, metadata_port=None)
    answer = request()
    assert_denied(sidecar, answer, 503, "callout_unavailable")


def test_the_metadata_cluster_has_an_open_circuit_breaker(launch: Launch, place: str, upstream: Upstream) -> None:
    closed = {"circuit_breakers": {"thresholds": [{"max_requests": 0, "max_pending_requests": 0}]}}
    sidecar, request = start_with(launch, place, upstream, metadata_cluster=closed)
    assert_denied(sidecar, request(), 503, "callout_unavailable")


def test_the_metadata_cluster_does_not_exist(launch: Launch, upstream: Upstream) -> None:
    sidecar = launch(
        LISTENER,
        rules=[{"cluster": "profiles", "audience": "https://profiles.test"}],
        settings={**SETTINGS, "credentials": {"type": "metadata", "cluster": "metadata-typo"}},
    )
    early = sidecar.request("profiles.test")
    assert_denied(sidecar, early, 503, "unknown_cluster")
    assert "metadata-typo" in early.text
    # A control plane may send it late; after half a minute it is a person's mistake.
    late = eventually(
        lambda: (answer := sidecar.request("profiles.test")).status == 500 and answer, "500 instead of 503", within=60
    )
    assert_denied(sidecar, late, 500, "unknown_cluster")


def test_no_service_account_at_the_start_may_pass(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    audience = fresh.audience("no-account")
    sidecar = launch(place, rules=[{"cluster": "profiles", "audience": audience}], settings=SETTINGS)
    with emulator.fault(audience=audience, status=404):
        assert_denied(sidecar, sidecar.request("profiles.test"), 503, "not_found")
    eventually(lambda: sidecar.request("profiles.test").status == 200, "to be served")


def test_all_workers_know_that_the_credential_works(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    sidecar = launch(place, workers=4, rules=DERIVED, settings=SETTINGS)
    assert sidecar.request("well.profiles.test").status == 200
    ill = Service(f"{fresh('ill')}.profiles.test")
    with emulator.fault(audience=ill.audience, status=404):
        answers = at_once(20, sidecar.port, ill.host)
    assert {answer.status for answer in answers} == {500}


def test_an_unknown_service_account_is_named(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    nobody = "nobody@demo.iam.gserviceaccount.com"
    sidecar = launch(
        place,
        rules=[{"cluster": "profiles", "audience": fresh.audience("nobody")}],
        settings={**SETTINGS, "credentials": {"type": "metadata", "cluster": "metadata", "service_account": nobody}},
    )
    answer = sidecar.request("profiles.test")
    assert (answer.status, nobody in answer.text) == (503, True), answer.text


def test_error_details_can_be_kept_from_clients(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh
) -> None:
    audience = fresh.audience("secretive")
    sidecar = launch(
        place, rules=[{"cluster": "profiles", "audience": audience}], settings={**SETTINGS, "error_details": "log"}
    )
    with emulator.fault(audience=audience, status=403):
        answer = sidecar.request("profiles.test")
    assert (answer.status, answer.text.strip()) == (500, "invoker: refused")
    assert "invoker_refused" in sidecar.logged(answer)["details"]
    assert audience in sidecar.envoy.wait_for_log(r"denied \(refused\)")[0]


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 500}, {"hang": True}], ids=["permanent", "passing", "hang"])
def test_failure_mode_allow_sends_the_request_on_without_a_token(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, fault: dict[str, Any]
) -> None:
    audience = fresh.audience("allow")
    sidecar = launch(
        place, rules=[{"cluster": "profiles", "audience": audience}], settings={**SETTINGS, "failure_mode": "allow"}
    )
    with emulator.fault(audience=audience, **fault):
        answer = sidecar.request("profiles.test", headers=[("authorization", "Bearer of-the-caller")])
    assert answer.status == 200
    assert answer.arrival.header("authorization") is None
    sidecar.envoy.wait_for_metric("requests.denied", 1)
