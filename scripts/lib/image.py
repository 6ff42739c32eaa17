"""Makes the OCI image that Istio and Envoy Gateway pull, as a folder in OCI's image layout.

It has the form that both read, the Wasm image specification's compat variant: one tar+gzip layer with plugin.wasm.
Licence and SBOM lie beside the module in that layer, since another layer would make the image unreadable for them.
Nothing in it depends on when or where it is built: same sources, same digest.

usage: image.py MODULE OUTPUT    in the repository's root; prints the image's digest
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import sys
import tarfile
import tomllib
import zlib
from pathlib import Path
from typing import Any

from sbom import sbom

Json = dict[str, Any]

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def main() -> None:
    module, output = map(Path, sys.argv[1:])
    fresh = output.with_name(f"{output.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    print(write_image(module, fresh))
    shutil.rmtree(output, ignore_errors=True)
    fresh.rename(output)


def write_image(module: Path, folder: Path) -> str:
    tar = layer(
        {
            # First: who looks for it stops here.
            "plugin.wasm": module.read_bytes(),
            "LICENSE": Path("LICENSE").read_bytes(),
            "sbom.cdx.json": text_of(sbom(module)).encode(),
        }
    )
    blobs = Blobs(folder)
    labels = annotations()
    config = {
        "architecture": "wasm",
        "os": "wasip1",
        "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blobs.add(CONFIG, text_of(config).encode()),
        "layers": [blobs.add(LAYER, compressed(tar))],
        "annotations": labels,
    }
    described = blobs.add(MANIFEST, text_of(manifest).encode())
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}\n')
    (folder / "index.json").write_text(text_of({"schemaVersion": 2, "manifests": [described]}))
    return str(described["digest"])


class Blobs:
    """The files of an image, each under its digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "blobs/sha256"
        self._folder.mkdir(parents=True)

    def add(self, media_type: str, content: bytes) -> Json:
        digest = digest_of(content)
        (self._folder / digest.removeprefix("sha256:")).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}


def annotations() -> dict[str, str]:
    """OCI's own names for what an image is."""
    about = tomllib.loads(Path("Cargo.toml").read_text())["package"]
    described = {
        "title": about["name"],
        "description": about["description"],
        "version": about["version"],
        "licenses": about["license"],
    }
    return {f"org.opencontainers.image.{name}": value for name, value in described.items()}


def layer(files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            # Owner root, time 0: TarInfo's own.
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o444
            tar.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def compressed(content: bytes) -> bytes:
    """As gzip does, with a header that no Python fills in its own way: no time, no name, no operating system."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(content) + deflate.flush()
    trailer = struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff" + body + trailer


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def text_of(value: Json) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    main()
