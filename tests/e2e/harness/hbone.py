"""HBONE, as ztunnel speaks it to a waypoint: a connection inside an HTTP/2 CONNECT, over the mesh's own TLS."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import h11
import h2.config
import h2.connection
import h2.events
import httpx

from .client import Answer

WAYPOINT_PORT = 15008


class Refused(Exception):
    """The waypoint did not open the tunnel."""


def request(
    waypoint: str, certificates: Path, to: str, host: str, path: str = "/", **headers: str
) -> Answer:
    """One HTTP/1.1 request through the tunnel. ``to``: the service's address and port in the mesh."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(certificates / "root-cert.pem")
    context.load_cert_chain(certificates / "cert-chain.pem", certificates / "key.pem")
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((waypoint, WAYPOINT_PORT), timeout=20) as raw, context.wrap_socket(raw) as tls:
        return _through(tls, to, [("host", host), ("connection", "close"), *headers.items()], path)


def _through(tls: ssl.SSLSocket, to: str, headers: list[tuple[str, str]], path: str) -> Answer:
    tunnel = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    tunnel.initiate_connection()
    stream = tunnel.get_next_available_stream_id()
    tunnel.send_headers(stream, [(":method", "CONNECT"), (":authority", to)])
    inner = h11.Connection(h11.CLIENT)
    wanted = inner.send(h11.Request(method="GET", target=path, headers=headers)) or b""
    wanted += inner.send(h11.EndOfMessage()) or b""
    tunnel.send_data(stream, wanted)
    tls.sendall(tunnel.data_to_send())
    status, answered, body = 0, httpx.Headers(), b""
    end = "the connection was closed"
    while received := tls.recv(65536):
        for event in tunnel.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived):
                opened = dict(event.headers or [])
                if opened[b":status"] != b"200":
                    raise Refused(opened[b":status"].decode())
            elif isinstance(event, h2.events.DataReceived):
                tunnel.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                inner.receive_data(event.data)
            elif isinstance(event, h2.events.StreamReset):
                end = f"the tunnel was reset, with {event.error_code}"
        while (told := inner.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(told, h11.Response):
                status, answered = told.status_code, httpx.Headers(told.headers.raw_items())
            elif isinstance(told, h11.Data):
                body += told.data
            elif isinstance(told, h11.EndOfMessage):
                return Answer(status, answered, body, 0.0)
        tls.sendall(tunnel.data_to_send())
    raise Refused(end)
