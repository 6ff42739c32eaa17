"""Which Envoys, which places, and the processes that tests share."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.bootstrap import Cluster
from harness.emulator import Emulator
from harness.envoy import Envoy, tail
from harness.module_server import module_server
from harness.names import Fresh
from harness.process import ROOT
from harness.registry import Registry, registry
from harness.shipped import Demo, demo
from harness.sidecar import LISTENER, UPSTREAM, Launch, Layout, Sidecar
from harness.upstream import Upstream


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--envoy",
        action="append",
        type=Path,
        help="an Envoy to test on; may be given several times (default: what scripts/install-envoy installs)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "envoy_binary" not in metafunc.fixturenames:
        return
    binaries = metafunc.config.getoption("--envoy") or [installed_envoy()]
    metafunc.parametrize("envoy_binary", binaries, ids=version_of, indirect=True, scope="session")


# The files that take longest begin first: at the end, all others would be waiting for them.
LONGEST = [
    f"test_{name}.py"
    for name in ("prometheus", "refreshing", "bounded_memory", "troubleshooting", "envoy_gateway", "istio", "scripts")
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def installed_envoy() -> Path:
    script = ROOT / "scripts" / "install-envoy"
    return Path(subprocess.run([script], check=True, capture_output=True, text=True).stdout.strip())


_versions: dict[Path, str] = {}


def version_of(binary: Path) -> str:
    if binary not in _versions:
        said = subprocess.run([binary, "--version"], check=True, capture_output=True, text=True).stdout
        found = re.search(r"/(\d+\.\d+\.\d+)[^/]*/", said)
        _versions[binary] = found.group(1) if found else binary.name
    return _versions[binary]


@pytest.fixture(scope="session")
def envoy_binary(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="session")
def envoy_version(envoy_binary: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in version_of(envoy_binary).split("."))


@pytest.fixture(scope="session")
def newest_envoy(request: pytest.FixtureRequest) -> Path:
    """For tests that one Envoy is enough for."""
    binaries = request.config.getoption("--envoy") or [installed_envoy()]
    return max(binaries, key=lambda binary: [int(part) for part in version_of(binary).split(".")])


@pytest.fixture(scope="session")
def newest_envoy_version(newest_envoy: Path) -> str:
    return version_of(newest_envoy)


@pytest.fixture(scope="module")
def module_url() -> Iterator[str]:
    """The module over plain HTTP."""
    with module_server() as url:
        yield url


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Registry]:
    """A registry of the test's own."""
    with registry(tmp_path / "registry") as images:
        yield images


@pytest.fixture(scope="session")
def fresh() -> Fresh:
    """Makes names that no other test has."""
    return Fresh()


@pytest.fixture(params=[UPSTREAM, LISTENER], scope="module")
def place(request: pytest.FixtureRequest) -> str:
    """Where Invoker stands; a test that takes this runs in both places."""
    return str(request.param)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """The metadata server. Faults are set for one audience, so that tests don't meet."""
    emulator = Emulator(tmp_path_factory.mktemp("emulator"))
    yield emulator
    emulator.stop()


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """The receiving service. Tests are told apart by their paths."""
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def receiving(envoy_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """What the repository ships for the receiving side, on its own ports."""
    with demo(tmp_path_factory.mktemp("receiving"), envoy_binary) as receiving:
        yield receiving


def _launcher(
    binary: Path, emulator: Emulator, upstream: Upstream, folders: Callable[[], Path]
) -> Iterator[Launch]:
    started: list[Sidecar] = []

    def launch(place: str, *, workers: int = 1, **layout: Any) -> Sidecar:
        options = ("wasm_log_level", "drain_seconds", "changeable", "may_crash")
        process = {name: layout.pop(name) for name in options if name in layout}
        layout.setdefault("clusters", [Cluster("profiles", upstream.port)])
        layout.setdefault("metadata_port", emulator.port)
        sidecar = Sidecar(binary, folders(), Layout(place, **layout), workers=workers, **process)
        started.append(sidecar)
        return sidecar

    yield launch
    failures = []
    for sidecar in started:
        try:
            sidecar.stop()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture
def launch(
    envoy_binary: Path, emulator: Emulator, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launch]:
    """Starts sidecars of the test's own: ``launch(place, rules=[...], workers=4)``, see Layout."""
    yield from _launcher(envoy_binary, emulator, upstream, lambda: tmp_path_factory.mktemp("sidecar"))


@pytest.fixture(scope="module")
def launch_shared(
    envoy_binary: Path, emulator: Emulator, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launch]:
    """The same for a whole file."""
    yield from _launcher(envoy_binary, emulator, upstream, lambda: tmp_path_factory.mktemp("shared"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failure shows what the Envoys said meanwhile."""
    report = (yield).get_result()
    for envoy in Envoy.running:
        news = envoy.news()
        if report.failed and news:
            report.sections.append((f"the end of {envoy.log_path}", tail(news, 40)))
