"""Where and with what the figures were measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from harness.process import ROOT


def machine(envoy: Path) -> dict[str, str | int]:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count() or 0,
        "kernel": platform.release(),
        "envoy": version_in(said([envoy, "--version"])),
        "valgrind": version_in(said(["valgrind", "--version"])),
        "commit": said(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]).strip(),
    }


def said(command: list[str | Path]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def version_in(text: str) -> str:
    found = re.search(r"\d+\.\d+\.\d+", text)
    return found.group() if found else text.strip()
