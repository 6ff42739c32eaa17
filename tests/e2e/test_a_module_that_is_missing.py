"""What Envoy itself does when it can't get the module. Meshes fetch it for Envoy: test_istio, test_envoy_gateway."""

from __future__ import annotations

from pathlib import Path

from harness.bootstrap import Cluster
from harness.envoy import validate
from harness.names import Fresh
from harness.sidecar import Launch, Layout
from harness.upstream import Upstream

RULES = [{"cluster": "profiles", "audience": "https://profiles.test"}]


def test_one_that_can_t_be_fetched_denies_every_request(
    launch: Launch, place: str, upstream: Upstream, fresh: Fresh
) -> None:
    # The emulator, which has no such file.
    where = {"uri": "http://127.0.0.1/invoker.wasm", "cluster": "metadata", "timeout": "2s"}
    code = {"remote": {"http_uri": where, "sha256": "0" * 64}}
    vm_config = {"vm_id": "invoker", "runtime": "envoy.wasm.runtime.v8", "code": code}
    path = fresh.path("missing")
    sidecar = launch(place, rules=RULES, plugin={"vm_config": vm_config}, may_crash=True)
    sidecar.envoy.wait_for_log("Plugin configured to fail closed failed to load")
    for _ in range(5):
        assert sidecar.request("profiles.test", path).status == 503
    assert upstream.arrived(path) == []


def test_a_file_that_is_not_there_is_refused_with_the_configuration(
    envoy_binary: Path, place: str, tmp_path: Path
) -> None:
    layout = Layout(
        place, [Cluster("profiles", 1)], metadata_port=1, rules=RULES, module=tmp_path / "nowhere.wasm"
    )
    taken, log = validate(envoy_binary, layout.bootstrap(tmp_path), tmp_path / "validate")
    assert not taken
    assert "nowhere.wasm" in log
