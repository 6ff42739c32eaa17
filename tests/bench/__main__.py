"""Measures what Invoker costs, side by side with what else does its job. scripts/bench runs it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from harness.process import ROOT

from . import report, sections
from .machine import machine
from .proxy import Setting

RESULTS = ROOT / "docs" / "bench" / "results.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", default=[*sections.SECTIONS])
    parser.add_argument("--envoy", type=Path, required=True)
    parser.add_argument("--vegeta", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for name in arguments.sections:
        if name not in sections.SECTIONS:
            parser.error(f"no section {name!r}; there are {', '.join(sections.SECTIONS)}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with tempfile.TemporaryDirectory(prefix="invoker-bench-") as folder:
        setting = Setting(arguments.envoy, Path(folder), arguments.vegeta, arguments.rounds)
        for name in arguments.sections:
            sections.say(f"== {name}")
            results[name] = {"figures": sections.SECTIONS[name](setting), "machine": machine(arguments.envoy)}
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    text = report.page(results)
    RESULTS.with_name("README.md").write_text(text)
    report.plot(results, RESULTS.parent)
    sys.stdout.write(text)


main()
