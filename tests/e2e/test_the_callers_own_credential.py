"""What becomes of a credential that the caller brings, and that nobody can pass one off as ours."""

from __future__ import annotations

from typing import Any

import pytest
from harness.bootstrap import Cluster, hosts_of, route, virtual_host
from harness.client import raw
from harness.emulator import Emulator
from harness.names import Fresh
from harness.sidecar import Launch, Sidecar
from harness.tokens import bearer, claims
from harness.upstream import Arrival, Upstream

PROFILES = "https://profiles.test"
RULES = [{"cluster": "profiles", "audience": PROFILES}]
OWN = "Bearer of-the-caller"
FORGED = "Bearer forged"

AUTHORIZATION = "authorization"
FORWARDED = "x-forwarded-authorization"
SERVERLESS = "x-serverless-authorization"
CREDENTIALS = (AUTHORIZATION, FORWARDED, SERVERLESS, "proxy-authorization")


@pytest.fixture(scope="module")
def start(launch_shared: Launch, place: str, upstream: Upstream) -> Any:
    """A sidecar with these settings; each is started once."""
    started: dict[str, Sidecar] = {}

    def start(**settings: Any) -> Sidecar:
        name = repr(settings)
        if name not in started:
            started[name] = launch_shared(
                place,
                clusters=[Cluster("profiles", upstream.port), Cluster("elsewhere", upstream.port)],
                rules=RULES,
                settings=settings,
            )
        return started[name]

    return start


def ours(value: str | None) -> bool:
    return value is not None and value.count(".") == 2 and claims(bearer(value))["aud"] == PROFILES


def described(arrival: Arrival) -> dict[str, str]:
    """The credentials that arrived, in words: each header's one value, ours by name."""
    found = {name: arrival.header(name) for name in CREDENTIALS}
    return {name: "ours" if ours(value) else value for name, value in found.items() if value is not None}


OURS = {AUTHORIZATION: "ours"}

# What the caller sends, and what arrives under replace, keep, forward and alongside.
CASES: dict[str, tuple[list[tuple[str, str]], dict[str, dict[str, str]]]] = {
    "nothing": ([], {"replace": OURS, "keep": OURS, "forward": OURS, "alongside": OURS}),
    "its own": (
        [(AUTHORIZATION, OWN)],
        {
            "replace": OURS,
            "keep": {AUTHORIZATION: OWN},
            "forward": {AUTHORIZATION: "ours", FORWARDED: OWN},
            "alongside": {AUTHORIZATION: OWN, SERVERLESS: "ours"},
        },
    ),
    "two of its own": (
        [(AUTHORIZATION, OWN), (AUTHORIZATION, FORGED)],
        {
            "replace": OURS,
            "forward": {AUTHORIZATION: "ours", FORWARDED: f"{OWN},{FORGED}"},
            "alongside": {AUTHORIZATION: f"{OWN},{FORGED}", SERVERLESS: "ours"},
        },
    ),
    "its own in upper case": (
        [("AUTHORIZATION", OWN)],
        {"replace": OURS, "keep": {AUTHORIZATION: OWN}, "forward": {AUTHORIZATION: "ours", FORWARDED: OWN}},
    ),
    "an empty one": (
        [(AUTHORIZATION, "")],
        {"replace": OURS, "keep": OURS, "forward": OURS, "alongside": OURS},
    ),
    "a forged forwarded one": (
        [(FORWARDED, FORGED)],
        {"forward": OURS, "alongside": OURS},
    ),
    "its own and a forged forwarded one": (
        [(AUTHORIZATION, OWN), (FORWARDED, FORGED)],
        {
            "forward": {AUTHORIZATION: "ours", FORWARDED: OWN},
            "alongside": {AUTHORIZATION: OWN, SERVERLESS: "ours"},
        },
    ),
    "one in front of ours": (
        [(SERVERLESS, FORGED)],
        {"forward": OURS, "alongside": OURS},
    ),
    "its own and one in front of ours": (
        [(AUTHORIZATION, OWN), (SERVERLESS, FORGED)],
        {
            "forward": {AUTHORIZATION: "ours", FORWARDED: OWN},
            "alongside": {AUTHORIZATION: OWN, SERVERLESS: "ours"},
        },
    ),
    "two in front of ours": (
        [(SERVERLESS, FORGED), (SERVERLESS, FORGED)],
        {"forward": OURS, "alongside": OURS},
    ),
    "one for a proxy": (
        [("proxy-authorization", OWN)],
        {
            "replace": {AUTHORIZATION: "ours", "proxy-authorization": OWN},
            "forward": {AUTHORIZATION: "ours", "proxy-authorization": OWN},
        },
    ),
}


@pytest.mark.parametrize(
    ("sent", "existing", "expected"),
    [(sent, existing, expected) for sent, by in CASES.values() for existing, expected in by.items()],
    ids=[f"{name}-{existing}".replace(" ", "_") for name, (_, by) in CASES.items() for existing in by],
)
def test_what_the_caller_sends_and_what_arrives(
    start: Any, sent: list[tuple[str, str]], existing: str, expected: dict[str, str]
) -> None:
    sidecar = start(existing_credential=existing)
    # Cold or from the cache, the first time or the second: the same.
    for _ in range(2):
        assert described(sidecar.request("profiles.test", headers=sent).arrival) == expected


@pytest.mark.parametrize("existing", ["replace", "keep", "forward", "alongside"])
def test_a_request_without_a_rule_keeps_everything(start: Any, existing: str) -> None:
    sent = [(AUTHORIZATION, OWN), (FORWARDED, "one"), (SERVERLESS, "two")]
    arrival = start(existing_credential=existing).request("elsewhere.test", headers=sent).arrival
    assert described(arrival) == dict(sent)


@pytest.mark.parametrize("existing", ["replace", "forward", "alongside"])
def test_a_hop_by_hop_trick_does_not_strip_our_header(start: Any, existing: str) -> None:
    sidecar = start(existing_credential=existing)
    for header in (AUTHORIZATION, SERVERLESS, FORWARDED):
        answer = raw(
            sidecar.port,
            f"GET / HTTP/1.1\r\nhost: profiles.test\r\nconnection: close, {header}\r\n\r\n".encode(),
        )
        assert b" 200 " in answer.split(b"\r\n")[0]
        body = answer.partition(b"\r\n\r\n")[2]
        assert b'"authorization", "Bearer eyJ' in body


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("x-serverless-authorization", [SERVERLESS]),
        ("proxy-authorization", ["proxy-authorization"]),
        ("x-my-credential", ["x-my-credential"]),
        ([SERVERLESS, AUTHORIZATION], [SERVERLESS, AUTHORIZATION]),
    ],
    ids=["serverless", "proxy", "own_name", "two"],
)
def test_the_token_goes_into_the_headers_that_are_configured(start: Any, header: Any, names: list[str]) -> None:
    sidecar = start(header=header)
    arrival = sidecar.request("profiles.test", headers=[(AUTHORIZATION, OWN)]).arrival
    assert all(ours(arrival.header(name)) for name in names)
    if AUTHORIZATION not in names:
        assert arrival.header(AUTHORIZATION) == OWN


@pytest.mark.parametrize("header", [SERVERLESS, "proxy-authorization", [SERVERLESS, AUTHORIZATION]], ids=str)
def test_forward_covers_every_header_that_is_written(start: Any, header: Any) -> None:
    sidecar = start(header=header, existing_credential="forward")
    names = [header] if isinstance(header, str) else header
    sent = [(name, f"{OWN} {name}") for name in names]
    arrival = sidecar.request("profiles.test", headers=sent).arrival
    for name in names:
        assert ours(arrival.header(name))
        assert arrival.header(f"x-forwarded-{name}") == f"{OWN} {name}"
    forged = sidecar.request("profiles.test", headers=[(f"x-forwarded-{name}", FORGED) for name in names]).arrival
    assert all(forged.header(f"x-forwarded-{name}") is None for name in names)


def test_a_rule_can_have_a_header_of_its_own(launch: Launch, place: str, upstream: Upstream) -> None:
    sidecar = launch(
        place,
        clusters=[Cluster("profiles", upstream.port), Cluster("iap", upstream.port)],
        rules=[
            {"cluster": "profiles", "audience": PROFILES},
            {"cluster": "iap", "audience": "id.apps.googleusercontent.com", "header": "proxy-authorization"},
        ],
    )
    arrival = sidecar.request("iap.test", headers=[(AUTHORIZATION, OWN)]).arrival
    assert arrival.header(AUTHORIZATION) == OWN
    assert claims(bearer(arrival.header("proxy-authorization")))["aud"] == "id.apps.googleusercontent.com"
    assert described(sidecar.request("profiles.test").arrival) == OURS


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ("replace", {SERVERLESS: FORGED, FORWARDED: FORGED}),
        ("keep", {AUTHORIZATION: OWN, SERVERLESS: FORGED, FORWARDED: FORGED}),
        ("forward", {FORWARDED: OWN}),
        ("alongside", {AUTHORIZATION: OWN}),
    ],
)
def test_without_a_token_nobody_s_credential_passes_for_ours(
    launch: Launch, place: str, emulator: Emulator, fresh: Fresh, existing: str, expected: dict[str, str]
) -> None:
    audience = fresh.audience("none")
    sidecar = launch(
        place,
        rules=[{"cluster": "profiles", "audience": audience}],
        settings={"failure_mode": "allow", "existing_credential": existing, "timeout": "1s", "callout_timeout": "500ms"},
    )
    sent = [(AUTHORIZATION, OWN), (SERVERLESS, FORGED), (FORWARDED, FORGED)]
    with emulator.fault(audience=audience, status=403):
        assert described(sidecar.request("profiles.test", headers=sent).arrival) == expected


def test_the_routes_of_the_quickstart_remove_what_would_go_in_front_of_ours(
    launch: Launch, place: str, upstream: Upstream
) -> None:
    """`replace` does not look; `request_headers_to_remove` on the route does it for less."""
    sidecar = launch(
        place,
        rules=RULES,
        virtual_hosts=[
            virtual_host(
                "profiles",
                hosts_of("profiles"),
                [{**route("profiles"), "request_headers_to_remove": [SERVERLESS]}],
            )
        ],
    )
    for sent in ([(SERVERLESS, FORGED)], [(SERVERLESS, FORGED), ("X-Serverless-Authorization", FORGED)]):
        assert described(sidecar.request("profiles.test", headers=sent).arrival) == OURS


@pytest.mark.parametrize("existing", ["replace", "forward", "alongside"])
def test_a_client_that_claims_to_be_a_redirect_gains_nothing(start: Any, existing: str) -> None:
    """Envoy marks a stream that it runs again with this header; from outside it means nothing."""
    sent = [("x-envoy-original-url", "http://elsewhere.test/"), (AUTHORIZATION, FORGED), (SERVERLESS, FORGED)]
    found = described(start(existing_credential=existing).request("profiles.test", headers=sent).arrival)
    assert "ours" in found.values()
    assert found.get(SERVERLESS) != FORGED or existing == "replace"
