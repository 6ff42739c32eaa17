"""A run as a page (Markdown) and as a picture (SVG)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes

from .run import LIFETIME_SECONDS, RATE, WORKERS, Run
from .verdict import Check

# Seconds that are counted together.
STEP = 5
COLOURS = {"slow": "#f5e6a8", "500": "#f3c6b3", "hang": "#d9d2e9", "refused": "#f4cccc", "garbage": "#d0e0c8"}


def table(checks: list[Check]) -> str:
    rows = [f"| {check.promise} | {check.found} | {'kept' if check.is_kept else '**BROKEN**'} |" for check in checks]
    return "\n".join(["| promise | found | |", "|---|---|---|", *rows])


def page(run: Run, checks: list[Check], where: str) -> str:
    minutes = (run.ended - run.begun) / 60
    kinds = Counter(illness.kind for illness in run.illnesses)
    return f"""# A long run under trouble

`scripts/soak --minutes {minutes:.0f} --report` wrote this page: {where}, Envoy {run.envoy} with {WORKERS} workers, in the listener form;
{RATE} requests a second to 20 audiences, half of them derived; tokens that live for {LIFETIME_SECONDS} s. The metadata server was ill in turns
({", ".join(f"{count} × {kind}" for kind, count in kinds.items())}), once in a round for longer than any token lives;
{run.updates} updates of the configuration, {len(run.cuts)} cuts of the metadata server's connections.

![](soak.svg)

{table(checks)}
"""


def plot(run: Run, path: Path) -> None:
    matplotlib.rcParams.update({"svg.hashsalt": "invoker", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    figure, (answers, calls, memory) = pyplot.subplots(3, 1, sharex=True, figsize=(9, 6.5), layout="constrained")
    settled = [outcome for outcome in run.outcomes if outcome.status is not None]
    lines(answers, "requests a second", run, {
        "served": (outcome.ended for outcome in settled if outcome.status == 200),
        "denied": (outcome.ended for outcome in settled if outcome.status != 200),
    })  # fmt: skip
    lines(calls, "calls a second", run, {
        "answered 200": (call.at for call in run.calls if call.status == 200),
        "otherwise, or never": (call.at for call in run.calls if call.status != 200),
    })  # fmt: skip
    minutes = [(sample.at - run.begun) / 60 for sample in run.samples]
    series = {
        "Envoy's resident memory": [sample.resident for sample in run.samples],
        "allocated by Envoy": [sample.allocated for sample in run.samples],
        "all linear memories": [sum(sample.linear) for sample in run.samples],
    }
    for name, values in series.items():
        memory.plot(minutes, [value / 2**20 for value in values], label=name, linewidth=1)
    memory.set(ylabel="MiB", xlabel="minutes", ylim=(0, None))
    for axes in (answers, calls, memory):
        shade(axes, run)
        axes.legend(loc="upper right", frameon=False, ncols=3)
    answers.set_title("shaded: the metadata server is ill (" + ", ".join(COLOURS) + ")", fontsize=8, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def lines(axes: Axes, label: str, run: Run, series: dict[str, Iterable[float]]) -> None:
    for name, times in series.items():
        counts = Counter(int((at - run.begun) // STEP) for at in times)
        steps = range(int((run.ended - run.begun) // STEP))
        axes.plot([step * STEP / 60 for step in steps], [counts[step] / STEP for step in steps], label=name, linewidth=1)
    axes.set(ylabel=label, ylim=(0, None))


def shade(axes: Axes, run: Run) -> None:
    for illness in run.illnesses:
        axes.axvspan(
            (illness.begun - run.begun) / 60, (illness.ended - run.begun) / 60, color=COLOURS[illness.kind], linewidth=0
        )
