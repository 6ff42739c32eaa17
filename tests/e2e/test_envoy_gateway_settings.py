"""What people forget in Envoy Gateway's own settings: the troubleshooting's entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.gateway import HOST, find, started
from harness.waiting import eventually


def test_without_the_extension_a_backend_is_disabled(
    newest_envoy: Path, newest_envoy_version: str, module_url: str, tmp_path: Path
) -> None:
    """The cure is what all other tests have."""
    extensions = {"enableBackend": False, "enableEnvoyPatchPolicy": True}
    with started(tmp_path, newest_envoy, newest_envoy_version, module_url, extensionApis=extensions) as world:
        world.gateway.wait_for_status("HTTPRoute", "Backend is disabled")
        answer = world.get(HOST["profiles"])
        assert (answer.status, answer.text) == (500, "")


@pytest.mark.parametrize("level", [None, "info"])
def test_the_log_says_more_at_another_level(
    newest_envoy: Path, newest_envoy_version: str, module_url: str, tmp_path: Path, level: str | None
) -> None:
    def change(resources: list[dict[str, Any]]) -> None:
        if level:
            find(resources, "EnvoyProxy", "cloud-run")["spec"]["logging"] = {"level": {"default": level}}

    with started(tmp_path, newest_envoy, newest_envoy_version, module_url, change) as world:
        eventually(lambda: world.get(HOST["profiles"]).status == 200, "a token", within=60)
        assert ("first_token" in world.gateway.log()) == (level == "info")
