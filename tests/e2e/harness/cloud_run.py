"""Two private services as Cloud Run has them: TLS under their own names, and nobody in without a token.

envoy/receiver.yaml does the work, with other names and ports; what it lets in arrives at an ``Upstream``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .bootstrap import Json, message
from .client import Answer
from .emulator import LOGIN, Emulator
from .envoy import Envoy
from .process import ROOT
from .tls import Authority
from .upstream import Upstream
from .waiting import eventually

SERVICES = ("profiles", "search")


@dataclass(frozen=True)
class CloudRun:
    """``roots`` is what a client has to trust."""

    port: int
    roots: Path


def host_of(service: str) -> str:
    return f"{service}-abc123-uc.a.run.app"


def audience_of(service: str) -> str:
    return f"https://{host_of(service)}"


def claims_of(answer: Answer) -> dict[str, Any]:
    """Of the token that has let this request in; the service gets no more than these."""
    payload = answer.arrival.header("x-caller-claims")
    assert payload is not None, "nobody has verified this request"
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


@contextmanager
def cloud_run(envoy: Path, folder: Path, emulator: Emulator, upstream: Upstream) -> Iterator[CloudRun]:
    """Both services on one port; login may call both."""
    authority = Authority(folder / "authority")
    configuration = folder / "receiver.json"
    configuration.write_text(json.dumps(_receiver(authority, emulator, upstream)))
    receiver = Envoy(envoy, configuration, folder, workers=2)
    try:
        yield CloudRun(eventually(receiver.listeners, "the receiving side's listener")["inbound"], authority.roots)
    finally:
        receiver.stop()


def _receiver(authority: Authority, emulator: Emulator, upstream: Upstream) -> Json:
    text = (ROOT / "envoy/receiver.yaml").read_text()
    changes = {
        "port_value: 18110": f"port_value: {emulator.port}",
        "http://127.0.0.1:18110/": f"{emulator.url}/",
        "port_value: 18120": "port_value: 0",
        "port_value: 18121": "port_value: 0",
        "port_value: 18131": f"port_value: {upstream.port}",
        "port_value: 18132": f"port_value: {upstream.port}",
        # The list of who may call search: the gateway, which is login here, calls both.
        "exact: profiles@demo.iam.gserviceaccount.com": f"exact: {LOGIN}",
    }
    for service in SERVICES:
        changes[f"domains: [{service}.localhost]"] = f"domains: [{host_of(service)}]"
        changes[f"https://{service}.demo.run.app"] = audience_of(service)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    receiver: Json = yaml.safe_load(text)
    tls = {"tls_certificates": [authority.certificate(*map(host_of, SERVICES))], "alpn_protocols": ["h2", "http/1.1"]}
    receiver["static_resources"]["listeners"][0]["filter_chains"][0]["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": message("extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=tls),
    }
    return receiver
