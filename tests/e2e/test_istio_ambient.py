"""envoy/istio/waypoint.yaml: a waypoint of ambient mode, spoken to as ztunnel does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import hbone
from harness.bootstrap import Json
from harness.client import Answer
from harness.istio import find
from harness.mesh import OTHERS, PROFILES, Mesh, shipped
from harness.spiffe import MeshAuthority
from harness.upstream import Upstream

# What Istio would allocate.
ADDRESSES = {"profiles": "240.240.0.1", "cloud-run": "240.240.0.2", "metadata-server": "240.240.0.3"}


@pytest.fixture(scope="module")
def authority() -> MeshAuthority:
    return MeshAuthority()


@pytest.fixture(scope="module")
def mesh(
    newest_envoy: Path, upstream: Upstream, authority: MeshAuthority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("waypoint")
    authority.issue("login", "cloud-run", folder / "agent/etc/certs")
    with ExitStack() as stack:
        yield Mesh(
            stack, folder, newest_envoy, upstream, shipped("waypoint"), deployed,
            kind="waypoint",
            labels={"gateway.networking.k8s.io/gateway-name": "cloud-run"},
            namespace="login",
            features={"PILOT_ENABLE_AMBIENT": "true"},
        )  # fmt: skip


def deployed(resources: list[Json], mesh: Mesh) -> list[Json]:
    """With what Kubernetes and Istio's controllers would have made of it."""
    labels = {"gateway.networking.k8s.io/gateway-name": "cloud-run"}
    find(resources, "Gateway", "cloud-run")["status"] = {
        "addresses": [{"type": "Hostname", "value": "cloud-run.login.svc.cluster.local"}]
    }
    for name, address in ADDRESSES.items():
        entry = find(resources, "ServiceEntry", name)
        entry["status"] = {"addresses": [{"host": entry["spec"]["hosts"][0], "value": address}]}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "cloud-run",
            "namespace": "login",
            "labels": {"gateway.istio.io/managed": "istio.io-mesh-controller", **labels},
        },
        "spec": {
            "clusterIP": "10.0.0.1",
            "ports": [{"name": "mesh", "port": 15008, "appProtocol": "hbone"}],
            "selector": labels,
        },
    }
    instance = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": "cloud-run-1", "namespace": "login"},
        "spec": {"address": "127.0.0.1", "labels": labels},
    }
    return [*resources, service, instance]


@pytest.fixture
def login(authority: MeshAuthority, tmp_path: Path) -> Path:
    return authority.issue("login", "login", tmp_path / "login")


def call(certificates: Path, entry: str, host: str, path: str = "/", **headers: str) -> Answer:
    return hbone.request("127.0.0.1", certificates, f"{ADDRESSES[entry]}:80", host, path, **headers)


def test_a_workload_gets_a_token_for_a_service_by_name(mesh: Mesh, login: Path) -> None:
    mine = {"authorization": "Bearer mine", "x-serverless-authorization": "Bearer mine"}
    answer = call(login, "profiles", PROFILES, **mine)
    assert answer.claims["aud"] == f"https://{PROFILES}"
    arrival = answer.arrival
    assert arrival.header("x-serverless-authorization") == arrival.header("authorization")


def test_a_workload_gets_a_token_for_a_service_by_wildcard(mesh: Mesh, login: Path) -> None:
    for host in OTHERS[:2]:
        assert call(login, "cloud-run", host).claims["aud"] == f"https://{host}"


def test_other_workloads_are_denied(mesh: Mesh, authority: MeshAuthority, tmp_path: Path) -> None:
    other = authority.issue("login", "other", tmp_path)
    answer = call(other, "profiles", PROFILES, "/other")
    assert (answer.status, answer.text) == (403, "RBAC: access denied")
    assert mesh.upstream.arrived("/other") == []


def test_nobody_gets_to_the_metadata_server_through_it(mesh: Mesh, login: Path) -> None:
    before = len(mesh.emulator.all_calls())
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    answer = call(login, "metadata-server", "metadata-server.invoker.internal", path, **{"metadata-flavor": "Google"})
    assert (answer.status, answer.text) == (403, "RBAC: access denied")
    assert len(mesh.emulator.all_calls()) == before
