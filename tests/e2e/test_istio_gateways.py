"""envoy/istio/gateway.yaml: the egress gateway and the ingress gateway, each on a pilot-agent of its own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from harness.bootstrap import Json
from harness.client import Answer
from harness.istio import find
from harness.mesh import PROFILES, Change, Mesh, shipped
from harness.spiffe import MeshAuthority
from harness.upstream import Upstream
from harness.waiting import eventually

PUBLIC = "profiles.example.com"


@pytest.fixture(scope="module")
def authority() -> MeshAuthority:
    """Of the mesh, for the calls between sidecars and the egress gateway."""
    return MeshAuthority()


@pytest.fixture(scope="module")
def egress(
    newest_envoy: Path, upstream: Upstream, authority: MeshAuthority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("egress")
    authority.issue("istio-egress", "istio-egressgateway", folder / "agent/etc/certs")

    def bind(resources: list[Json], mesh: Mesh) -> list[Json]:
        (server,) = find(resources, "Gateway", "cloud-run")["spec"]["servers"]
        server["bind"] = mesh.address
        return resources

    with ExitStack() as stack:
        yield gateway(stack, folder, newest_envoy, upstream, "egress", bind)


@pytest.fixture(scope="module")
def ingress(newest_envoy: Path, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    def bind(resources: list[Json], mesh: Mesh) -> list[Json]:
        (server,) = find(resources, "Gateway", "public")["spec"]["servers"]
        server["bind"] = mesh.address
        # The Secret's content, in files.
        del server["tls"]["credentialName"]
        certificate = mesh.authority.certificate(PUBLIC)
        server["tls"]["serverCertificate"] = certificate["certificate_chain"]["filename"]
        server["tls"]["privateKey"] = certificate["private_key"]["filename"]
        return resources

    with ExitStack() as stack:
        yield gateway(stack, tmp_path_factory.mktemp("ingress"), newest_envoy, upstream, "ingress", bind)


def gateway(stack: ExitStack, folder: Path, envoy: Path, upstream: Upstream, name: str, bind: Change) -> Mesh:
    namespace = f"istio-{name}"
    return Mesh(
        stack,
        folder,
        envoy,
        upstream,
        [resource for resource in shipped("gateway") if resource["metadata"]["namespace"] == namespace],
        bind,
        kind="router",
        labels={"istio": f"{name}gateway"},
        namespace=namespace,
    )


def call(mesh: Mesh, host: str, path: str, context: ssl.SSLContext, headers: dict[str, str]) -> Answer:
    with httpx.Client(verify=context, trust_env=False, timeout=20) as client:
        answer = client.get(
            f"https://{mesh.address}{path}", headers={"host": host, **headers}, extensions={"sni_hostname": host}
        )
    return Answer(answer.status_code, answer.headers, answer.content, 0.0)


def from_the_mesh(mesh: Mesh, certificates: Path | None, path: str = "/", **headers: str) -> Answer:
    """As a sidecar calls for its application: with its workload's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It names a workload, no host.
    context.check_hostname = False
    context.load_verify_locations(mesh.folder / "agent/etc/certs/root-cert.pem")
    if certificates is not None:
        context.load_cert_chain(certificates / "cert-chain.pem", certificates / "key.pem")
    return call(mesh, PROFILES, path, context, headers)


def from_outside(mesh: Mesh, path: str = "/", **headers: str) -> Answer:
    return call(mesh, PUBLIC, path, ssl.create_default_context(cafile=mesh.authority.roots), headers)


def test_login_acts_as_the_egress_gateway(egress: Mesh, authority: MeshAuthority, tmp_path: Path) -> None:
    login = authority.issue("login", "login", tmp_path)
    mine = {"authorization": "Bearer mine", "x-serverless-authorization": "Bearer mine"}
    answer = from_the_mesh(egress, login, **mine)
    assert answer.claims["aud"] == f"https://{PROFILES}"
    assert answer.arrival.header("x-serverless-authorization") is None


def test_others_of_the_mesh_are_denied_and_cost_no_token(
    egress: Mesh, authority: MeshAuthority, tmp_path: Path
) -> None:
    before = egress.agent.metric("requests.authorized")
    answer = from_the_mesh(egress, authority.issue("billing", "billing", tmp_path), "/denied")
    assert (answer.status, answer.text) == (403, "RBAC: access denied")
    assert egress.upstream.arrived("/denied") == []
    # The next one is counted, that one is not.
    from_the_mesh(egress, authority.issue("login", "login", tmp_path))
    eventually(lambda: egress.agent.metric("requests.authorized") > before, "the request to be counted")
    assert egress.agent.metric("requests.denied") == 0


def test_nobody_gets_in_without_a_certificate_of_the_mesh(egress: Mesh, tmp_path: Path) -> None:
    for certificates in (None, MeshAuthority().issue("login", "login", tmp_path)):
        with pytest.raises(httpx.TransportError):
            from_the_mesh(egress, certificates, "/stranger")
    assert egress.upstream.arrived("/stranger") == []


def test_who_calls_the_ingress_gateway_gets_to_the_private_service(ingress: Mesh) -> None:
    answer = from_outside(ingress, **{"x-serverless-authorization": "Bearer mine"})
    assert answer.claims["aud"] == f"https://{PROFILES}"
    assert answer.arrival.header("host") == PROFILES
    assert answer.arrival.header("x-serverless-authorization") is None


def test_a_denial_tells_people_outside_its_code_alone(ingress: Mesh) -> None:
    with ingress.emulator.fault(status=403, body="secret words"):
        # Another audience, and so another token, by the same route.
        plugin = find(ingress.resources, "WasmPlugin", "invoker")
        plugin["spec"]["pluginConfig"]["audiences"][0]["audience"] = "https://other.example.com"
        ingress.apply()
        denied = eventually(
            lambda: (answer := from_outside(ingress)).status == 500 and answer, "the other audience to be asked for"
        )
    assert denied.text.strip() == "invoker: refused"


def test_streams_on_which_nothing_moves_are_ended(egress: Mesh, ingress: Mesh) -> None:
    """Also those that wait in a virtual machine that has crashed."""
    for mesh in (egress, ingress):
        (dump,) = mesh.agent.dump("ListenersConfigDump")
        timeouts = [
            filter["typed_config"]["stream_idle_timeout"]
            for listener in dump["dynamic_listeners"]
            for chain in listener["active_state"]["listener"]["filter_chains"]
            for filter in chain["filters"]
            if filter["name"] == "envoy.filters.network.http_connection_manager"
        ]
        assert timeouts and set(timeouts) == {"300s"}
