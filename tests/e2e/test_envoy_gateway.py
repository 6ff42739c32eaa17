"""envoy/gateway/invoker.yaml on the real Envoy Gateway, with nothing changed but addresses, roots and where the
module comes from."""

from __future__ import annotations

import copy
import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import envoy_gateway as eg
from harness.bootstrap import MODULE
from harness.client import Answer, at_once, load
from harness.cloud_run import SERVICES, CloudRun, audience_of, claims_of, cloud_run, host_of
from harness.emulator import LOGIN, Emulator
from harness.envoy_gateway import EnvoyGateway, Resource, find
from harness.names import Fresh
from harness.process import built, free_port
from harness.registry import Registry, registry
from harness.upstream import Upstream
from harness.waiting import eventually

NAMESPACE = "cloud-run"


@dataclass
class World:
    """A gateway in front of two services, and everything around it."""

    gateway: EnvoyGateway
    emulator: Emulator
    upstream: Upstream
    resources: list[Resource]
    # Of the requests that came before any token was there.
    stampede: list[Answer] = field(default_factory=list)
    calls_for_stampede: dict[str, int] = field(default_factory=dict)

    def get(
        self, host: str, path: str = "/", headers: list[tuple[str, str]] | None = None, port: int | None = None
    ) -> Answer:
        with httpx.Client(trust_env=False, timeout=30) as client:
            url = f"http://127.0.0.1:{port or self.gateway.port()}{path}"
            answer = client.get(url, headers=[("host", host), *(headers or [])])
            return Answer(answer.status_code, answer.headers, answer.content, 0)

    def calls(self) -> dict[str, int]:
        return {service: len(self.emulator.calls(audience_of(service))) for service in SERVICES}

    def changed(self) -> list[Resource]:
        """The resources, to be changed and applied."""
        return copy.deepcopy(self.resources)


def address(port: int) -> list[Resource]:
    return [{"ip": {"address": "127.0.0.1", "port": port}}]


def on_loopback(resources: list[Resource], cloud: CloudRun, emulator: Emulator, envoy_version: str) -> list[Resource]:
    for service in SERVICES:
        find(resources, "Backend", service)["spec"]["endpoints"] = address(cloud.port)
        validation = find(resources, "BackendTLSPolicy", service)["spec"]["validation"]
        assert validation.pop("wellKnownCACertificates") == "System"
        validation["caCertificateRefs"] = [{"group": "", "kind": "ConfigMap", "name": "roots"}]
    find(resources, "Backend", "metadata")["spec"]["endpoints"] = address(emulator.port)
    # Who runs Envoy: not Kubernetes.
    find(resources, "EnvoyProxy", "cloud-run")["spec"]["provider"] = {
        "type": "Host",
        "host": {"envoyVersion": envoy_version},
    }
    roots = {"ca.crt": cloud.roots.read_text()}
    metadata = {"name": "roots", "namespace": NAMESPACE}
    return [*resources, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": roots}]


def plugin(resources: list[Resource]) -> dict[str, Any]:
    wasm: dict[str, Any] = find(resources, "EnvoyExtensionPolicy", "invoker")["spec"]["wasm"][0]
    return wasm


@pytest.fixture(scope="module")
def module_url() -> Iterator[str]:
    """A web server that has the module."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(built(MODULE).parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{MODULE.name}"
    server.shutdown()
    server.server_close()


def over_http(url: str) -> dict[str, Any]:
    return {"type": "HTTP", "http": {"url": url, "sha256": hashlib.sha256(MODULE.read_bytes()).hexdigest()}}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as images:
        yield images


@pytest.fixture(scope="module")
def world(
    newest_envoy: Path, newest_envoy_version: str, module_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Started cold: the metadata server is slow until the first requests have been answered."""
    folder = tmp_path_factory.mktemp("envoy-gateway")
    emulator, upstream = Emulator(folder / "emulator"), Upstream()
    try:
        with cloud_run(newest_envoy, folder / "cloud-run", emulator, upstream) as cloud:
            resources = on_loopback(eg.shipped(), cloud, emulator, newest_envoy_version)
            plugin(resources)["code"] = over_http(module_url)
            with eg.running(folder / "gateway", newest_envoy, newest_envoy_version, resources) as gateway:
                world = World(gateway, emulator, upstream, resources)
                with emulator.fault(delay="3s"):
                    port = gateway.port()
                    hosts = [f"{service}.example.com" for service in SERVICES]
                    with ThreadPoolExecutor() as clients:
                        for answers in clients.map(lambda host: at_once(100, port, host), hosts):
                            world.stampede += answers
                world.calls_for_stampede = world.calls()
                yield world
    finally:
        emulator.stop()
        upstream.stop()


@pytest.fixture
def restored(world: World) -> Iterator[World]:
    """For tests that change resources: all is well again afterwards."""
    yield world
    world.gateway.apply(world.resources)
    eventually(
        lambda: [world.get(f"{service}.example.com").status for service in SERVICES] == [200, 200],
        "the gateway to be as before",
        within=60,
    )


def test_each_route_s_request_arrives_with_a_token_for_its_own_service(world: World) -> None:
    for service in SERVICES:
        answer = world.get(f"{service}.example.com", "/me?page=2", [("x-mine", "kept")])
        claims = claims_of(answer)
        assert (claims["aud"], claims["email"]) == (audience_of(service), LOGIN)
        assert answer.arrival.path == "/me?page=2"
        assert answer.arrival.header("host") == host_of(service)
        assert answer.arrival.header("x-mine") == "kept"


def test_a_cold_stampede_makes_one_call_for_each_audience(world: World) -> None:
    assert {answer.status for answer in world.stampede} == {200}
    assert len(world.stampede) == 200
    assert world.gateway.metric("requests.waited") >= 50
    assert world.calls_for_stampede == {"profiles": 1, "search": 1}


def test_a_client_s_own_credentials_gain_nothing(world: World) -> None:
    forged = [("authorization", "Bearer forged"), ("x-serverless-authorization", "Bearer forged")]
    for service in SERVICES:
        answer = world.get(f"{service}.example.com", "/", forged)
        assert claims_of(answer)["email"] == LOGIN
        assert answer.arrival.header("x-serverless-authorization") is None


def test_an_edit_under_load_fails_no_request_and_makes_no_call(restored: World) -> None:
    gateway, port = restored.gateway, restored.gateway.port()
    turns = iter(range(10**9))

    def request() -> Answer:
        return restored.get(f"{SERVICES[next(turns) % 2]}.example.com", port=port)

    before = restored.calls()
    with load(request) as seen:
        for timeout in ("6s", "7s", "8s"):
            resources = restored.changed()
            plugin(resources)["config"]["timeout"] = timeout
            gateway.apply(resources)
            eventually(lambda timeout=timeout: timeouts(gateway) == {timeout}, "the edit", within=60)
            count = len(seen.answers)
            eventually(lambda count=count: len(seen.answers) > count + 50, "requests after the edit", within=60)
    assert (seen.errors, seen.statuses()) == ([], {200})
    assert restored.calls() == before


def timeouts(gateway: EnvoyGateway) -> set[str]:
    return {json.loads(config["configuration"]["value"]).get("timeout", "") for config in plugin_configs(gateway)}


def plugin_configs(gateway: EnvoyGateway) -> list[dict[str, Any]]:
    """Of all Wasm plugins in Envoy's listener, as they serve."""
    found: list[dict[str, Any]] = []

    def search(part: Any) -> None:
        if isinstance(part, dict):
            if str(part.get("@type", "")).endswith(".wasm.v3.Wasm"):
                found.append(part["config"])
            for value in part.values():
                search(value)
        elif isinstance(part, list):
            for value in part:
                search(value)

    for listener in gateway.config_dump("dynamic_listeners"):
        search(listener["active_state"])
    return found


# How a client might ask for the metadata server.
DOORS = [
    ("metadata.google.internal", "/computeMetadata/v1/instance/service-accounts/default/identity?audience=https://a.test"),
    ("169.254.169.254", "/computeMetadata/v1/instance/service-accounts/default/token"),
    ("elsewhere.example.com", "/computeMetadata/v1/project/project-id"),
    ("profiles.example.com", "/computeMetadata/v1/instance/service-accounts/default/token"),
]
GOOGLE = [("metadata-flavor", "Google")]


def knock(world: World) -> tuple[list[int], int]:
    """The answers at each door, and how many of these requests have arrived at the metadata server."""
    before = len(world.emulator.all_calls())
    statuses = [world.get(host, path, GOOGLE).status for host, path in DOORS]
    return statuses, len(world.emulator.all_calls()) - before


def test_nobody_reaches_the_metadata_server_through_the_gateway(world: World) -> None:
    statuses, arrived = knock(world)
    # The last is a path of the service's own.
    assert (statuses, arrived) == ([404, 404, 404, 200], 0)
    assert len(world.upstream.arrived(DOORS[3][1])) == 1


def test_each_of_the_two_locks_is_enough_and_they_are_what_keeps_the_door_shut(restored: World) -> None:
    without_policy = restored.changed()
    without_policy.remove(find(without_policy, "SecurityPolicy", "metadata"))
    without_match = restored.changed()
    del find(without_match, "HTTPRoute", "metadata")["spec"]["rules"][0]["matches"]
    without_both = copy.deepcopy(without_policy)
    del find(without_both, "HTTPRoute", "metadata")["spec"]["rules"][0]["matches"]

    restored.gateway.apply(without_match)
    eventually(lambda: restored.get(*DOORS[0]).status == 403, "the SecurityPolicy to refuse", within=60)
    assert knock(restored) == ([403, 403, 403, 200], 0)

    restored.gateway.apply(without_policy)
    eventually(lambda: restored.get(*DOORS[0]).status == 404, "the route to match nothing", within=60)
    assert knock(restored) == ([404, 404, 404, 200], 0)

    restored.gateway.apply(without_both)
    eventually(lambda: knock(restored)[1] == 3, "the door to be open without both", within=60)


def test_the_module_comes_as_an_image(restored: World, images: Registry) -> None:
    image, digest = images.push(MODULE, "invoker:test")
    resources = restored.changed()
    plugin(resources)["code"] = {"type": "Image", "image": {"url": image, "sha256": digest}}
    before = restored.calls(), module_path(restored.gateway)
    restored.gateway.apply(resources)
    eventually(lambda: module_path(restored.gateway) != before[1], "the image's module", within=60)
    for service in SERVICES:
        assert claims_of(restored.get(f"{service}.example.com"))["aud"] == audience_of(service)
    assert restored.calls() == before[0]


def module_path(gateway: EnvoyGateway) -> str:
    """Where Envoy fetches its module from Envoy Gateway: a path of its own for each source."""
    (path,) = {wasm["vm_config"]["code"]["remote"]["http_uri"]["uri"] for wasm in plugin_configs(gateway)}
    return str(path)


def sources(module_url: str, images: Registry) -> dict[str, dict[str, Any]]:
    """Where no module is to be had."""
    image, _ = images.push(MODULE, "invoker:test")
    return {
        "not_found": over_http(module_url + ".missing"),
        "other_checksum": {"type": "HTTP", "http": {"url": module_url, "sha256": "0" * 64}},
        "no_image": {"type": "Image", "image": {"url": f"{images.address}/nothing:here"}},
        "no_registry": {"type": "Image", "image": {"url": f"127.0.0.1:{free_port()}/invoker:test"}},
        "other_digest": {"type": "Image", "image": {"url": image, "sha256": "0" * 64}},
    }


@pytest.mark.parametrize("source", ["not_found", "other_checksum", "no_image", "no_registry", "other_digest"])
def test_without_the_module_every_request_is_refused(
    restored: World, module_url: str, images: Registry, fresh: Fresh, source: str
) -> None:
    resources = restored.changed()
    plugin(resources)["code"] = sources(module_url, images)[source]
    restored.gateway.apply(resources)
    eventually(lambda: restored.get("profiles.example.com").status == 500, "the routes to be closed", within=90)
    path = fresh.path("without-the-module")
    for service in SERVICES:
        answer = restored.get(f"{service}.example.com", path)
        assert (answer.status, answer.text) == (500, "")
    assert restored.upstream.arrived(path) == []
    restored.gateway.wait_for_status("EnvoyExtensionPolicy", 'status: "False"\n    type: Accepted')


def test_with_fail_open_requests_would_go_on_without_a_token(restored: World, module_url: str) -> None:
    """Why the shipped file says `failOpen: false`."""
    resources = restored.changed()
    plugin(resources)["code"] = over_http(module_url + ".missing")
    plugin(resources)["failOpen"] = True
    restored.gateway.apply(resources)
    eventually(lambda: restored.get("profiles.example.com").status == 401, "the receiver to refuse", within=90)
    assert restored.get("profiles.example.com").text == "Jwt is missing"


def test_the_upstream_form_works_through_an_envoy_patch_policy(restored: World) -> None:
    resources = restored.changed()
    patches = eg.shipped("upstream-form")
    gone = [("EnvoyExtensionPolicy", "invoker")] + [(k, "metadata") for k in ("HTTPRoute", "SecurityPolicy", "Backend")]
    for kind, name in gone:
        resources.remove(find(resources, kind, name))
    policy = find(patches, "EnvoyPatchPolicy", "invoker")
    for patch in policy["spec"]["jsonPatches"]:
        value = patch["operation"]["value"]
        if patch["name"] == "metadata":
            endpoint = value["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
            endpoint["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": restored.emulator.port}
        else:
            code = value[0]["typed_config"]["config"]["vm_config"]["code"]["local"]
            assert code["filename"] == "/invoker/plugin.wasm"
            code["filename"] = str(MODULE)
    before = restored.calls()
    # As the file says: first the one is added, then the other taken away.
    restored.gateway.apply([*restored.resources, policy])
    names = {f"httproute/cloud-run/{service}/rule/0" for service in SERVICES}
    eventually(lambda: restored.gateway.clusters("envoy.filters.http.upstream_codec") == names, "the patches", within=60)
    restored.gateway.apply([*resources, policy])
    eventually(lambda: plugin_configs(restored.gateway) == [], "the policy's plugin to be gone", within=60)
    for service in SERVICES:
        answers = at_once(50, restored.gateway.port(), f"{service}.example.com")
        assert {claims_of(answer)["aud"] for answer in answers} == {audience_of(service)}
    # A vm_id of its own, so tokens of its own.
    assert restored.calls() == {service: count + 1 for service, count in before.items()}
    assert knock(restored) == ([404, 404, 404, 200], 0)
