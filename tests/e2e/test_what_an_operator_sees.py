"""Metrics, log lines, and that neither of them holds a secret."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from harness.bootstrap import Cluster
from harness.client import at_once
from harness.emulator import LOGIN, Emulator
from harness.names import Fresh
from harness.sidecar import LISTENER, Launch, Sidecar
from harness.tokens import JWT, bearer
from harness.upstream import Upstream
from harness.waiting import eventually

MARGIN = 30
REQUESTS = ("requests.authorized", "requests.bypassed", "requests.denied")


def counted(sidecar: Sidecar, **expected: int) -> None:
    """All counters of requests have these values; what is not named is 0."""
    wanted = {name: expected.get(name.removeprefix("requests."), 0) for name in (*REQUESTS, "requests.waited")}
    eventually(lambda: {name: sidecar.envoy.metric(name) for name in wanted} == wanted, f"the counters to be {wanted}")


def rule_for(audience: str) -> list[dict[str, Any]]:
    return [
        {"cluster": "profiles", "path": "/public", "bypass": True},
        {"cluster": "profiles", "path": "/special", "authority": "special.profiles.test", "audience": audience},
        {"cluster": "profiles", "path": "/private", "audience": audience},
    ]


def test_each_request_counts_once(launch: Launch, place: str, emulator: Emulator, fresh: Fresh) -> None:
    audience = fresh.audience("counted")
    sidecar = launch(place, workers=4, rules=rule_for(audience))
    with emulator.fault(audience=audience, delay="1s"):
        at_once(20, sidecar.port, "profiles.test", "/private")
    # All 20 were there before the token.
    counted(sidecar, authorized=20, waited=20)
    for _ in range(10):
        sidecar.request("profiles.test", "/private")
    counted(sidecar, authorized=30, waited=20)
    for _ in range(5):
        sidecar.request("profiles.test", "/public")
        sidecar.request("profiles.test", "/no-rule")
    counted(sidecar, authorized=30, bypassed=10, waited=20)


@pytest.mark.parametrize("mode", ["deny", "allow"])
def test_a_request_without_its_token_counts_as_denied_also_when_it_is_sent_on(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, mode: str
) -> None:
    audience = fresh.audience("denied")
    sidecar = launch(place, rules=[{"cluster": "profiles", "audience": audience}], settings={"failure_mode": mode})
    with emulator.fault(audience=audience, status=403):
        for _ in range(3):
            sidecar.request("profiles.test")
    eventually(lambda: sidecar.envoy.metric("requests.denied") == 3, "three denied requests")
    assert (sidecar.envoy.metric("requests.authorized"), sidecar.envoy.metric("requests.bypassed")) == (0, 0)
    assert sidecar.envoy.metric("fetches.failed") >= 1
    assert sidecar.envoy.metric("fetches.succeeded") == 0


def test_keep_counts_the_caller_s_own_credential_as_authorized(launch: Launch, place: str, fresh: Fresh) -> None:
    sidecar = launch(
        place,
        rules=[{"cluster": "profiles", "audience": fresh.audience("kept")}],
        settings={"existing_credential": "keep"},
    )
    sidecar.request("profiles.test", headers=[("authorization", "Bearer of-the-caller")])
    counted(sidecar, authorized=1)


def test_fetches_and_tokens_are_counted_and_timed(
    launch: Launch, place: str, emulator: Emulator, upstream: Upstream, fresh: Fresh
) -> None:
    short, long = fresh.audience("short"), fresh.audience("long")
    sidecar = launch(
        place,
        workers=2,
        clusters=[Cluster("short", upstream.port), Cluster("long", upstream.port)],
        rules=[{"cluster": "short", "audience": short}, {"cluster": "long", "audience": long}],
    )
    # No token: no gauge, rather than one that says 0 seconds since 1970.
    assert sidecar.envoy.metric("tokens.soonest_expiry") == 0
    with emulator.fault(audience=short, token={"lifetime": "10m"}, delay="300ms"):
        ends = sidecar.request("short.test").claims["exp"] - MARGIN
    sidecar.request("long.test")
    sidecar.envoy.wait_for_metric("fetches.succeeded", 2)
    eventually(lambda: sidecar.envoy.slowest_fetch() >= 290, "the slow fetch to be timed")
    # Two root contexts write the gauges in the upstream form; in the listener form it is one per VM.
    if place == LISTENER:
        eventually(lambda: sidecar.envoy.metric("tokens.soonest_expiry") == ends, "the soonest usable end")
    eventually(lambda: sidecar.envoy.metric("tokens.cached") >= 1, "tokens to be counted")
    assert sidecar.envoy.metric("tokens.soonest_expiry") > time.time()


def test_the_log_tells_a_token_s_life(launch: Launch, place: str, emulator: Emulator, fresh: Fresh) -> None:
    audience = fresh.audience("life")
    sidecar = launch(
        place, rules=[{"cluster": "profiles", "audience": audience}], settings={"timeout": "1s", "callout_timeout": "1s"}
    )
    with emulator.fault(audience=audience, status=500):
        assert sidecar.request("profiles.test").status == 503
    (failed, *_) = sidecar.envoy.wait_for_log(r"\[warning\].* fetch_failed \(server_error\)")
    assert audience in failed and "status 500" in failed
    (denied, *_) = sidecar.envoy.wait_for_log(r"\[error\].* denied \(server_error\)")
    assert audience in denied
    recovered = eventually(
        lambda: (answer := sidecar.request("profiles.test")).status == 200 and answer, "to be served again"
    )
    (line,) = sidecar.envoy.wait_for_log(r"\[info\].* (recovered|first_token): ")
    assert f'aud="{audience}"' in line
    assert f'email="{LOGIN}"' in line
    assert f"exp={recovered.claims['exp']}" in line


def test_denials_do_not_flood_the_log(launch: Launch, place: str, emulator: Emulator, fresh: Fresh) -> None:
    audience = fresh.audience("flood")
    sidecar = launch(place, workers=2, rules=[{"cluster": "profiles", "audience": audience}])
    with emulator.fault(audience=audience, status=403):
        for _ in range(10):
            at_once(30, sidecar.port, "profiles.test")
    eventually(lambda: sidecar.envoy.metric("requests.denied") == 300, "300 denied requests")
    assert 1 <= len(sidecar.envoy.log_lines("denied ")) <= 20


def test_at_debug_each_request_says_which_rule_decided(launch: Launch, place: str, fresh: Fresh) -> None:
    sidecar = launch(place, rules=rule_for(fresh.audience("debug")), wasm_log_level="debug")
    # The level is looked at on a tick.
    eventually(
        lambda: sidecar.request("profiles.test", "/private") and sidecar.envoy.log_lines(r"audiences\[2\]"),
        "the deciding rule to be named",
    )
    for path in ("/public", "/elsewhere"):
        before = len(sidecar.envoy.log_lines(r"\[debug\].*invoker: "))
        sidecar.request("profiles.test", path)
        eventually(
            lambda before=before: len(sidecar.envoy.log_lines(r"\[debug\].*invoker: ")) > before, f"a line for {path}"
        )


def test_at_info_requests_are_not_logged(launch: Launch, place: str, fresh: Fresh) -> None:
    sidecar = launch(place, rules=rule_for(fresh.audience("quiet")))
    sidecar.request("profiles.test", "/private")
    sidecar.envoy.wait_for_log("first_token")
    before = sidecar.envoy.log_lines("wasm log")
    for _ in range(20):
        sidecar.request("profiles.test", "/private")
        sidecar.request("profiles.test", "/public")
    counted(sidecar, authorized=21, bypassed=20, waited=1)
    assert sidecar.envoy.log_lines("wasm log") == before


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"token": {"aud": "https://somebody-else.test"}},
        {"token": {"omit": ["exp"]}},
        {"token": {"lifetime": "-60s"}},
        {"token": {"suffix": "\r\nx-evil: 1"}},
        {"token": {"suffix": "A" * 9000}},
        {"status": 403, "body": "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJzZWNyZXQifQ.c2VjcmV0"},
        {"status": 200, "body": '{"id_token": "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJzZWNyZXQifQ.c2VjcmV0"}'},
    ],
    ids=["good", "other_aud", "no_exp", "expired", "crlf", "long", "in_an_error", "in_json"],
)
def test_no_token_is_written_down(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, fault: dict[str, Any]
) -> None:
    """Not in the log at its most talkative, the answers, the statistics or the configuration's dump."""
    audience = fresh.audience("secret")
    sidecar = launch(
        place,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"timeout": "1s", "callout_timeout": "1s"},
        wasm_log_level="trace",
    )
    with emulator.fault(audience=audience, **fault):
        answers = [sidecar.request("profiles.test") for _ in range(3)]
    secrets = [re.escape("c2VjcmV0")]
    for answer in answers:
        if answer.status == 200:
            token = bearer(answer.arrival.header("authorization"))
            secrets += [re.escape(part) for part in token.split(".")[1:]]
        else:
            assert not JWT.search(answer.text)
    dumps = [sidecar.envoy.admin.get(path).text for path in ("/stats", "/config_dump", "/clusters")]
    for written in (sidecar.envoy.log(), *dumps):
        assert not JWT.search(written)
        assert not any(re.search(secret, written) for secret in secrets)


def test_envoy_s_own_log_of_requests_shows_the_token_in_the_listener_form(
    launch: Launch, place: str, fresh: Fresh
) -> None:
    """Which is why the documentation raises the level of `wasm` and never that of every logger."""
    sidecar = launch(place, rules=[{"cluster": "profiles", "audience": fresh.audience("router")}])
    sidecar.envoy.log_at_debug("wasm")
    eventually(
        lambda: sidecar.request("profiles.test") and sidecar.envoy.log_lines(r"a token, says audiences\[0\]"),
        "the deciding rule to be named",
    )
    assert not JWT.search(sidecar.envoy.log())

    sidecar.envoy.may_log_tokens = place == LISTENER
    sidecar.envoy.log_at_debug("level")
    token = bearer(sidecar.request("profiles.test").arrival.header("authorization"))
    sidecar.envoy.wait_for_log("router decoding headers")
    if place == LISTENER:
        eventually(lambda: token in sidecar.envoy.log(), "the token in Envoy's own log")
    else:
        assert not JWT.search(sidecar.envoy.log())
