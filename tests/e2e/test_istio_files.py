"""envoy/istio/*.yaml as Istio's own validation sees them, and `invoker check`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from harness import istio
from harness.emulator import LOGIN, Emulator
from harness.process import ROOT, TARGET, built

FILES = sorted((ROOT / "envoy/istio").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_istio_takes_it(file: Path) -> None:
    said = istio.istioctl("validate", "-f", file)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_istio_finds_nothing_to_say_about_it(file: Path) -> None:
    said = istio.istioctl("analyze", "--use-kube=false", "--all-namespaces", "--output", "json", file)
    assert said.returncode == 0, said.stdout + said.stderr
    found = {(message["code"], message["origin"].partition(" ")[0]) for message in json.loads(said.stdout or "[]")}
    # That an EnvoyFilter reaches deep is said of each.
    assert found <= {("IST0133", "EnvoyFilter")}, said.stdout


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As Google's console writes it."""
    folder = tmp_path_factory.mktemp("key")
    Emulator(folder, options=["--write-key", f"{LOGIN}={folder / 'key.json'}"]).stop()
    key = json.loads((folder / "key.json").read_text())
    return json.dumps({**key, "token_uri": "https://oauth2.googleapis.com/token"})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_invoker_check_finds_nothing_in_it(file: Path, key: str) -> None:
    command = [built(TARGET / "release/invoker"), "check", "--istio", file]
    environment = {**os.environ, "INVOKER_SA_KEY": key}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "0 errors, 0 warnings" in said.stdout
