"""What the repository ships for Prometheus and Grafana, on a real Prometheus that scrapes a real Envoy."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from harness.bootstrap import Cluster
from harness.emulator import Emulator
from harness.names import Fresh
from harness.process import ROOT
from harness.prometheus import FOLDER, MINUTE, RULES, Prometheus, promtool
from harness.sidecar import LISTENER, Launch, Layout, Sidecar
from harness.upstream import Upstream
from harness.waiting import eventually

ALERTS = {rule["alert"] for rule in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]}

# Longer than any window and wait of the rules.
PATIENCE = 40 * MINUTE


@pytest.fixture
def own_emulator(tmp_path: Path) -> Iterator[Emulator]:
    """Its tokens end soon, so that refreshes never stop."""
    emulator = Emulator(tmp_path / "emulator", lifetime="100s")
    yield emulator
    emulator.stop()


@contextmanager
def traffic(sidecar: Sidecar) -> Iterator[None]:
    """Requests one after the other while the block runs, whatever comes of them."""
    is_over = threading.Event()

    def call() -> None:
        while not is_over.wait(0.05):
            sidecar.request("profiles.test")

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield
    finally:
        is_over.set()
        caller.join()


def test_the_rules_do_what_they_say() -> None:
    checked = promtool("check", "rules", "--lint-fatal", *RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", ROOT / "tests" / "prometheus" / "alerts.test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_is_tested_alone() -> None:
    tests = yaml.safe_load((ROOT / "tests" / "prometheus" / "alerts.test.yaml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == ALERTS
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == ALERTS


def test_alerts_fire_while_the_metadata_server_is_ill_and_then_fall_silent(
    newest_envoy: Path, own_emulator: Emulator, upstream: Upstream, fresh: Fresh, tmp_path: Path
) -> None:
    audience = fresh.audience("watched")
    layout = Layout(
        LISTENER,
        [Cluster("profiles", upstream.port)],
        own_emulator.port,
        [{"cluster": "profiles", "audience": audience}],
        {"timeout": "5s", "callout_timeout": "4s"},
    )
    sidecar = Sidecar(newest_envoy, tmp_path / "sidecar", layout)
    prometheus = Prometheus(tmp_path, [sidecar.envoy.admin.base_url.netloc.decode()])
    try:
        with traffic(sidecar):
            eventually(lambda: prometheus.query("invoker:requests_with_rule:rate5m > 0"), "traffic to be seen", 60)
            assert prometheus.firing() == set()
            every_query_of_the_dashboard_has_data(prometheus)
            # Fetches fail until the token has run out, 70 s after it came.
            with own_emulator.fault(audience=audience, status=503):
                alerts = {"InvokerFetchesFail", "InvokerTokensEndSoon"}
                eventually(lambda: alerts <= prometheus.firing(), f"{alerts} to fire", PATIENCE)
                assert "InvokerRequestsDenied" not in prometheus.firing()
                alerts = {"InvokerFetchesFail", "InvokerRequestsDenied"}
                eventually(lambda: alerts <= prometheus.firing(), f"{alerts} to fire", PATIENCE)
            eventually(lambda: not prometheus.firing(), "all alerts to fall silent", PATIENCE)
            with own_emulator.fault(audience=audience, delay="3s"):
                eventually(lambda: prometheus.firing() == {"InvokerFetchesSlow"}, "InvokerFetchesSlow to fire", PATIENCE)
            eventually(lambda: not prometheus.firing(), "it to fall silent", PATIENCE)
    finally:
        prometheus.stop()
        sidecar.stop()


def every_query_of_the_dashboard_has_data(prometheus: Prometheus) -> None:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert queries
    for query in queries:
        now = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
        assert re.search(r"\$\w", now) is None, query
        eventually(lambda now=now: prometheus.query(now), f"data for {query}", 60)


def test_the_readme_names_every_metric_as_it_is_scraped(launch: Launch, fresh: Fresh) -> None:
    sidecar = launch(LISTENER, rules=[{"cluster": "profiles", "audience": fresh.audience("named")}])
    assert sidecar.request("profiles.test").status == 200
    sidecar.envoy.wait_for_metric("fetches.succeeded", 1)
    eventually(lambda: sidecar.envoy.metric("tokens.cached"), "the gauges")
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(invoker\.\S+)` \| `(invoker_\S+)` \| (counter|gauge|histogram) \|", readme, re.MULTILINE)
    admin = sidecar.envoy.admin.get("/stats", params={"filter": "wasmcustom"}).text
    shown = set(re.findall(r"^wasmcustom\.(\S+):", admin, re.MULTILINE))
    scraped = sidecar.envoy.admin.get("/stats/prometheus").text
    kinds = set(re.findall(r"^# TYPE (invoker_\S+) (\w+)$", scraped, re.MULTILINE))
    assert {name for name, _, _ in rows} == shown
    assert {(name, kind) for _, name, kind in rows} == kinds
