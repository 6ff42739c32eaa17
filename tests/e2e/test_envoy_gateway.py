"""envoy/gateway on the real Envoy Gateway, with nothing changed but addresses, roots and where the module is."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness.bootstrap import MODULE
from harness.client import Answer, at_once, load
from harness.cloud_run import SERVICES, audience_of, claims_of, host_of
from harness.emulator import LOGIN
from harness.gateway import (
    HOST,
    HOSTS,
    NAMESPACE,
    World,
    find,
    over_http,
    run_by_host,
    shipped,
    started,
    wasm,
)
from harness.names import Fresh
from harness.process import free_port
from harness.registry import Registry, registry
from harness.waiting import eventually


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
    with started(folder, newest_envoy, newest_envoy_version, module_url) as world:
        with world.emulator.fault(delay="3s"), ThreadPoolExecutor() as clients:
            port = world.gateway.port()
            answers = clients.map(lambda host: at_once(100, port, host), HOSTS)
            world.stampede = list(itertools.chain.from_iterable(answers))
        world.calls_for_stampede = world.calls()
        yield world


@pytest.fixture
def restored(world: World) -> Iterator[World]:
    """For tests that change resources: all is well again afterwards."""
    yield world
    world.gateway.apply(world.resources)
    eventually(lambda: [world.get(host).status for host in HOSTS] == [200, 200], "the gateway as before", within=60)


def test_each_route_s_request_arrives_with_a_token_for_its_own_service(world: World) -> None:
    for service in SERVICES:
        answer = world.get(HOST[service], "/me?page=2", [("x-mine", "kept")])
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
        answer = world.get(HOST[service], "/", forged)
        assert claims_of(answer)["email"] == LOGIN
        assert answer.arrival.header("x-serverless-authorization") is None


def test_a_service_that_is_somebody_else_gets_no_request(restored: World, fresh: Fresh) -> None:
    """As shipped, the system's roots are the ones to trust, and the test's authority is none of them."""
    resources = restored.changed()
    as_shipped = find(shipped("invoker"), "BackendTLSPolicy", "profiles")
    other_name = copy.deepcopy(find(resources, "BackendTLSPolicy", "search"))
    other_name["spec"]["validation"]["hostname"] = "elsewhere-abc123-uc.a.run.app"
    for policy in (as_shipped, other_name):
        resources.remove(find(resources, "BackendTLSPolicy", policy["metadata"]["name"]))
        # A name of its own: standalone, Envoy Gateway keeps the fields that a changed resource no longer has.
        policy["metadata"]["name"] = fresh("somebody-else")
    restored.gateway.apply([*resources, as_shipped, other_name])
    path = fresh.path("somebody-else")
    for service, reason in (("profiles", "error"), ("search", "san")):
        eventually(lambda service=service: restored.get(HOST[service]).status == 503, f"no way to {service}", within=60)
        assert restored.get(HOST[service], path).status == 503
        assert restored.gateway.statistic(f"cluster.httproute/cloud-run/{service}/rule/0.ssl.fail_verify_{reason}") > 0
    assert restored.upstream.arrived(path) == []


def test_an_edit_under_load_fails_no_request_and_makes_no_call(restored: World) -> None:
    gateway, port = restored.gateway, restored.gateway.port()
    hosts = itertools.cycle(HOSTS)

    def request() -> Answer:
        return restored.get(next(hosts), port=port)

    def timeouts() -> set[str | None]:
        return {configuration.get("timeout") for configuration in restored.invoker_configurations()}

    before = restored.calls()
    with load(request) as seen:
        for timeout in ("6s", "7s"):
            resources = restored.changed()
            wasm(resources)["config"]["timeout"] = timeout
            gateway.apply(resources)
            eventually(lambda timeout=timeout: timeouts() == {timeout}, "the edit", within=60)
            count = len(seen.answers)
            eventually(lambda count=count: len(seen.answers) > count + 50, "requests after the edit", within=60)
    assert (seen.errors, seen.statuses()) == ([], {200})
    assert restored.calls() == before


# How a client might ask for the metadata server.
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"
DOORS = [
    ("metadata.google.internal", f"{ACCOUNT}/identity?audience=https://a.test"),
    ("169.254.169.254", f"{ACCOUNT}/token"),
    ("elsewhere.example.com", "/computeMetadata/v1/project/project-id"),
    ("profiles.example.com", f"{ACCOUNT}/token"),
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
    image, digest = images.push("invoker:test")
    resources = restored.changed()
    wasm(resources)["code"] = {"type": "Image", "image": {"url": image, "sha256": digest}}
    before = restored.calls(), restored.module_path()
    restored.gateway.apply(resources)
    eventually(lambda: restored.module_path() != before[1], "the image's module", within=60)
    for service in SERVICES:
        assert claims_of(restored.get(HOST[service]))["aud"] == audience_of(service)
    assert restored.calls() == before[0]


def sources(module_url: str, images: Registry) -> dict[str, dict[str, Any]]:
    """Where no module is to be had."""
    image, _ = images.push("invoker:test")
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
    wasm(resources)["code"] = sources(module_url, images)[source]
    restored.gateway.apply(resources)
    eventually(lambda: restored.get(HOST["profiles"]).status == 500, "the routes to be closed", within=90)
    path = fresh.path("without-the-module")
    for service in SERVICES:
        answer = restored.get(HOST[service], path)
        assert (answer.status, answer.text) == (500, "")
    assert restored.upstream.arrived(path) == []
    restored.gateway.wait_for_status("EnvoyExtensionPolicy", 'status: "False"\n    type: Accepted')


def test_a_policy_on_the_route_takes_the_place_of_the_one_on_the_gateway(restored: World) -> None:
    resources = restored.changed()
    ours = find(resources, "EnvoyExtensionPolicy", "invoker")
    ours["metadata"]["name"] = "on-the-gateway"
    ours["spec"]["targetRefs"] = [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "cloud-run"}]

    def theirs(name: str, **spec: Any) -> dict[str, Any]:
        """Somebody else's, which does nothing."""
        target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "profiles"}
        code = {"type": "Inline", "inline": "function envoy_on_request(handle) end"}
        return {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1",
            "kind": "EnvoyExtensionPolicy",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"targetRefs": [target], "lua": [code], **spec},
        }

    restored.gateway.apply([*resources, theirs("theirs")])
    eventually(lambda: restored.get(HOST["profiles"]).text == "Jwt is missing", "the receiver to refuse", within=60)
    restored.gateway.apply([*resources, theirs("theirs-merged", mergeType="StrategicMerge")])
    eventually(lambda: restored.get(HOST["profiles"]).status == 200, "both policies", within=60)


def test_with_fail_open_requests_would_go_on_without_a_token(restored: World, module_url: str) -> None:
    """Why the shipped file says `failOpen: false`."""
    resources = restored.changed()
    wasm(resources)["code"] = over_http(module_url + ".missing")
    wasm(resources)["failOpen"] = True
    restored.gateway.apply(resources)
    eventually(lambda: restored.get(HOST["profiles"]).status == 401, "the receiver to refuse", within=90)
    assert restored.get(HOST["profiles"]).text == "Jwt is missing"


def test_the_upstream_form_works_through_an_envoy_patch_policy(restored: World, newest_envoy_version: str) -> None:
    resources = restored.changed()
    patches = shipped("upstream-form")
    proxy = find(patches, "EnvoyProxy", "cloud-run")
    run_by_host(proxy, newest_envoy_version)
    resources[resources.index(find(resources, "EnvoyProxy", "cloud-run"))] = proxy
    taken_away = [find(resources, kind, "metadata") for kind in ("HTTPRoute", "SecurityPolicy", "Backend")]
    taken_away.append(find(resources, "EnvoyExtensionPolicy", "invoker"))
    resources = [resource for resource in resources if resource not in taken_away]
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
    restored.gateway.apply([*resources, *taken_away, policy])
    names = {f"httproute/cloud-run/{service}/rule/0" for service in SERVICES}
    codec = "envoy.filters.http.upstream_codec"
    eventually(lambda: restored.gateway.clusters(codec) == names, "the patches", within=60)
    restored.gateway.apply([*resources, policy])
    eventually(lambda: restored.plugins() == [], "the policy's plugin to be gone", within=60)
    for service in SERVICES:
        answers = at_once(50, restored.gateway.port(), HOST[service])
        assert {claims_of(answer)["aud"] for answer in answers} == {audience_of(service)}
    # A vm_id of its own, so tokens of its own.
    assert restored.calls() == {service: count + 1 for service, count in before.items()}
    assert knock(restored) == ([404, 404, 404, 200], 0)
