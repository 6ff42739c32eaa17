"""Prints one version's section of a changelog in the form of Keep a Changelog.

usage: release_notes.py CHANGELOG VERSION
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def notes(changelog: str, version: str) -> str:
    """What stands under `## [VERSION]`, up to the next version."""
    sections = re.split(r"^## \[([^\]]+)\][^\n]*\n", changelog, flags=re.MULTILINE)
    found = dict(zip(sections[1::2], sections[2::2], strict=True))
    if not found.get(version, "").strip():
        there = ", ".join(found) or "none"
        raise SystemExit(
            f"CHANGELOG.md has nothing under `## [{version}]` (there is: {there}); give the release its section there"
        )
    return found[version].strip()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(notes(Path(sys.argv[1]).read_text(), sys.argv[2]))
