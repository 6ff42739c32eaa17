"""Reading the tokens that arrive. Signatures are the receiver's matter (test_shipped_configurations)."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

# Any JWT, whatever it says: its first two parts are base64url of '{"'.
JWT = re.compile(r"eyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}")


def bearer(value: str | None) -> str:
    assert value is not None, "no credential arrived"
    kind, _, token = value.partition(" ")
    assert kind == "Bearer" and token and " " not in token, f"not a bearer credential: {value[:40]!r}..."
    return token


def claims(token: str) -> dict[str, Any]:
    _, payload, _ = token.split(".")
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return decoded


def unsigned(**payload: Any) -> str:
    """A token that nobody has signed: Invoker can't tell, and must not care."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256', 'typ': 'JWT', 'kid': 'test'})}.{part(payload)}.c2lnbmF0dXJl"
