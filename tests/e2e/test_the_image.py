"""The OCI image that meshes pull: its form, its digest, and how it gets into a images."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from harness.bootstrap import MODULE
from harness.process import ROOT, built
from harness.registry import IMAGE, Registry


def blob(digest: str, image: Path = IMAGE) -> bytes:
    content = (image / "blobs" / digest.replace(":", "/")).read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    return content


def described(image: Path = IMAGE) -> dict[str, Any]:
    return dict(json.loads((built(image) / "index.json").read_text())["manifests"][0])


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return dict(json.loads(blob(described()["digest"])))


@pytest.fixture(scope="module")
def files(manifest: dict[str, Any]) -> dict[str, bytes]:
    (layer,) = manifest["layers"]
    with tarfile.open(fileobj=io.BytesIO(blob(layer["digest"])), mode="r:gz") as tar:
        return {entry.name: content.read() for entry in tar if (content := tar.extractfile(entry))}


def test_it_is_one_layer_with_the_module_first(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    """More layers, or another kind, and meshes can't read it."""
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert [layer["mediaType"] for layer in manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar+gzip"]
    assert list(files)[0] == "plugin.wasm"
    assert files["plugin.wasm"] == built(MODULE).read_bytes()
    config = json.loads(blob(manifest["config"]["digest"]))
    layer = gzip.decompress(blob(manifest["layers"][0]["digest"]))
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]


def test_it_says_what_it_is(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
    labels = json.loads(blob(manifest["config"]["digest"]))["config"]["Labels"]
    assert labels == manifest["annotations"]
    assert labels["org.opencontainers.image.title"] == "invoker"
    assert labels["org.opencontainers.image.version"] == "0.1.0"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert files["LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_its_bill_of_materials_is_complete_and_valid(files: dict[str, bytes]) -> None:
    text = files["sbom.cdx.json"].decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    (module,) = bill["metadata"]["component"]["hashes"]
    assert module["content"] == hashlib.sha256(files["plugin.wasm"]).hexdigest()
    names = {component["name"] for component in bill["components"]}
    # What parses and what signs is in it; what only the command, a build or a test needs is not.
    assert {"serde_json", "rsa", "base64"} <= names
    assert not {"clap", "axum", "tokio", "serde_derive", "proptest"} & names
    known = {component["purl"] for component in [bill["metadata"]["component"], *bill["components"]]}
    assert {entry["ref"] for entry in bill["dependencies"]} == known
    assert {need for entry in bill["dependencies"] for need in entry["dependsOn"]} <= known


def test_the_same_sources_elsewhere_and_at_another_time_give_the_same_digest(tmp_path: Path) -> None:
    copy = tmp_path / "another folder"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
        os.utime(copy / name, (1, 1))
    # wasm-opt once is enough.
    (copy / ".tools").mkdir()
    if (ROOT / ".tools/wasm-opt").exists():
        (copy / ".tools/wasm-opt").symlink_to(ROOT / ".tools/wasm-opt")
    subprocess.run([copy / "scripts/build", "--image"], cwd=copy, check=True, capture_output=True, timeout=900)
    assert described(copy / "target/image")["digest"] == described()["digest"]


def publish(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts/publish", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def test_publish_pushes_it_once_under_its_version(images: Registry) -> None:
    digest = described()["digest"]
    name = f"{images.address}/mesh/invoker:0.1.0"

    dry = publish("--dry-run", f"{images.address}/mesh")
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout == f"would push target/image as {name} ({digest})\n"
    assert images.digest("mesh/invoker:0.1.0") is None

    for _ in range(2):
        done = publish(f"{images.address}/mesh/")
        assert done.returncode == 0, done.stderr
        assert f"{name}@{digest}" in done.stdout
        assert images.digest("mesh/invoker:0.1.0") == digest


def test_publish_leaves_a_version_that_is_out_there_alone(images: Registry, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(built(IMAGE), other)
    index = json.loads((other / "index.json").read_text())
    manifest = {**json.loads(blob(described()["digest"])), "annotations": {"other": "yes"}}
    content = json.dumps(manifest).encode()
    digest = hashlib.sha256(content).hexdigest()
    (other / "blobs/sha256" / digest).write_bytes(content)
    index["manifests"][0] |= {"digest": f"sha256:{digest}", "size": len(content)}
    (other / "index.json").write_text(json.dumps(index))
    images.push("invoker:0.1.0", other)

    refused = publish(images.address)
    assert refused.returncode == 1
    assert "is there already, with another content" in refused.stderr
    assert images.digest("invoker:0.1.0") == f"sha256:{digest}"


def test_publish_wants_to_know_where() -> None:
    refused = publish()
    assert refused.returncode == 2
    assert "Name a registry" in refused.stderr
