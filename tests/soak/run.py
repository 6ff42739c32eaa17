"""Everything started, troubled for as long as asked, and ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from harness.bootstrap import Cluster, route, virtual_host
from harness.emulator import Call, Emulator
from harness.sidecar import LISTENER, Layout, Sidecar

from .gate import Gate
from .load import Clients, Outcome
from .memory import Sample, sample
from .receiver import Receiver
from .trouble import Illness, Trouble

WORKERS = 4
RATE = 200
LIFETIME_SECONDS = 90
TIMEOUT_SECONDS = 5
# How long a listener that was replaced lives on: what waits for its token in it must have ended by then.
DRAIN_SECONDS = 3 * TIMEOUT_SECONDS
SAMPLE_SECONDS = 2.0
# Half of the audiences are spelt out, half are derived from the host.
LITERAL = [f"literal-{number}.test" for number in range(10)]
DERIVED = [f"service-{number}.derived.test" for number in range(10)]


@dataclass
class Run:
    """What happened."""

    begun: float
    ended: float
    envoy: str
    outcomes: list[Outcome]
    # What arrived at the receiver, and what of it never may have.
    arrived: int
    wrong: dict[str, int]
    calls: list[Call]
    illnesses: list[Illness]
    cuts: list[float]
    updates: int
    samples: list[Sample]


def layout(receiver: int, metadata: int) -> Layout:
    return Layout(
        LISTENER,
        [Cluster("receiver", receiver)],
        metadata,
        rules=[
            *({"authority": host, "audience": f"https://{host}"} for host in LITERAL),
            {"authority": "*.derived.test", "audience": "https://{authority}"},
        ],
        settings={"timeout": f"{TIMEOUT_SECONDS}s", "callout_timeout": "4s", "prefetch": True},
        virtual_hosts=[virtual_host("all", ["*"], [route("receiver")])],
    )


async def run(envoy: Path, seconds: float, folder: Path) -> Run:
    emulator = Emulator(folder / "emulator", lifetime=f"{LIFETIME_SECONDS}s")
    gate, receiver = Gate(emulator.port), Receiver()
    await gate.open()
    await receiver.open()
    place = layout(receiver.port, gate.port)
    sidecar = await asyncio.to_thread(
        lambda: Sidecar(
            envoy, folder / "sidecar", place, workers=WORKERS, changeable=True, drain_seconds=DRAIN_SECONDS
        )
    )
    begun = time.time()
    until = begun + seconds
    clients = Clients(sidecar.port, [host for pair in zip(LITERAL, DERIVED, strict=True) for host in pair], RATE)
    trouble = Trouble(emulator, gate, sidecar, begun)
    samples: list[Sample] = []
    await asyncio.gather(clients.run(until), trouble.run(until), _watch(sidecar, until, samples))
    done = Run(
        begun,
        time.time(),
        str(sidecar.envoy.admin.get("/server_info").json()["version"].split("/")[1]),
        clients.outcomes,
        receiver.arrived,
        dict(receiver.wrong),
        [call for call in await asyncio.to_thread(emulator.all_calls) if call.audience],
        trouble.illnesses,
        gate.cuts,
        trouble.updates,
        samples,
    )
    # Its end looks through Envoy's log for crashes and tokens.
    await asyncio.to_thread(sidecar.stop)
    await asyncio.to_thread(emulator.stop)
    return done


async def _watch(sidecar: Sidecar, until: float, samples: list[Sample]) -> None:
    while time.time() < until:
        samples.append(await asyncio.to_thread(sample, sidecar.envoy))
        await asyncio.sleep(SAMPLE_SECONDS)
