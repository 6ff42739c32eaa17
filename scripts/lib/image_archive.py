"""Packs an image's folder (OCI's layout) into one tar file, the same bytes for the same image.

usage: image_archive.py FOLDER FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from image import layer


def pack(folder: Path, archive: Path) -> None:
    """Files alone, in the order of their names, of nobody and of no time."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    archive.write_bytes(layer({file.relative_to(folder).as_posix(): file.read_bytes() for file in files}))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
