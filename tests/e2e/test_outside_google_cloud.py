"""Keys, impersonation and federation: what comes from elsewhere than the metadata server alone.

Every request that is answered with 200 went through `jwt_authn` of a receiving Envoy, which checked the
token's signature, issuer and end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import bootstrap
from harness.bootstrap import Cluster, Json, message
from harness.client import Answer, at_once
from harness.emulator import LOGIN, Emulator
from harness.envoy import Envoy
from harness.names import Fresh, Service
from harness.neighbour import Neighbour, of_federation
from harness.sidecar import LISTENER, Launch, Sidecar
from harness.tokens import JWT, bearer
from harness.upstream import Upstream
from harness.waiting import eventually

CALLER = "caller@demo.iam.gserviceaccount.com"
HOP = "hop@demo.iam.gserviceaccount.com"
BEHIND = "behind@demo.iam.gserviceaccount.com"
STRANGER = "stranger@demo.iam.gserviceaccount.com"
# `federated` may act as login; login as caller and hop; hop as behind. Nobody as stranger.
GRANTS = [
    f"federated={LOGIN}",
    f"federated={CALLER}",
    f"{LOGIN}={LOGIN}",
    f"{LOGIN}={CALLER}",
    f"{LOGIN}={HOP}",
    f"{HOP}={BEHIND}",
]
SUBJECT_TOKEN = "subject-token-of-the-other-provider"

KEY = {"type": "service_account_key", "key": {"env": "INVOKER_SA_KEY"}, "cluster": "oauth2"}
FEDERATION: Json = {
    "type": "federation",
    "config": {"env": "INVOKER_EXTERNAL_ACCOUNT"},
    "cluster": "sts",
    "subject_cluster": "subject",
    "iam_cluster": "iamcredentials",
}
METADATA = {"type": "metadata", "cluster": "metadata"}


# The pool's principal itself, which acts as nobody else.
PRINCIPAL: Json = {name: value for name, value in FEDERATION.items() if name != "iam_cluster"}
PRINCIPAL["config"] = {"env": "INVOKER_POOL"}


def impersonation(source: Json, account: str = CALLER, delegates: list[str] | None = None) -> Json:
    more = {"delegates": delegates} if delegates else {}
    return {"type": "impersonation", "service_account": account, "cluster": "iamcredentials", "source": source, **more}


# Each kind, and whose tokens it brings.
KINDS = {
    "key": (KEY, LOGIN),
    "impersonation_by_metadata": (impersonation(METADATA), CALLER),
    "impersonation_by_key": (impersonation(KEY), CALLER),
    "impersonation_by_federation": (impersonation(PRINCIPAL), CALLER),
    "impersonation_through_a_delegate": (impersonation(METADATA, BEHIND, [HOP]), BEHIND),
    "federation": (FEDERATION, LOGIN),
}

RULES = [{"cluster": "profiles", "authority": "*.profiles.test", "audience": "https://{authority}"}]
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass
class Google:
    """The emulator as Google's token services, the files that lead there, and a receiver that trusts it."""

    emulator: Emulator
    key: Json
    external_account: Json
    receiver_port: int

    def environment(self, key: Json | None = None) -> dict[str, str]:
        return {
            "INVOKER_SA_KEY": json.dumps(key or self.key),
            "INVOKER_EXTERNAL_ACCOUNT": json.dumps(self.external_account),
            "INVOKER_POOL": json.dumps(
                {name: it for name, it in self.external_account.items() if name != "service_account_impersonation_url"}
            ),
        }

    def layout(self, credentials: Json, key: Json | None = None, **settings: Any) -> Json:
        """For `launch`."""
        return {
            "rules": RULES,
            "settings": {"credentials": credentials, **settings},
            "clusters": [Cluster("profiles", self.receiver_port)],
            "metadata_port": self.emulator.port,
            "callout_clusters": ["oauth2", "sts", "subject", "iamcredentials"],
            "environment": self.environment(key),
        }


def jwt_authn() -> Json:
    certificates = {"uri": "http://google.test/oauth2/v3/certs", "cluster": "certificates", "timeout": "5s"}
    provider = {
        "issuer": "https://accounts.google.com",
        "require_expiration": True,
        "forward": True,
        "remote_jwks": {"http_uri": certificates, "retry_policy": {"num_retries": 5}},
    }
    rules = [{"match": {"prefix": "/"}, "requires": {"provider_name": "google"}}]
    config = message(
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication", providers={"google": provider}, rules=rules
    )
    return {"name": "envoy.filters.http.jwt_authn", "typed_config": config}


@pytest.fixture(scope="module")
def google(envoy_binary: Path, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    folder = tmp_path_factory.mktemp("google")
    key, external = folder / "key.json", folder / "external-account.json"
    options: list[str | Path] = ["--write-key", f"{LOGIN}={key}", "--write-external-account", f"{LOGIN}={external}"]
    for grant in GRANTS:
        options += ["--grant", grant]
    options += ["--subject-token", SUBJECT_TOKEN]
    emulator = Emulator(folder / "emulator", accounts=[LOGIN, CALLER, HOP, BEHIND, STRANGER], options=options)
    hosts = [bootstrap.virtual_host("all", ["*"], [bootstrap.route("service")])]
    configuration = folder / "receiver.json"
    listener = bootstrap.listener("receiver", hosts, [jwt_authn()], folder / "access.log")
    clusters = [Cluster("service", upstream.port).build(), Cluster("certificates", emulator.port).build()]
    configuration.write_text(json.dumps(bootstrap.bootstrap([listener], clusters)))
    receiver = Envoy(envoy_binary, configuration, folder)
    port = eventually(receiver.listeners, "the receiver's listener")["receiver"]
    yield Google(emulator, json.loads(key.read_text()), json.loads(external.read_text()), port)
    receiver.stop()
    emulator.stop()


@pytest.fixture
def service(fresh: Fresh) -> Service:
    return Service(f"{fresh('outside')}.profiles.test")


@pytest.mark.parametrize(("credentials", "account"), KINDS.values(), ids=KINDS)
def test_the_token_arrives_and_is_let_in(
    launch: Launch, place: str, google: Google, service: Service, credentials: Json, account: str
) -> None:
    sidecar = launch(place, **google.layout(credentials))
    answer = sidecar.request(service.host)
    assert (answer.claims["aud"], answer.claims["email"]) == (service.audience, account)


EXCHANGES = {
    "key": ("key", {"token": 1}),
    "impersonation": ("impersonation_by_metadata", {"metadataToken": 1, "generateIdToken": 1}),
    "federation": ("federation", {"subject": 1, "sts": 1, "generateIdToken": 1}),
}


@pytest.mark.parametrize(("kind", "expected"), EXCHANGES.values(), ids=EXCHANGES)
def test_a_cold_stampede_makes_one_exchange(
    launch: Launch, place: str, google: Google, service: Service, kind: str, expected: dict[str, int]
) -> None:
    sidecar = launch(place, workers=4, **google.layout(KINDS[kind][0]))
    before = {endpoint: len(google.emulator.calls_of(endpoint)) for endpoint in expected}
    last = list(expected)[-1]
    with google.emulator.fault(endpoint=last, audience=service.audience, delay="500ms"):
        answers = at_once(100, sidecar.port, service.host)
    assert {answer.claims["aud"] for answer in answers} == {service.audience}
    calls = {endpoint: len(google.emulator.calls_of(endpoint)) - before[endpoint] for endpoint in expected}
    assert calls == expected


def test_an_exchange_whose_record_a_neighbour_garbles_between_its_legs_goes_on(
    launch: Launch, google: Google, service: Service
) -> None:
    layout = google.layout(FEDERATION, prefetch=False, timeout="20s", callout_timeout="10s")
    sidecar = launch(LISTENER, workers=2, **layout, filters_before=[Neighbour.http_filter()])
    neighbour, emulator = Neighbour(sidecar), google.emulator
    record = of_federation(google.external_account, "sts", "subject", "https://www.googleapis.com/auth/iam")
    before = {leg: len(emulator.calls_of(leg)) for leg in ("subject", "sts")}
    with emulator.fault(endpoint="subject", delay="2s"), emulator.fault(endpoint="sts", delay="2s"):
        waiting = sidecar.start_request(service.host)
        for leg, calls in before.items():
            eventually(lambda: len(emulator.calls_of(leg)) > calls, f"the leg {leg}")
            # Else it would be another record that is garbled.
            assert neighbour.read(record)["lease"]
            neighbour.write(record, b"boo")
        assert waiting.result().claims["aud"] == service.audience
    assert {leg: len(emulator.calls_of(leg)) - calls for leg, calls in before.items()} == {"subject": 1, "sts": 1}


def test_one_access_token_serves_all_audiences(launch: Launch, google: Google, fresh: Fresh) -> None:
    sidecar = launch(LISTENER, workers=2, **google.layout(KINDS["federation"][0]))
    before = len(google.emulator.calls_of("sts"))
    hosts = [f"{fresh('many')}.profiles.test" for _ in range(5)]
    assert [sidecar.request(host).claims["aud"] for host in hosts] == [f"https://{host}" for host in hosts]
    assert len(google.emulator.calls_of("sts")) - before == 1


@pytest.mark.parametrize(("credentials", "account"), [(METADATA, ""), *KINDS.values()], ids=["metadata", *KINDS])
def test_a_rule_with_scopes_gets_an_access_token(
    launch: Launch, google: Google, upstream: Upstream, credentials: Json, account: str
) -> None:
    layout = google.layout(credentials)
    # An access token is no JWT: nothing for the receiver.
    layout["clusters"] = [Cluster("apis", upstream.port)]
    layout["rules"] = [{"cluster": "apis", "scopes": [SCOPE]}]
    sidecar = launch(LISTENER, **layout)
    first, second = (bearer(sidecar.request("apis.test").arrival.header("authorization")) for _ in range(2))
    assert first == second and not JWT.match(first)


# Whose leg it is, with a kind that has it; and whether an audience tells its calls from others.
LEGS = {
    "token": ("key", "token endpoint", True),
    "generateIdToken": ("impersonation_by_metadata", "iamcredentials", True),
    "metadataToken": ("impersonation_by_metadata", "metadata server", False),
    "subject": ("federation", "subject token", False),
    "sts": ("federation", "sts", False),
}

FAULTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "internal_error": ({"status": 500}, 503, "server_error"),
    "overloaded": ({"status": 503}, 503, "server_error"),
    "rate_limited": ({"status": 429}, 503, "server_error"),
    "hangs": ({"hang": True}, 503, "callout_timeout|timeout"),
    "closes_the_connection": ({"close": True}, 503, "callout_unreachable"),
    "forbidden": ({"status": 403}, 500, "refused"),
    "bad_request": ({"status": 400}, 500, "refused"),
    "redirect": ({"status": 302, "headers": {"location": "http://elsewhere.test/"}}, 500, "refused"),
    "empty_body": ({"status": 200, "body": ""}, 500, "malformed_answer"),
    "answer_of_65_kilobytes": ({"status": 200, "body_size": 65 * 1024}, 500, "malformed_answer"),
}
# Of the leg that brings the token itself.
TOKEN_FAULTS: dict[str, tuple[dict[str, Any], int, str]] = {
    **FAULTS,
    "not_found": ({"status": 404}, 500, "not_found"),
    "error_page_with_200": ({"status": 200, "body": "<html>Service worker error</html>"}, 500, "malformed_answer"),
    "wrong_audience": ({"token": {"aud": "https://somebody-else.test"}}, 500, "malformed_answer"),
    "no_exp": ({"token": {"omit": ["exp"]}}, 500, "malformed_answer"),
    "only_expired_tokens": ({"token": {"lifetime": "-60s"}}, 503, "expired_token"),
}
TIMES = {"timeout": "1200ms", "callout_timeout": "500ms"}


@pytest.fixture(scope="module")
def shared(launch_shared: Launch, google: Google) -> dict[str, Sidecar]:
    """One for each kind; the credential has worked."""
    sidecars = {}
    for kind in ("key", "impersonation_by_metadata"):
        sidecars[kind] = launch_shared(LISTENER, **google.layout(KINDS[kind][0], **TIMES))
        assert sidecars[kind].request("well.profiles.test").status == 200
    return sidecars


def assert_denied(answer: Answer, status: int, code: str, words: str) -> None:
    assert answer.status == status, answer.text
    said = re.match(r"invoker: (\w+): ", answer.text)
    assert said and re.fullmatch(code, said.group(1)), answer.text
    assert words in answer.text


@pytest.mark.parametrize("leg", [leg for leg, (_, _, by_audience) in LEGS.items() if by_audience])
@pytest.mark.parametrize(("fault", "status", "code"), TOKEN_FAULTS.values(), ids=TOKEN_FAULTS)
def test_the_last_leg_fails(
    shared: dict[str, Sidecar],
    google: Google,
    upstream: Upstream,
    fresh: Fresh,
    service: Service,
    leg: str,
    fault: dict[str, Any],
    status: int,
    code: str,
) -> None:
    kind, name, _ = LEGS[leg]
    path = fresh.path("denied")
    with google.emulator.fault(endpoint=leg, audience=service.audience, **fault):
        answer = shared[kind].request(service.host, path)
    assert_denied(answer, status, code, name)
    assert service.audience in answer.text
    assert upstream.arrived(path) == []


@pytest.mark.parametrize("leg", [leg for leg, (_, _, by_audience) in LEGS.items() if not by_audience])
@pytest.mark.parametrize(("fault", "status", "code"), FAULTS.values(), ids=FAULTS)
def test_a_leg_before_it_fails(
    launch: Launch,
    google: Google,
    upstream: Upstream,
    fresh: Fresh,
    service: Service,
    leg: str,
    fault: dict[str, Any],
    status: int,
    code: str,
) -> None:
    kind, name, _ = LEGS[leg]
    path = fresh.path("denied")
    sidecar = launch(LISTENER, **google.layout(KINDS[kind][0], **TIMES))
    with google.emulator.fault(endpoint=leg, **fault):
        answer = sidecar.request(service.host, path)
    assert_denied(answer, status, code, name)
    assert upstream.arrived(path) == []
    eventually(lambda: sidecar.request(service.host).status == 200, "to be served once it is well", within=20)


class TestWhatAnOperatorIsTold:
    def denied(self, sidecar: Sidecar, service: Service, *words: str) -> None:
        answer = sidecar.request(service.host)
        for word in words:
            assert_denied(answer, 500, "refused", word)
        assert not secrets_in(answer.text)

    def test_a_key_that_google_does_not_know(
        self, launch: Launch, google: Google, service: Service, tmp_path: Path
    ) -> None:
        file = tmp_path / "key.json"
        other = Emulator(tmp_path / "other", options=["--write-key", f"{LOGIN}={file}"])
        other.stop()
        key = {**json.loads(file.read_text()), "token_uri": google.key["token_uri"]}
        sidecar = launch(LISTENER, **google.layout(KEY, key))
        self.denied(sidecar, service, "invalid_grant", "Invalid JWT Signature", key["private_key_id"], LOGIN)

    def test_a_key_that_was_revoked(self, launch: Launch, google: Google, service: Service) -> None:
        sidecar = launch(LISTENER, **google.layout(KEY))
        with google.emulator.disabled_key(google.key["private_key_id"]):
            self.denied(sidecar, service, "invalid_grant", google.key["private_key_id"])
        eventually(lambda: sidecar.request(service.host).status == 200, "to be served again", within=20)

    @pytest.mark.parametrize("offset", ["-5m", "2h"], ids=["ahead_of_google", "behind_google"])
    def test_a_clock_that_is_off(self, launch: Launch, google: Google, service: Service, offset: str) -> None:
        sidecar = launch(LISTENER, **google.layout(KEY))
        with google.emulator.clock_offset(offset):
            self.denied(sidecar, service, "invalid_grant", "clock")

    def test_a_permission_that_is_missing(self, launch: Launch, google: Google, service: Service) -> None:
        sidecar = launch(LISTENER, **google.layout(impersonation(METADATA, STRANGER)))
        self.denied(sidecar, service, "403", "roles/iam.serviceAccountOpenIdTokenCreator", STRANGER)

    def test_a_delegate_that_is_missing(self, launch: Launch, google: Google, service: Service) -> None:
        sidecar = launch(LISTENER, **google.layout(impersonation(METADATA, BEHIND)))
        self.denied(sidecar, service, "403", BEHIND)

    def test_a_subject_token_that_sts_does_not_take(
        self, launch: Launch, google: Google, service: Service
    ) -> None:
        sidecar = launch(LISTENER, **google.layout(FEDERATION))
        field = google.external_account["credential_source"]["format"]["subject_token_field_name"]
        with google.emulator.fault(endpoint="subject", status=200, body=json.dumps({field: "another-token"})):
            self.denied(sidecar, service, "sts: 4")


def test_an_access_token_that_was_revoked_is_fetched_anew(launch: Launch, google: Google, fresh: Fresh) -> None:
    sidecar = launch(LISTENER, **google.layout(KINDS["federation"][0]))
    hosts = [f"{fresh('revoked')}.profiles.test" for _ in range(2)]
    assert sidecar.request(hosts[0]).status == 200
    google.emulator.revoke_access_tokens()
    assert eventually(lambda: sidecar.request(hosts[1]).status == 200, "a new access token", within=20)


def secrets_in(text: str) -> list[str]:
    """A signed JWT (an assertion, an ID token), an access token, a key, the subject token."""
    private = re.findall(r"PRIVATE KEY|MII[A-Za-z0-9+/]{20,}", text)
    return [*private, *JWT.findall(text), *re.findall(r"ya29\.\S+", text), *re.findall(SUBJECT_TOKEN, text)]


@pytest.mark.parametrize(("credentials", "account"), KINDS.values(), ids=KINDS)
def test_no_secret_is_in_the_log_or_in_envoy_s_configuration(
    launch: Launch, google: Google, service: Service, fresh: Fresh, credentials: Json, account: str
) -> None:
    sidecar = launch(LISTENER, wasm_log_level="trace", **google.layout(credentials))
    assert sidecar.request(service.host).claims["email"] == account
    ill = f"{fresh('ill')}.profiles.test"
    with google.emulator.fault(endpoint="generateIdToken", status=403):
        with google.emulator.fault(endpoint="token", audience=f"https://{ill}", status=400):
            assert sidecar.request(ill).status == 500
    eventually(lambda: "fetch_failed" in sidecar.envoy.log(), "the failure to be logged")
    log = sidecar.envoy.log()
    assert "first_token" in log
    assert secrets_in(log) == []
    configuration = sidecar.envoy.admin.get("/config_dump").text
    assert "INVOKER_SA_KEY" in configuration
    assert secrets_in(configuration) == []
    # That the search finds what is there.
    assert secrets_in(json.dumps(google.key))


@pytest.mark.parametrize("kind", ["key", "external_account", "subject_in_a_file"])
def test_a_local_metadata_server_hands_out_real_tokens(
    launch: Launch, google: Google, service: Service, tmp_path: Path, kind: str
) -> None:
    """`invoker emulate --credentials` beside a proxy whose credentials stay `type: metadata`."""
    content = google.key if kind == "key" else google.external_account
    if kind == "subject_in_a_file":
        subject = tmp_path / "subject"
        subject.write_text(SUBJECT_TOKEN)
        content = {**content, "credential_source": {"file": str(subject)}}
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(content))
    server = Emulator(tmp_path / "server", accounts=[], lifetime=None, options=["--credentials", file])
    try:
        sidecar = launch(LISTENER, **{**google.layout(METADATA), "metadata_port": server.port})
        answers = at_once(50, sidecar.port, service.host)
        assert {(it.claims["aud"], it.claims["email"]) for it in answers} == {(service.audience, LOGIN)}
        assert len({bearer(it.arrival.header("authorization")) for it in answers}) == 1
    finally:
        server.stop()


def test_a_key_in_the_configuration_works_and_is_warned_of(
    launch: Launch, google: Google, service: Service
) -> None:
    sidecar = launch(LISTENER, **google.layout({**KEY, "key": google.key}))
    assert sidecar.request(service.host).status == 200
    warning = next(line for line in sidecar.envoy.log().splitlines() if "[warning]" in line and "wasm" in line)
    assert "credentials.key" in warning and "config_dump" in warning, warning


@pytest.mark.parametrize("kind", ["key", "federation"])
def test_many_audiences_at_the_start_all_get_their_token(launch: Launch, google: Google, kind: str) -> None:
    """They are signed for one by one, so that no worker stands still."""
    layout = google.layout(KINDS[kind][0], prefetch=True)
    names = [f"https://start-{number}.test" for number in range(100)]
    layout["rules"] = [{"path": f"/{number}", "audience": name} for number, name in enumerate(names)]
    layout["rules"] = [{"cluster": "profiles", **rule} for rule in layout["rules"]]
    sidecar = launch(LISTENER, workers=2, **layout)
    sidecar.envoy.wait_for_metric("tokens.cached", 100)
    for number in (0, 57, 99):
        assert sidecar.request("profiles.test", f"/{number}").claims["aud"] == names[number]
