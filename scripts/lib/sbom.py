"""The module's software bill of materials, in CycloneDX: the crates whose code is in it.

From what Cargo resolves for the module's target, with Cargo.lock's checksums. Without a time stamp or a serial
number, so that the same sources give the same text.
"""

from __future__ import annotations

import hashlib
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

TARGET = "wasm32-wasip1"


@dataclass
class Crate:
    name: str
    version: str
    # An SPDX expression.
    licence: str
    needs: set[str] = field(default_factory=set)

    @property
    def purl(self) -> str:
        return f"pkg:cargo/{self.name}@{self.version}"


def sbom(module: Path) -> Json:
    root, *others = crates()
    checksums = lock_checksums()
    content = hashlib.sha256(module.read_bytes()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(root, "application", content)},
        "components": [
            component(crate, "library", checksums[crate.name, crate.version])
            for crate in sorted(others, key=lambda crate: crate.purl)
        ],
        "dependencies": [
            {"ref": crate.purl, "dependsOn": sorted(crate.needs)}
            for crate in sorted([root, *others], key=lambda crate: crate.purl)
        ],
    }


def crates() -> list[Crate]:
    """The module itself, then what it is made of; not what only builds or tests it."""
    command = ["cargo", "tree", "--locked", "--target", TARGET, "--edges", "normal,no-proc-macro", "--no-dedupe"]
    command += ["--prefix", "depth", "--format", "|{p}|{l}"]
    tree = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Crate] = {}
    above: list[Crate] = []
    for line in tree.splitlines():
        depth, package, licence = line.split("|")
        name, version = package.split()[:2]
        # An older way to write OR.
        crate = Crate(name, version.removeprefix("v"), licence.replace("/", " OR "))
        crate = found.setdefault(crate.purl, crate)
        del above[int(depth) :]
        if above:
            above[-1].needs.add(crate.purl)
        above.append(crate)
    return list(found.values())


def lock_checksums() -> dict[tuple[str, str], str]:
    """Of each crate's archive, by name and version."""
    packages = tomllib.loads(Path("Cargo.lock").read_text())["package"]
    return {(package["name"], package["version"]): package["checksum"] for package in packages if "checksum" in package}


def component(crate: Crate, kind: str, sha256: str) -> Json:
    return {
        "type": kind,
        "bom-ref": crate.purl,
        "name": crate.name,
        "version": crate.version,
        "purl": crate.purl,
        "licenses": [{"expression": crate.licence}],
        "hashes": [{"alg": "SHA-256", "content": sha256}],
    }
