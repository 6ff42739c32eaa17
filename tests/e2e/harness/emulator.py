"""`invoker emulate`: the metadata server of the tests, its faults, and what it was asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from .process import TARGET, Process, built
from .waiting import eventually

LOGIN = "login@demo.iam.gserviceaccount.com"
IDENTITY = "/computeMetadata/v1/instance/service-accounts/*"


@dataclass(frozen=True)
class Call:
    """A call that arrived; ``status`` is None as long as it has no answer."""

    at: float
    method: str
    path: str
    query: str
    audience: str | None
    status: int | None
    headers: dict[str, str]
    body: Any = None

    @property
    def account(self) -> str:
        found = re.search(r"/service-accounts/([^/]+)/", self.path)
        return found.group(1) if found else ""


class Emulator:
    def __init__(
        self,
        folder: Path,
        accounts: Sequence[str] = (LOGIN,),
        lifetime: str | None = "1h",
        listen: str = "127.0.0.1:0",
        options: Sequence[str | Path] = (),
    ) -> None:
        """``options``: more of `invoker emulate`'s own."""
        folder.mkdir(parents=True, exist_ok=True)
        arguments: list[str | Path] = [built(TARGET / "release" / "invoker"), "emulate", "--listen", listen]
        for account in accounts:
            arguments += ["--service-account", account]
        arguments += ["--token-lifetime", lifetime] if lifetime else []
        arguments += options
        self._process = Process(arguments, folder / "emulator.log")
        self.url = eventually(self._announced, "the emulator to say where it listens")
        self.port = int(self.url.rsplit(":", 1)[1])
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=10)

    def _announced(self) -> str | None:
        if not self._process.is_running():
            raise AssertionError(f"the emulator ended at once:\n{self._process.log()}")
        found = re.match(r"invoker emulate: listening on (http://\S+)\n", self._process.log())
        return found.group(1) if found else None

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        self._http.close()
        self._process.stop()

    @contextmanager
    def fault(self, *, path: str = IDENTITY, **fields: Any) -> Iterator[None]:
        """Ill in this way while the block runs. See `invoker emulate` for the fields."""
        identity = self.add_fault(path=path, **fields)
        try:
            yield
        finally:
            self._http.delete(f"/_emulator/faults/{identity}")

    def add_fault(self, *, path: str = IDENTITY, **fields: Any) -> int:
        where = {} if "endpoint" in fields else {"path": path}
        answer = self._http.post("/_emulator/faults", json={**where, **fields})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def heal(self) -> None:
        assert self._http.delete("/_emulator/faults").is_success

    @contextmanager
    def clock_offset(self, offset: str) -> Iterator[None]:
        """Google's clock is ahead of this machine's by so much while the block runs; "-5m" is behind."""
        assert self._http.post("/_emulator/clock", json={"offset": offset}).is_success
        try:
            yield
        finally:
            assert self._http.delete("/_emulator/clock").is_success

    @contextmanager
    def disabled_key(self, key_id: str) -> Iterator[None]:
        """This key of an account is worth nothing while the block runs."""
        assert self._http.post(f"/_emulator/keys/{key_id}/disable").is_success
        try:
            yield
        finally:
            assert self._http.post(f"/_emulator/keys/{key_id}/enable").is_success

    def revoke_access_tokens(self) -> None:
        assert self._http.delete("/_emulator/access-tokens").is_success

    def calls_of(self, endpoint: str) -> list[Call]:
        """The calls of one endpoint: `token`, `sts`, `generateIdToken` and so on."""
        answer = self._http.get("/_emulator/requests", params={"endpoint": endpoint})
        assert answer.status_code == 200, answer.text
        return [Call(**call) for call in json.loads(answer.text)]

    def all_calls(self) -> list[Call]:
        answer = self._http.get("/_emulator/requests")
        assert answer.status_code == 200, answer.text
        return [Call(**call) for call in json.loads(answer.text)]

    def calls(self, audience: str) -> list[Call]:
        """The calls for a token of this audience."""
        return [call for call in self.all_calls() if call.audience == audience]

    def wait_for_calls(self, audience: str, count: int, within: float = 15.0) -> list[Call]:
        """At least so many calls have arrived."""

        def enough() -> list[Call] | None:
            calls = self.calls(audience)
            return calls if len(calls) >= count else None

        return eventually(enough, f"{count} calls for {audience}", within)

    def forget_calls(self) -> None:
        assert self._http.delete("/_emulator/requests").is_success
