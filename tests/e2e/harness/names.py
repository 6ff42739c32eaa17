"""Names that no other test has, so that tests can share an Envoy, an emulator and an upstream."""

from __future__ import annotations

import itertools
from dataclasses import dataclass


class Fresh:
    """``fresh("cold")`` is cold-1, then cold-2."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, name: str) -> str:
        return f"{name}-{next(self._numbers)}"

    def audience(self, name: str) -> str:
        return f"https://{self(name)}.test"

    def path(self, name: str) -> str:
        return f"/{self(name)}"


@dataclass(frozen=True)
class Service:
    """A host that no other test uses, and the audience that belongs to it."""

    host: str

    @property
    def audience(self) -> str:
        return f"https://{self.host}"
