"""Packs an image's folder (OCI's layout) into one tar file, the same bytes for the same image.

usage: image_archive.py FOLDER FILE
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path


def pack(folder: Path, archive: Path) -> None:
    """Files alone, in the order of their names, of nobody and of no time."""
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            content = file.read_bytes()
            entry = tarfile.TarInfo(file.relative_to(folder).as_posix())
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
