"""What goes wrong, and when: the metadata server ill in turns, each time shorter than its tokens have left, and once in a round for longer."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field

from harness.emulator import Emulator
from harness.sidecar import Sidecar

from .gate import Gate

WELL_SECONDS = 20.0
ILL_SECONDS = 20.0
# Beyond what any token has left: requests must fail then, and be served again soon after.
OUTAGE_SECONDS = 75.0
# Between two updates of Envoy's configuration, and between two cuts of the metadata server's connections.
UPDATE_SECONDS = 47.0
CUT_SECONDS = 11.0

# How it is ill: the emulator's faults by name. The gate makes the one that is not there: nobody listens.
REFUSED = "refused"
FAULTS: dict[str, dict[str, object]] = {
    "slow": {"delay": "2s"},
    "500": {"status": 500},
    "hang": {"hang": True},
    "garbage": {"body": "<html>It works!</html>"},
}
SHORT = ["slow", "500", "hang", REFUSED, "garbage"]
LONG = ["500", REFUSED, "hang"]


@dataclass(frozen=True)
class Illness:
    kind: str
    begun: float
    ended: float


@dataclass
class Trouble:
    """What has happened so far."""

    emulator: Emulator
    gate: Gate
    sidecar: Sidecar
    begun: float
    illnesses: list[Illness] = field(default_factory=list)
    updates: int = 0

    async def run(self, until: float) -> None:
        """Until that moment, and then it is well again."""
        await asyncio.gather(self._fall_ill(until), self._update(until), self._cut(until))

    async def _fall_ill(self, until: float) -> None:
        for turn in itertools.count():
            kinds = [(kind, ILL_SECONDS) for kind in SHORT] + [(LONG[turn % len(LONG)], OUTAGE_SECONDS)]
            for kind, seconds in kinds:
                await asyncio.sleep(WELL_SECONDS)
                # Time enough to recover before the end.
                if time.time() + seconds + WELL_SECONDS >= until:
                    return
                await self._be_ill(kind, seconds)

    async def _be_ill(self, kind: str, seconds: float) -> None:
        print(f"{time.time() - self.begun:6.0f} s: the metadata server: {kind}, for {seconds:.0f} s", flush=True)
        begun = time.time()
        if kind == REFUSED:
            await self.gate.shut()
        else:
            await asyncio.to_thread(self.emulator.add_fault, **FAULTS[kind])
        await asyncio.sleep(seconds)
        if kind == REFUSED:
            await self.gate.open()
        else:
            await asyncio.to_thread(self.emulator.heal)
            # What it has left hanging would hang for ever.
            self.gate.cut()
        self.illnesses.append(Illness(kind, begun, time.time()))

    async def _update(self, until: float) -> None:
        while time.time() + UPDATE_SECONDS < until:
            await asyncio.sleep(UPDATE_SECONDS)
            self.updates += 1
            self.sidecar.layout.settings["header"] = ["authorization", f"x-soak-{self.updates}"]
            assert await asyncio.to_thread(self.sidecar.update), "Envoy refused an update"

    async def _cut(self, until: float) -> None:
        while time.time() + CUT_SECONDS < until:
            await asyncio.sleep(CUT_SECONDS)
            self.gate.cut()
