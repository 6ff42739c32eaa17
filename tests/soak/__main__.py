"""Runs for long under steady trouble, and asks whether the promises held. scripts/soak runs it."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from harness.process import ROOT

from . import report
from .run import run
from .verdict import judge

DOCS = ROOT / "docs" / "soak"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--envoy", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--report", action="store_true", help="write docs/soak")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="invoker-soak-") as folder:
        done = asyncio.run(run(arguments.envoy, arguments.minutes * 60, Path(folder)))
    checks = judge(done)
    sys.stdout.write(report.table(checks) + "\n")
    report.plot(done, ROOT / "target" / "soak" / "soak.svg")
    sys.stdout.write("\nThe picture: target/soak/soak.svg\n")
    if arguments.report:
        report.plot(done, DOCS / "soak.svg")
        (DOCS / "README.md").write_text(report.page(done, checks, f"{os.cpu_count()} processors"))
    broken = [check.promise for check in checks if not check.is_kept]
    if broken:
        sys.exit(f"scripts/soak: broken: {'; '.join(broken)}")


main()
