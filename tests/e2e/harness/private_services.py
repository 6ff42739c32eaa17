"""Private services of any host names: TLS, and only Google's tokens for the service's own URL get in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import bootstrap
from .bootstrap import Cluster, Json, message
from .envoy import Envoy
from .tls import Authority
from .waiting import eventually


@contextmanager
def private_services(
    hosts: list[str],
    authority: Authority,
    certificates: int,
    upstream: int,
    envoy: Path,
    folder: Path,
    address: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[int]:
    """The port on which services of these host names answer. ``certificates``: the port with Google's public keys.

    A token that was let in arrives at ``upstream`` with the request.
    """
    folder.mkdir(parents=True, exist_ok=True)
    virtual_hosts = [
        bootstrap.virtual_host(
            host,
            [host],
            [bootstrap.route("upstream")],
            typed_per_filter_config={
                "envoy.filters.http.jwt_authn": message(
                    "extensions.filters.http.jwt_authn.v3.PerRouteConfig", requirement_name=host
                )
            },
        )
        for host in hosts
    ]
    listener = bootstrap.listener("tls", virtual_hosts, [jwt_authn(hosts, certificates)], folder / "access.log")
    listener["address"]["socket_address"] = {"address": address, "port_value": port}
    context = {"common_tls_context": {"tls_certificates": [authority.certificate(*hosts)]}}
    listener["filter_chains"][0]["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": message("extensions.transport_sockets.tls.v3.DownstreamTlsContext", **context),
    }
    clusters = [Cluster("upstream", upstream).build(), Cluster("certificates", certificates).build()]
    configuration = folder / "envoy.json"
    configuration.write_text(json.dumps(bootstrap.bootstrap([listener], clusters)))
    front = Envoy(envoy, configuration, folder)
    try:
        yield eventually(front.listeners, "the private services' listener")["tls"]
    finally:
        front.stop()


def jwt_authn(hosts: list[str], certificates: int) -> Json:
    uri = {"uri": f"http://127.0.0.1:{certificates}/oauth2/v3/certs", "cluster": "certificates", "timeout": "5s"}
    providers = {
        host: {
            "issuer": "https://accounts.google.com",
            "audiences": [f"https://{host}"],
            "require_expiration": True,
            "forward": True,
            "remote_jwks": {"http_uri": uri, "retry_policy": {"num_retries": 3}},
        }
        for host in hosts
    }
    return {
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": message(
            "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            providers=providers,
            requirement_map={host: {"provider_name": host} for host in hosts},
        ),
    }
