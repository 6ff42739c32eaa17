"""A certificate authority of the tests', and an Envoy that puts TLS in front of a server that has none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from . import bootstrap
from .bootstrap import Cluster, Json, message
from .envoy import Envoy
from .waiting import eventually


class Authority:
    """Issues certificates; ``roots`` is the file that a client has to trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.roots = folder / "roots.pem"
        self._authority.cert_pem.write_to_path(self.roots)

    def certificate(self, *names: str) -> Json:
        """Envoy's TlsCertificate for a server of these names."""
        issued = self._authority.issue_cert(*names)
        chain, key = self._folder / "chain.pem", self._folder / "key.pem"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return {"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}


@contextmanager
def in_front_of(port: int, names: list[str], authority: Authority, envoy: Path, folder: Path) -> Iterator[int]:
    """The port on which the server answers over TLS, under these names."""
    folder.mkdir(parents=True, exist_ok=True)
    hosts = [bootstrap.virtual_host("all", ["*"], [bootstrap.route("server")])]
    listener = bootstrap.listener("tls", hosts, [], folder / "access.log")
    context = {"common_tls_context": {"tls_certificates": [authority.certificate(*names)]}}
    listener["filter_chains"][0]["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": message("extensions.transport_sockets.tls.v3.DownstreamTlsContext", **context),
    }
    configuration = folder / "envoy.json"
    configuration.write_text(json.dumps(bootstrap.bootstrap([listener], [Cluster("server", port).build()])))
    front = Envoy(envoy, configuration, folder)
    try:
        yield eventually(front.listeners, "the listener with TLS")["tls"]
    finally:
        front.stop()
