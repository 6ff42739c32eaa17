"""envoy/istio's sidecars through Istio's own discovery server, pilot-agent and Envoy."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from harness import istio
from harness.bootstrap import MODULE, NEIGHBOUR_MODULE, PANICKING_MODULE
from harness.client import Answer, at_once, load
from harness.emulator import LOGIN
from harness.istio import find
from harness.mesh import OTHERS, PROFILES, SEARCH, Mesh, shipped, sidecar, with_module
from harness.process import built, free_port
from harness.registry import Registry
from harness.upstream import Upstream
from harness.waiting import eventually


@pytest.fixture(scope="module")
def mesh(newest_envoy: Path, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with sidecar(tmp_path_factory.mktemp("istio"), newest_envoy, upstream, shipped("invoker"), workers=4) as mesh:
        yield mesh


def test_a_stampede_makes_one_call(mesh: Mesh) -> None:
    answers = at_once(100, 80, PROFILES, address=mesh.address)
    assert {answer.status for answer in answers} == {200}, answers[0].text
    assert {answer.claims["aud"] for answer in answers} == {f"https://{PROFILES}"}
    assert len(mesh.emulator.calls(f"https://{PROFILES}")) == 1


def test_each_host_by_name_gets_its_own_token(mesh: Mesh) -> None:
    for host in (PROFILES, SEARCH):
        assert mesh.request(host).claims["aud"] == f"https://{host}"


def test_a_host_by_wildcard_gets_a_token_for_itself(mesh: Mesh) -> None:
    for host in OTHERS[:2]:
        assert mesh.request(host).claims["aud"] == f"https://{host}"
        assert host in mesh.names.asked


def test_a_caller_can_t_put_its_own_credential_in_front(mesh: Mesh) -> None:
    arrival = mesh.request(PROFILES, **{"x-serverless-authorization": "Bearer mine", "authorization": "Bearer mine"}).arrival
    assert arrival.header("x-serverless-authorization") is None
    assert arrival.header("authorization") != "Bearer mine"


def test_a_server_of_another_name_gets_nothing(mesh: Mesh) -> None:
    """The wildcard's names are what requests are for: a server that shows a certificate for another is refused."""
    before = len(mesh.upstream.arrivals)
    answer = mesh.request("stranger-xyz789-ew.a.run.app")
    assert answer.status == 503
    assert len(mesh.upstream.arrivals) == before
    assert mesh.agent.statistic(r"ssl\.fail_verify_san$") > 0


def test_an_edit_of_the_plugin_under_load_fails_no_request_and_costs_no_call(mesh: Mesh) -> None:
    mesh.request(PROFILES)
    before = len(mesh.emulator.calls(f"https://{PROFILES}"))
    plugin = find(mesh.resources, "WasmPlugin", "invoker")
    with load(lambda: mesh.request(PROFILES)) as result:
        for margin in ("4m", "3m", "2m"):
            plugin["spec"]["pluginConfig"]["refresh_margin"] = margin
            mesh.apply()
            eventually(lambda margin=margin: margin in str(mesh.agent.dump("EcdsConfigDump")), "the edit to arrive")
            answered = len(result.answers)
            eventually(lambda answered=answered: len(result.answers) > answered + 50, "requests after the edit")
    assert not result.errors
    assert result.statuses() == {200}
    assert len(mesh.emulator.calls(f"https://{PROFILES}")) == before


def test_another_team_s_plugin_in_the_same_key_space_harms_nothing(mesh: Mesh) -> None:
    """Istio gives no vm_id: both plugins share one space of keys and queues."""
    theirs = copy.deepcopy(find(mesh.resources, "WasmPlugin", "invoker"))
    theirs["metadata"]["name"] = "neighbour"
    # In front of ours, so that it is asked what to do.
    theirs["spec"].update(url=f"file://{built(NEIGHBOUR_MODULE)}", pluginConfig={}, priority=10)
    mesh.resources.append(theirs)
    try:
        mesh.apply()
        write = {"x-neighbour-set": "invoker/1/slot/{0..1024}", "x-neighbour-value": "boo"}
        eventually(lambda: mesh.request(PROFILES, **write).content == b"", "the neighbour to write into our slots")
        read = mesh.request(PROFILES, **{"x-neighbour-get": "invoker/1/slot/7"})
        assert (read.status, read.content) == (200, b"boo")
        mesh.request(PROFILES, **{**write, "x-neighbour-set": "invoker/1/queue/{0..16}"})
        # Cold ones, which go by the slots, and one that is warm.
        for host in ("catalog-xyz789-ew.a.run.app", "orders-xyz789-ew.a.run.app", PROFILES):
            assert {answer.claims["aud"] for answer in at_once(20, 80, host, address=mesh.address)} == {f"https://{host}"}
    finally:
        mesh.resources.remove(theirs)
        mesh.apply()


def test_metrics_are_on_the_admin_page_and_where_prometheus_scrapes(mesh: Mesh) -> None:
    """The agent's own `proxyStatsMatcher` does not name them."""
    before = mesh.agent.metric("requests.authorized")
    mesh.request(PROFILES)
    eventually(lambda: mesh.agent.metric("requests.authorized") > before, "the request to be counted")
    assert "\ninvoker_requests_authorized{" in mesh.agent.scrape()


def test_a_host_without_an_entry_gets_no_token(mesh: Mesh) -> None:
    """ALLOW_ANY sends it on in plain text, to wherever the client says."""
    before = mesh.agent.metric("requests.bypassed")
    mesh.request("unknown.example.com")
    eventually(lambda: mesh.agent.metric("requests.bypassed") > before, "the request to be left alone")


def test_requests_that_a_crash_strands_are_ended(newest_envoy: Path, upstream: Upstream, tmp_path: Path) -> None:
    """What the file's EnvoyFilter is for: Istio itself sets no idle timeout. Five minutes are too long for a test."""
    text = json.dumps(with_module(istio.shipped("invoker"), f"file://{built(PANICKING_MODULE)}"))
    assert text.count('"stream_idle_timeout": "300s"') == 1
    resources = json.loads(text.replace('"300s"', '"3s"'))
    with sidecar(tmp_path, newest_envoy, upstream, resources, workers=1, may_crash=True) as mesh:
        with mesh.emulator.fault(audience=f"https://{OTHERS[0]}", hang=True), ThreadPoolExecutor() as pool:
            stranded = pool.submit(mesh.request, OTHERS[0], "/stranded")
            mesh.emulator.wait_for_calls(f"https://{OTHERS[0]}", 1)
            eventually(lambda: mesh.agent.metric("requests.waited") == 1, "the request to wait")
            mesh.request(PROFILES, **{"x-invoker-test-panic": "now"})
            # 504 at the idle timeout, or 503 where Envoy fails it itself.
            assert stranded.result().status in (503, 504)
        assert upstream.arrived("/stranded") == []


def test_outside_google_cloud_the_key_s_token_comes_over_tls(
    newest_envoy: Path, upstream: Upstream, tmp_path: Path
) -> None:
    with sidecar(tmp_path, newest_envoy, upstream, shipped("outside-gcp")) as mesh:
        claims = mesh.request(PROFILES).claims
        assert (claims["aud"], claims["email"]) == (f"https://{PROFILES}", LOGIN)
        assert [call.status for call in mesh.emulator.calls_of("token")] == [200]
        key = mesh.key.read_text()
        assert json.loads(key)["private_key"][100:200] not in json.dumps(mesh.agent.admin.get("/config_dump").json())


def test_the_upstream_form_stands_in_the_cluster(newest_envoy: Path, upstream: Upstream, tmp_path: Path) -> None:
    text = json.dumps(istio.shipped("upstream-form"))
    assert text.count("/etc/invoker/plugin.wasm") == 1
    resources = json.loads(text.replace("/etc/invoker/plugin.wasm", str(built(MODULE))))
    with sidecar(tmp_path, newest_envoy, upstream, resources, workers=4) as mesh:
        answers = at_once(100, 80, PROFILES, address=mesh.address)
        assert {answer.status for answer in answers} == {200}, answers[0].text
        assert {answer.claims["aud"] for answer in answers} == {f"https://{PROFILES}"}
        assert len(mesh.emulator.calls(f"https://{PROFILES}")) == 1
        arrival = mesh.request(PROFILES, **{"x-serverless-authorization": "Bearer mine"}).arrival
        assert arrival.header("x-serverless-authorization") is None


def checksum() -> str:
    return hashlib.sha256(built(MODULE).read_bytes()).hexdigest()


def test_the_module_comes_over_http_with_its_checksum(
    newest_envoy: Path, upstream: Upstream, module_url: str, tmp_path: Path
) -> None:
    resources = with_module(istio.shipped("invoker"), module_url, sha256=checksum())
    with sidecar(tmp_path / "mesh", newest_envoy, upstream, resources) as mesh:
        assert mesh.request(PROFILES).claims["aud"] == f"https://{PROFILES}"


def test_the_module_comes_as_an_image(
    newest_envoy: Path, upstream: Upstream, images: Registry, tmp_path: Path
) -> None:
    image, digest = images.push("invoker:0.1.0")
    resources = with_module(istio.shipped("invoker"), f"oci://{image.rpartition(':')[0]}@sha256:{digest}")
    with sidecar(tmp_path / "mesh", newest_envoy, upstream, resources) as mesh:
        assert mesh.request(PROFILES).claims["aud"] == f"https://{PROFILES}"


def test_what_people_forget(newest_envoy: Path, upstream: Upstream, tmp_path: Path) -> None:
    """The troubleshooting's entries, one after the other, and the way back."""
    with sidecar(tmp_path, newest_envoy, upstream, shipped("invoker")) as mesh:

        def answers(status: int, host: str = PROFILES) -> str:
            """What is said once it is this status."""
            answer = eventually(lambda: (said := mesh.request(host)).status == status and said, f"{status}")
            return answer.text

        answers(200)
        complete = copy.deepcopy(mesh.resources)
        # An entry, where only what is registered may be called.
        scope = find(mesh.resources, "Sidecar", "way-in")["spec"]
        scope["outboundTrafficPolicy"] = {"mode": "REGISTRY_ONLY"}
        mesh.apply()
        assert answers(502, "unknown.example.com") == ""
        mesh.resources[:] = copy.deepcopy(complete)
        # The same, where anything may be called: it goes as it is.
        for name in ("search", "cloud-run"):
            mesh.resources.remove(find(mesh.resources, "ServiceEntry", name))
        mesh.apply()
        bypassed = mesh.agent.metric("requests.bypassed")
        eventually(
            lambda: mesh.request(SEARCH) and mesh.agent.metric("requests.bypassed") > bypassed, "no rule to match"
        )
        mesh.resources[:] = copy.deepcopy(complete)
        mesh.apply()
        answers(200, SEARCH)
        # TLS. (The wildcard's rule is for this host too, where it has none of its own.)
        for name in ("profiles", "cloud-run"):
            mesh.resources.remove(find(mesh.resources, "DestinationRule", name))
        mesh.apply()
        answers(503)
        mesh.resources[:] = copy.deepcopy(complete)
        mesh.apply()
        answers(200)
        # The way to the metadata server, for a token that isn't there yet.
        mesh.resources.remove(find(mesh.resources, "ServiceEntry", "metadata-server"))
        mesh.apply()
        assert "unknown_cluster" in answers(503, OTHERS[0])
        mesh.resources[:] = complete
        mesh.apply()
        answers(200, OTHERS[0])


def test_fail_open_lets_requests_through_without_a_token(
    newest_envoy: Path, upstream: Upstream, tmp_path: Path
) -> None:
    """What the shipped files don't say, and why."""
    resources = with_module(istio.shipped("invoker"), f"http://127.0.0.1:{free_port()}/invoker.wasm", failStrategy="FAIL_OPEN")
    environment = {"WASM_HTTP_REQUEST_MAX_RETRIES": "1"}
    with sidecar(tmp_path, newest_envoy, upstream, resources, environment=environment) as mesh:
        answer = eventually(lambda: (said := mesh.request(PROFILES)).status == 401 and said, "the receiver to refuse")
        assert answer.text == "Jwt is missing"


@pytest.mark.parametrize(
    ("url", "changes", "why"),
    [
        ("http://127.0.0.1:{nobody}/invoker.wasm", {}, "cannot fetch Wasm module"),
        ("{server}", {"sha256": "0" * 64}, "which does not match"),
        ("oci://127.0.0.1:{nobody}/invoker:0.1.0", {}, "cannot fetch Wasm module"),
    ],
    ids=["nobody", "checksum", "registry"],
)
def test_without_the_module_everything_is_denied(
    newest_envoy: Path,
    upstream: Upstream,
    module_url: str,
    tmp_path: Path,
    url: str,
    changes: dict[str, str],
    why: str,
) -> None:
    url = url.format(nobody=free_port(), server=module_url)
    resources = with_module(istio.shipped("invoker"), url, **changes)
    # Else the agent tries for half a minute before it gives up.
    environment = {"WASM_HTTP_REQUEST_MAX_RETRIES": "1"}
    with sidecar(tmp_path / "mesh", newest_envoy, upstream, resources, environment=environment) as mesh:
        answer = eventually(lambda: denied(mesh), "the sidecar to deny")
        assert answer.text == "RBAC: access denied"
        assert why in mesh.agent.log()
        # The cure: where the module is, with its own checksum.
        mesh.resources[:] = with_module(mesh.resources, module_url, sha256=checksum())
        mesh.apply()
        eventually(lambda: denied(mesh) is None and mesh.request(PROFILES).status == 200, "to be served", within=60)


def denied(mesh: Mesh) -> Answer | None:
    try:
        answer = mesh.request(PROFILES)
    except httpx.TransportError:
        return None
    return answer if answer.status == 403 else None
