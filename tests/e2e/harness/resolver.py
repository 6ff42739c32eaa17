"""A name server on loopback, for programs that can't be told where to find it but by resolv.conf: port 53."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dnslib import QTYPE, RR, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer


class Wildcard(BaseResolver):
    """Every name below these suffixes is this address."""

    def __init__(self, suffix: str, address: str) -> None:
        self._suffix = suffix
        self._address = address
        self.asked: list[str] = []

    def resolve(self, request, handler):  # type: ignore[no-untyped-def]
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        self.asked.append(name)
        if name.endswith(self._suffix) and request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(self._address), ttl=60))
        return reply


@contextmanager
def resolver(listen: str, suffix: str, address: str) -> Iterator[Wildcard]:
    answers = Wildcard(suffix, address)
    servers = [DNSServer(answers, address=listen, port=53, tcp=tcp, logger=DNSLogger("-request,-reply")) for tcp in (False, True)]
    for server in servers:
        server.start_thread()
    try:
        yield answers
    finally:
        for server in servers:
            server.stop()
            server.thread.join()
            server.server.server_close()
