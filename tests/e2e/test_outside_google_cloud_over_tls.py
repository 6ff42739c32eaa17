"""envoy/outside-gcp.yaml, with nothing changed but the token endpoint's address and the roots; and the
command over TLS."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import tokens
from harness.emulator import LOGIN
from harness.process import ROOT, TARGET, built
from harness.shipped import CALLING_SIDE, CALLING_SIDE_ADMIN, EMULATOR, Demo, running
from harness.tls import Authority, in_front_of

NAME = "oauth2.googleapis.com"
SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(scope="module")
def key(receiving: Demo) -> dict[str, Any]:
    key: dict[str, Any] = json.loads(receiving.key.read_text())
    return {**key, "token_uri": f"https://{NAME}/token"}


def call(
    receiving: Demo, envoy: Path, folder: Path, key: dict[str, Any], names: list[str], *, trusted: bool = True
) -> tuple[httpx.Response, int]:
    """The answer, and how many certificates of the token endpoint's Envoy refused."""
    authority = Authority(folder / "authority")
    roots = (authority if trusted else Authority(folder / "other")).roots
    with in_front_of(EMULATOR, names, authority, envoy, folder / "front") as port:
        file = folder / "outside-gcp.yaml"
        text = (ROOT / "envoy/outside-gcp.yaml").read_text()
        for old, new in (
            (f"{{address: {NAME}, port_value: 443}}", f"{{address: 127.0.0.1, port_value: {port}}}"),
            # The last cluster's; the others' is in a comment.
            (f"\n            trusted_ca: {{filename: {SYSTEM_ROOTS}}}", f"\n            trusted_ca: {{filename: {roots}}}"),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        file.write_text(text)
        environment = {"INVOKER_SA_KEY": json.dumps(key)}
        with running(envoy, "outside-gcp", folder, CALLING_SIDE_ADMIN, file=file, environment=environment):
            answer = receiving.get(CALLING_SIDE, "profiles")
            url = f"http://127.0.0.1:{CALLING_SIDE_ADMIN}/stats?filter=cluster.oauth2.ssl.fail_verify_(error|san)"
            counts = httpx.get(url, trust_env=False).raise_for_status().text
            return answer, sum(int(line.rpartition(": ")[2]) for line in counts.splitlines())


def test_the_key_s_token_comes_over_tls_and_is_let_in(
    receiving: Demo, envoy_binary: Path, key: dict[str, Any], tmp_path: Path
) -> None:
    answer, refused = call(receiving, envoy_binary, tmp_path, key, [NAME])
    assert (answer.status_code, refused) == (200, 0), answer.text
    assert answer.json()["claims"]["email"] == LOGIN


@pytest.mark.parametrize(
    ("names", "trusted"), [(["elsewhere.googleapis.com"], True), ([NAME], False)], ids=["name", "authority"]
)
def test_a_server_that_is_somebody_else_gets_nothing(
    receiving: Demo,
    envoy_binary: Path,
    key: dict[str, Any],
    tmp_path: Path,
    names: list[str],
    trusted: bool,
) -> None:
    before = len(receiving.emulator.calls_of("token"))
    answer, refused = call(receiving, envoy_binary, tmp_path, key, names, trusted=trusted)
    assert answer.status_code == 503
    assert answer.text.startswith("invoker: callout_unreachable: "), answer.text
    assert refused > 0
    assert len(receiving.emulator.calls_of("token")) == before


@pytest.mark.parametrize("trusted", [True, False])
def test_the_command_asks_only_whom_it_trusts(
    receiving: Demo, envoy_binary: Path, key: dict[str, Any], tmp_path: Path, trusted: bool
) -> None:
    authority, other = Authority(tmp_path / "authority"), Authority(tmp_path / "other")
    with in_front_of(EMULATOR, ["localhost"], authority, envoy_binary, tmp_path / "front") as port:
        file = tmp_path / "key.json"
        file.write_text(json.dumps({**key, "token_uri": f"https://localhost:{port}/token"}))
        command = [built(TARGET / "release/invoker"), "token", "https://profiles.test", "--credentials", file]
        environment = {**os.environ, "SSL_CERT_FILE": str((authority if trusted else other).roots)}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    if trusted:
        assert said.returncode == 0, said.stderr
        assert tokens.claims(said.stdout.strip())["email"] == LOGIN
    else:
        assert (said.returncode, said.stdout) == (1, "")
        assert "UnknownIssuer" in said.stderr and "SSL_CERT_FILE" in said.stderr, said.stderr
