"""envoy/*.yaml as they are, started as the README says: with envoy, and with the real func-e."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import tokens
from harness.envoy import validate
from harness.process import ROOT, TARGET, built
from harness.shipped import (
    CALLING_SIDE,
    CALLING_SIDE_ADMIN,
    PROFILES_ACCOUNT,
    RECEIVING_SIDE,
    Demo,
    running,
)

FORGED = "Bearer forged"


@pytest.fixture(scope="session")
def func_e() -> Path:
    """scripts/test builds it; alone, scripts/install-envoy func-e does."""
    path = os.environ.get("INVOKER_FUNC_E")
    if path is None:
        script = [ROOT / "scripts/install-envoy", "func-e"]
        path = subprocess.run(script, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return built(Path(path))


@pytest.fixture(scope="module", params=["envoy-quickstart", "func-e-quickstart", "envoy-listener", "func-e-listener"])
def calling(
    request: pytest.FixtureRequest,
    receiving: Demo,
    envoy_binary: Path,
    func_e: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Demo]:
    launcher, _, name = str(request.param).rpartition("-")
    with running(
        envoy_binary,
        name,
        tmp_path_factory.mktemp("calling"),
        CALLING_SIDE_ADMIN,
        func_e=func_e if launcher == "func-e" else None,
    ):
        yield receiving


class TestTheCallingSide:
    def test_login_calls_profiles_and_is_let_in(self, calling: Demo) -> None:
        answer = calling.get(CALLING_SIDE, "profiles")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["service"] == "profiles"
        assert body["claims"]["email"] == "login@demo.iam.gserviceaccount.com"
        assert body["claims"]["aud"] == "https://profiles.demo.run.app"
        assert body["token_arrived_here"] is False

    def test_login_calls_search_and_is_no_invoker_there(self, calling: Demo) -> None:
        assert calling.get(CALLING_SIDE, "search").status_code == 403

    def test_a_forged_credential_gains_nothing(self, calling: Demo) -> None:
        """Cloud Run, and this receiver, look at the one header before the other."""
        for header in ("authorization", "x-serverless-authorization"):
            answer = calling.get(CALLING_SIDE, "profiles", [(header, FORGED)])
            assert answer.status_code == 200, answer.text
            assert answer.json()["token_arrived_here"] is False

    def test_claims_can_not_be_made_up(self, calling: Demo) -> None:
        answer = calling.get(CALLING_SIDE, "profiles", [("x-caller-claims", "eyJlbWFpbCI6ImJvc3NAeC50ZXN0In0")])
        assert answer.json()["claims"]["email"] == "login@demo.iam.gserviceaccount.com"


class TestTheReceivingSide:
    """What Cloud Run's Invoker role does, done by Envoy's own filters."""

    PROFILES = "https://profiles.demo.run.app"
    SEARCH = "https://search.demo.run.app"

    def call(self, receiving: Demo, service: str, token: str | None, header: str = "authorization") -> int:
        headers = [] if token is None else [(header, f"Bearer {token}")]
        return receiving.get(RECEIVING_SIDE, service, headers).status_code

    def test_a_call_without_a_token_is_refused(self, receiving: Demo) -> None:
        assert self.call(receiving, "profiles", None) == 401
        assert self.call(receiving, "search", None) == 401

    def test_a_call_with_a_good_token_is_let_in(self, receiving: Demo) -> None:
        assert self.call(receiving, "profiles", receiving.token(self.PROFILES)) == 200
        assert self.call(receiving, "search", receiving.token(self.SEARCH, PROFILES_ACCOUNT)) == 200

    def test_the_token_may_come_in_the_header_that_leaves_authorization_to_the_user(self, receiving: Demo) -> None:
        token = receiving.token(self.PROFILES)
        assert self.call(receiving, "profiles", token, "x-serverless-authorization") == 200
        headers = [("authorization", "Bearer of-the-user"), ("x-serverless-authorization", f"Bearer {token}")]
        assert receiving.get(RECEIVING_SIDE, "profiles", headers).status_code == 200

    def test_another_account_is_not_let_in(self, receiving: Demo) -> None:
        assert self.call(receiving, "profiles", receiving.token(self.PROFILES, PROFILES_ACCOUNT)) == 403
        assert self.call(receiving, "search", receiving.token(self.SEARCH)) == 403

    def test_a_token_without_an_email_is_not_let_in(self, receiving: Demo) -> None:
        assert self.call(receiving, "profiles", receiving.token(self.PROFILES, query="")) == 403

    def test_a_token_for_another_service_is_not_let_in(self, receiving: Demo) -> None:
        assert self.call(receiving, "profiles", receiving.token(self.SEARCH)) in (401, 403)
        assert self.call(receiving, "search", receiving.token(self.PROFILES, PROFILES_ACCOUNT)) in (401, 403)

    @pytest.mark.parametrize(
        "change", [{"lifetime": "-5m"}, {"omit": ["exp"]}, {"omit": ["iss"]}], ids=["expired", "no_exp", "no_issuer"]
    )
    def test_a_bad_token_is_not_let_in(self, receiving: Demo, change: dict[str, Any]) -> None:
        with receiving.emulator.fault(token=change):
            token = receiving.token(self.PROFILES)
        assert self.call(receiving, "profiles", token) == 401

    def test_a_token_that_google_has_not_signed_is_not_let_in(self, receiving: Demo) -> None:
        token = receiving.token(self.PROFILES)
        claims = tokens.claims(token)
        head, payload, signature = token.split(".")
        assert self.call(receiving, "profiles", tokens.unsigned(**claims)) == 401
        assert self.call(receiving, "profiles", f"{head}.{payload}.{signature[::-1]}") == 401

    def test_the_receiver_says_what_is_wrong(self, receiving: Demo) -> None:
        """The README's table, and a good token as the cure of each."""
        good = receiving.token(self.PROFILES)
        with receiving.emulator.fault(token={"lifetime": "-5m"}):
            expired = receiving.token(self.PROFILES)
        wrong = {
            "401 `Jwt is missing`": None,
            "401 `Jwt is expired`": expired,
            "401 `Jwks doesn't have key to match kid or alg from Jwt`": tokens.unsigned(**tokens.claims(good)),
            "403 `Audiences in Jwt are not allowed`": receiving.token(self.SEARCH),
            "403 `RBAC: access denied`": receiving.token(self.PROFILES, PROFILES_ACCOUNT),
        }
        table = (ROOT / "README.md").read_text().partition("| answer | means |\n")[2].partition("\n\n")[0]
        assert [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()[1:]] == list(wrong)
        for said, token in wrong.items():
            headers = [] if token is None else [("authorization", f"Bearer {token}")]
            answer = receiving.get(RECEIVING_SIDE, "profiles", headers)
            assert f"{answer.status_code} `{answer.text}`" == said
            assert self.call(receiving, "profiles", good) == 200

    def test_a_host_that_is_not_listed_leads_nowhere(self, receiving: Demo) -> None:
        assert self.call(receiving, "elsewhere", receiving.token(self.PROFILES)) == 403


def shipped(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "envoy" / f"{name}.yaml").read_text()))


def plugin_configurations(part: Any) -> Iterator[dict[str, Any]]:
    """Every Invoker configuration in an Envoy configuration."""
    if isinstance(part, dict):
        if str(part.get("@type", "")).endswith(".wasm.v3.Wasm"):
            yield part["config"]
        for value in part.values():
            yield from plugin_configurations(value)
    elif isinstance(part, list):
        for value in part:
            yield from plugin_configurations(value)


@pytest.mark.parametrize("name", ["quickstart", "listener", "outside-gcp"])
def test_invoker_check_finds_nothing_to_say(receiving: Demo, tmp_path: Path, name: str) -> None:
    environment = {**os.environ, "INVOKER_SA_KEY": receiving.key.read_text()}
    configurations = list(plugin_configurations(shipped(name)))
    assert configurations
    for number, plugin in enumerate(configurations):
        assert plugin["failure_policy"] == "FAIL_RELOAD"
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(plugin["configuration"]["value"]))
        command = [built(TARGET / "release/invoker"), "check", file, "--bootstrap", f"envoy/{name}.yaml"]
        said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
        assert said.returncode == 0, said.stdout + said.stderr
        assert "0 errors, 0 warnings" in said.stdout


@pytest.mark.parametrize("name", ["quickstart", "listener", "receiver", "outside-gcp"])
def test_envoy_takes_it_without_a_warning(
    receiving: Demo, envoy_binary: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKER_SA_KEY", receiving.key.read_text())
    configuration = shipped(name)
    for plugin in plugin_configurations(configuration):
        # The test's Envoy runs elsewhere.
        code = plugin["vm_config"]["code"]["local"]
        code["filename"] = str(ROOT / code["filename"]) if not code["filename"].startswith("/") else code["filename"]
    is_taken, log = validate(envoy_binary, configuration, tmp_path)
    assert is_taken, log
    assert "eprecated" not in log
