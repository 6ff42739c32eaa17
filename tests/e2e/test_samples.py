"""The callers of Google's page, minus their authentication code, as tests/samples/README.md runs them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness.process import ROOT, TARGET, built
from harness.shipped import CALLING_SIDE_ADMIN, EMULATOR, Demo, running

SAMPLES = ROOT / "tests/samples"


@pytest.fixture(scope="module")
def calling(receiving: Demo, envoy_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(envoy_binary, "quickstart", tmp_path_factory.mktemp("calling"), CALLING_SIDE_ADMIN):
        yield receiving


def answer_to(command: Sequence[str | Path], folder: Path, **environment: str) -> Any:
    """The machine's own proxies must not stand in the way."""
    others = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    ran = subprocess.run(command, cwd=folder, env=others | environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads(ran.stdout)


def is_let_in(answer: Any) -> None:
    assert answer["service"] == "profiles"
    assert answer["claims"]["email"] == "login@demo.iam.gserviceaccount.com"
    assert answer["claims"]["aud"] == "https://profiles.demo.run.app"


@pytest.mark.parametrize(
    ("language", "command"),
    [("node", ["node", "main.js"]), ("python", ["python3", "main.py"]), ("go", ["go", "run", "."])],
)
def test_a_program_without_a_line_of_authentication_gets_in(calling: Demo, language: str, command: list[str]) -> None:
    is_let_in(answer_to(command, SAMPLES / language))


@pytest.mark.parametrize("language", ["node", "python", "go"])
def test_no_sample_holds_a_credential(language: str) -> None:
    for file in (SAMPLES / language).iterdir():
        assert "authorization" not in file.read_text().lower()


def test_a_program_with_the_javascript_package_and_no_proxy_gets_in(receiving: Demo, tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copytree(SAMPLES / "node-without-a-proxy", program)
    with tarfile.open(built(TARGET / "js" / "invoker.tgz")) as package:
        package.extractall(tmp_path, filter="data")
    (program / "node_modules").mkdir()
    shutil.move(tmp_path / "package", program / "node_modules" / "invoker")
    is_let_in(answer_to(["node", "main.js"], program, GCE_METADATA_HOST=f"127.0.0.1:{EMULATOR}"))
