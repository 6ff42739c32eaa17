"""The results as tables (Markdown) and as pictures (SVG)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot

Results = dict[str, Any]

INTRODUCTION = """# What Invoker costs

Measured by `scripts/bench`, which wrote this page: each section in one run on one machine, so that its rows
compare with each other, not with another page's. Counts of instructions repeat to some 0.3 %; times on a
shared machine scatter by 30 %, so they are medians of interleaved runs, and ratios say more than they do.
`results.json` has everything.
"""


def page(results: Results) -> str:
    return "\n".join([INTRODUCTION, *(TABLES[name](results[name]) for name in TABLES if name in results)])


def section(title: str, text: str, measured: Results, *tables: str) -> str:
    machine = measured["machine"]
    where = (
        f"{machine['date']}, commit {machine['commit']}, Envoy {machine['envoy']}, "
        f"{machine['cores']} × {machine['cpu']}, Linux {machine['kernel']}, valgrind {machine['valgrind']}."
    )
    return "\n".join([f"## {title}\n", f"{text}\n", *tables, f"{where}\n"])


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    columns = list(head)
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def hit_path(measured: Results) -> str:
    figures = measured["figures"]
    protocols = [name for name in figures if name.startswith("HTTP")]
    head = ["", *(f"{p}: {what}" for p in protocols for what in ("instructions", "× gcp_authn", "× no filter"))]
    rows = []
    for name, row in figures[protocols[0]].items():
        cells: list[str] = [row["title"]]
        for protocol in protocols:
            of = figures[protocol][name]
            cells += [f"{of['instructions']:,}", f"{of['of_gcp_authn']:.3f}", f"{of['of_no_filter']:.3f}"]
        rows.append(cells)
    text = (
        "Instructions per request that is served from the cache: one worker, which is the receiving service too, one\n"
        f"client, a token of {figures['token_bytes']} bytes, under callgrind. "
        "![](hit-path.svg)"
    )
    return section("A hit", text, measured, table(head, rows))


def growth(measured: Results) -> str:
    rows = [[row["title"], f"{row['instructions']:,}"] for row in measured["figures"].values()]
    text = "The same with more rules, patterns (the last one matches), and audiences in use in turn. ![](growth.svg)"
    return section("Growth", text, measured, table(["", "instructions"], rows))


def cold_start(measured: Results) -> str:
    head = ["workers", "", "metadata calls", "at most", "median", "slowest", "answered with 200"]
    rows = [
        [workers, name, row["calls"], row["most_calls"], f"{row['median_ms']} ms", f"{row['slowest_ms']} ms", row["answered"]]
        for workers, by_name in measured["figures"].items()
        for name, row in by_name.items()
    ]
    text = "200 requests at once on 200 connections, no token yet, a metadata server that answers in 300 ms."
    return section("A cold start", text, measured, table(head, rows))


def refresh(measured: Results) -> str:
    head = ["", "calls meanwhile", "median", "p99", "p99.9", "slowest", "failed"]
    rows = [
        [
            name, round(row["refreshes"]),
            *(f"{row[figure]:.2f} ms" for figure in ("median_ms", "p99_ms", "p99_9_ms", "max_ms")), round(row["failed"]),
        ]  # fmt: skip
        for name, row in measured["figures"].items()
    ]
    text = (
        "500 requests a second for 30 s on 2 workers, while tokens are replaced by a metadata server that takes 1 s.\n"
        "![](refresh.svg)"
    )
    return section("Refreshes", text, measured, table(head, rows))


def virtual_machines(measured: Results) -> str:
    figures = measured["figures"]
    head = ["", "RSS, 1 worker", "RSS, 9 workers", "per worker", "start-up"]
    rows = [
        [
            row["title"], f"{row['mib_1_worker']} MiB", f"{row['mib_9_workers']} MiB", f"{row['mib_per_worker']} MiB",
            f"{row['start_ms']} ms",
        ]  # fmt: skip
        for row in figures.values()
        if "title" in row
    ]
    sizes = [
        [title, f"{figures[name]['bytes']:,}", f"{figures[name]['compressed_bytes']:,}"]
        for name, title in (("module", "`invoker.wasm`"), ("empty_module", "the empty filter on the Rust SDK"))
    ]
    tables = [table(head, rows), table(["", "bytes", "gzip -9"], sizes)]
    return section("A virtual machine", "Envoy's resident memory and its start-up time.", measured, *tables)


def load(measured: Results) -> str:
    head = ["workers", "", "requests a second", "× no filter", "CPU per request", "× no filter"]
    rows = [
        [
            workers, row["title"], f"{row['requests_per_second']:,}", f"{row['rate_of_no_filter']:.2f}",
            f"{row['cpu_microseconds']} µs", f"{row['cpu_of_no_filter']:.2f}",
        ]  # fmt: skip
        for workers, by_name in measured["figures"].items()
        for row in by_name.values()
    ]
    text = "As many requests as 16 connections can have answered one after the other. ![](load.svg)"
    return section("Full load", text, measured, table(head, rows))


TABLES: dict[str, Callable[[Results], str]] = {
    "hit-path": hit_path,
    "growth": growth,
    "cold-start": cold_start,
    "refresh": refresh,
    "vm": virtual_machines,
    "load": load,
}


def plot(results: Results, folder: Path) -> None:
    """The pictures of the sections that there are results of."""
    matplotlib.use("svg")
    # Text stays text, and the same figures give the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "invoker", "font.family": "sans-serif"})
    if "hit-path" in results:
        rows = list(results["hit-path"]["figures"]["HTTP/1.1"].values())
        bars(
            folder / "hit-path.svg",
            "Instructions per request, as a multiple of gcp_authn's (HTTP/1.1)",
            [(row["title"], row["of_gcp_authn"]) for row in rows],
            line=1.0,
        )
    if "growth" in results:
        rows = list(results["growth"]["figures"].values())
        bars(folder / "growth.svg", "Instructions per request", [(row["title"], row["instructions"]) for row in rows])
    if "refresh" in results:
        rows = results["refresh"]["figures"].items()
        bars(folder / "refresh.svg", "p99.9 latency, ms", [(name, row["p99_9_ms"]) for name, row in rows], log=True)
    if "load" in results:
        rows = list(results["load"]["figures"]["2"].values())
        title = "CPU time per request, as a multiple of no filter's (2 workers)"
        bars(folder / "load.svg", title, [(row["title"], row["cpu_of_no_filter"]) for row in rows], line=1.0)


def bars(
    path: Path, title: str, values: list[tuple[str, float]], line: float | None = None, log: bool = False
) -> None:
    figure, axes = pyplot.subplots(figsize=(9, 0.9 + 0.38 * len(values)))
    names = [name for name, _ in values]
    ours = ["#1a73e8" if name.lower().startswith("invoker") else "#9aa0a6" for name in names]
    drawn = axes.barh(names, [value for _, value in values], color=ours)
    axes.bar_label(drawn, [f"{value:,.3f}" if value < 10 else f"{value:,.0f}" for _, value in values], padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    if line is not None:
        axes.axvline(line, color="#5f6368", linewidth=0.8, linestyle="--")
    if log:
        axes.set_xscale("log")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
