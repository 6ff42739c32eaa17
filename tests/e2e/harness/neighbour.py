"""Another plugin of the same `vm_id`, that writes where it should not; and the names of records."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from harness.bootstrap import NEIGHBOUR_MODULE, Json, Plugin
from harness.process import built
from harness.sidecar import Sidecar


class Neighbour:
    """It does what the requests to a sidecar say; see `tests/e2e/neighbour`."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    @staticmethod
    def http_filter() -> Json:
        """To stand before Invoker in the listener."""
        return Plugin({}, "neighbour", module=built(NEIGHBOUR_MODULE)).http_filter()

    def read(self, key: str) -> dict[str, Any]:
        answer = self._sidecar.request("profiles.test", headers=[("x-neighbour-get", quote(key))])
        assert answer.status == 200, f"no record {key!r}"
        return dict(json.loads(answer.content))

    def write(self, key: str, value: bytes) -> None:
        headers = [("x-neighbour-set", quote(key, safe="{}")), ("x-neighbour-value", quote(value))]
        assert self._sidecar.request("profiles.test", headers=headers).status == 200

    def wake(self, queue: str) -> bool:
        return self._sidecar.request("profiles.test", headers=[("x-neighbour-wake", queue)]).status == 200


def of_metadata(audience: str) -> str:
    """Where the record of a literal audience is; the identity is cluster and account."""
    return f"invoker/1/token/metadata\nmetadata\ndefault\n{audience}"


def of_federation(external_account: Json, cluster: str, subject_cluster: str, scope: str) -> str:
    """Where the record of its access token is. The subject's server is told apart by a digest: its headers can be secrets."""
    source = external_account["credential_source"]
    headers = [text for name, value in source.get("headers", {}).items() for text in (name.lower(), value)]
    parts = [source["url"], source.get("format", {}).get("subject_token_field_name", ""), *headers]
    hashed = sha256(b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in parts))
    digest = urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode()
    file = [external_account[field] for field in ("audience", "subject_token_type", "token_url")]
    return "\n".join(["invoker/1/token/federation", cluster, subject_cluster, *file, digest, "access_token", scope])
