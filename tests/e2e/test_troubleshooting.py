"""The README's troubleshooting: what each entry says happens, and its cure helps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from harness.bootstrap import Cluster
from harness.client import Leaver
from harness.emulator import Emulator
from harness.names import Fresh
from harness.process import ROOT, free_port
from harness.sidecar import LISTENER, Launch, Sidecar
from harness.upstream import Upstream
from harness.waiting import eventually

SHORT = {"timeout": "1200ms", "callout_timeout": "500ms"}
LONG = {"timeout": "5s", "callout_timeout": "4s"}
METADATA = {"type": "metadata", "cluster": "metadata"}

# No Envoy that is supported refuses to change a header that Invoker writes: the code is for one that would.
# Envoy gives Invoker no URL: `insecure_url` is for programs and components, whose tests provoke it.
NOT_IN_ENVOY = {"refused_header": None, "insecure_url": "tests/components/client.test.js"}


@dataclass
class Trouble:
    """A sidecar in trouble. ``cured`` holds what ends with the cure."""

    launch: Launch
    emulator: Emulator
    upstream: Upstream
    folder: Path
    audience: str
    cured: ExitStack = field(default_factory=ExitStack)

    def start(self, **layout: Any) -> Sidecar:
        rules = layout.pop("rules", [{"cluster": "profiles", "audience": self.audience}])
        layout.setdefault("settings", SHORT)
        return self.launch(LISTENER, rules=rules, changeable=True, **layout)

    def ill(self, **fault: Any) -> None:
        self.cured.enter_context(self.emulator.fault(audience=self.audience, **fault))


# Each entry, and the tests that provoke what it speaks of and try its cure.
ENTRIES = {
    "Nothing happens: requests arrive without a token.": [("troubleshooting", "a_request_that_no_rule_matches")],
    "The receiver says 401 or 403.": [("shipped_configurations", "the_receiver_says_what_is_wrong")],
    "Invoker says 503 or 500.": [("troubleshooting", "a_code_says_what_happened_and_its_cure_helps")],
    "Envoy rejects the plugin.": [
        ("bad_configuration", "a_bad_configuration_is_rejected_and_says_why"),
        ("configuration_updates", "a_bad_update_leaves_the_old_configuration_serving"),
    ],
    "`RBAC: access denied` from one's own sidecar.": [("istio", "without_the_module_everything_is_denied")],
    "In Istio, requests leave without a token.": [("istio", "what_people_forget")],
    "In Istio, 502 or `NR` without a body.": [("istio", "what_people_forget")],
    "In Istio, 503, 400 or 404 from Google, or `callout_unreachable`.": [("istio", "what_people_forget")],
    "In Istio, no metrics.": [("istio", "metrics_are_on_the_admin_page_and_where_prometheus_scrapes")],
    "Requests hang.": [
        ("panics", "waiting_requests_end_at_the_idle_timeout_and_go_nowhere"),
        ("panics", "under_fail_reload_new_requests_are_served_while_others_are_stranded"),
    ],
    "The first requests after a start are slow.": [
        ("a_cold_start", "literal_audiences_are_fetched_before_the_first_request")
    ],
    "Envoy Gateway answers 500 with an empty body.": [
        ("envoy_gateway", "without_the_module_every_request_is_refused"),
        ("envoy_gateway_settings", "without_the_extension_a_backend_is_disabled"),
    ],
    "Under Envoy Gateway, requests arrive without a token.": [
        ("envoy_gateway", "a_policy_on_the_route_takes_the_place_of_the_one_on_the_gateway")
    ],
    "Under Envoy Gateway, the log says nothing.": [("envoy_gateway_settings", "the_log_says_more_at_another_level")],
}

# Puts it into trouble, and gives the sidecar and the cure.
Scenario = Callable[[Trouble], tuple[Sidecar, Callable[[], Any]]]


def settings(sidecar: Sidecar, **changed: Any) -> Callable[[], Any]:
    """The cure is in the configuration."""

    def cure() -> None:
        sidecar.layout.settings = {**sidecar.layout.settings, **changed}
        assert sidecar.update()

    return cure


def timeout(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    """A metadata server that is slower than a request may wait."""
    trouble.ill(delay="1500ms")
    sidecar = trouble.start(settings={"timeout": "800ms", "callout_timeout": "800ms"})
    return sidecar, settings(sidecar, **LONG)


def callout_timeout(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    trouble.ill(delay="1500ms")
    sidecar = trouble.start()
    return sidecar, settings(sidecar, **LONG)


def callout_unreachable(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    """Nobody listens where the cluster leads."""
    port = free_port()
    sidecar = trouble.start(metadata_port=port)

    def cure() -> None:
        server = Emulator(trouble.folder / "late", listen=f"127.0.0.1:{port}")
        trouble.cured.callback(server.stop)

    return sidecar, cure


def callout_unavailable(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    """A cluster without an endpoint."""
    sidecar = trouble.start(metadata_port=None)
    return sidecar, lambda: lead_to(sidecar, trouble.emulator.port)


def unknown_cluster(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    sidecar = trouble.start(settings={**SHORT, "credentials": {**METADATA, "cluster": "metadata-typo"}})
    return sidecar, settings(sidecar, credentials=METADATA)


def server_error(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    trouble.ill(status=500)
    return trouble.start(), trouble.cured.close


def not_found(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    """A service account that this machine does not have."""
    unknown = {**METADATA, "service_account": "nobody@demo.iam.gserviceaccount.com"}
    sidecar = trouble.start(settings={**SHORT, "credentials": unknown})
    return sidecar, settings(sidecar, credentials=METADATA)


def refused(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    trouble.ill(status=403)
    return trouble.start(), trouble.cured.close


def malformed_answer(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    """The cluster leads to another server."""
    sidecar = trouble.start(metadata_port=trouble.upstream.port)
    return sidecar, lambda: lead_to(sidecar, trouble.emulator.port)


def expired_token(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    """This machine's clock is ahead of the server's."""
    trouble.ill(token={"lifetime": "-10m"})
    return trouble.start(), trouble.cured.close


def too_many_waiting(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    trouble.ill(delay="3s")
    sidecar = trouble.start(settings={**LONG, "max_waiting_requests": 1})
    waiting = Leaver(sidecar.port, "profiles.test")
    trouble.cured.callback(waiting.leave)
    sidecar.envoy.wait_for_metric("requests.waited", 1)
    return sidecar, settings(sidecar, max_waiting_requests=10)


def invalid_annotation(trouble: Trouble) -> tuple[Sidecar, Callable[[], Any]]:
    def cluster(audience: str) -> Cluster:
        return Cluster("profiles", trouble.upstream.port, metadata={"invoker": {"audience": audience}})

    wrong = cluster(trouble.audience.removeprefix("https://"))
    sidecar = trouble.start(rules=[], clusters=[wrong], settings={**SHORT, "audience_from_metadata": True})

    def cure() -> None:
        sidecar.layout.clusters = [cluster(trouble.audience)]
        assert sidecar.update()

    return sidecar, cure


def lead_to(sidecar: Sidecar, port: int) -> None:
    sidecar.layout.metadata_port = port
    assert sidecar.update()


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        timeout,
        callout_timeout,
        callout_unreachable,
        callout_unavailable,
        unknown_cluster,
        server_error,
        not_found,
        refused,
        malformed_answer,
        expired_token,
        too_many_waiting,
        invalid_annotation,
    )
}


@pytest.fixture
def trouble(
    launch: Launch, emulator: Emulator, upstream: Upstream, fresh: Fresh, tmp_path: Path
) -> Iterator[Trouble]:
    trouble = Trouble(launch, emulator, upstream, tmp_path, fresh.audience("trouble"))
    with trouble.cured:
        yield trouble


@pytest.mark.parametrize("code", SCENARIOS)
def test_a_code_says_what_happened_and_its_cure_helps(trouble: Trouble, code: str) -> None:
    sidecar, cure = SCENARIOS[code](trouble)
    denied = sidecar.request("profiles.test")
    assert denied.text.startswith(f"invoker: {code}: "), (denied.status, denied.text)
    assert f"invoker_{code}" in sidecar.logged(denied)["details"]
    (line, *_) = sidecar.envoy.wait_for_log(rf"\[error\].* denied \({code}\)")
    assert denied.text.removeprefix(f"invoker: {code}: ") in line
    cure()
    # A failure that needs a person is tried again after 5 s, then after 10.
    served = eventually(
        lambda: (answer := sidecar.request("profiles.test")).status == 200 and answer, "to be served again", within=40
    )
    assert served.claims["aud"] == trouble.audience


def test_the_table_has_each_code_and_each_was_provoked() -> None:
    table = (ROOT / "README.md").read_text().partition("| code | look at | cure |")[2].partition("\n\n")[0]
    told = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    source = (ROOT / "src/error.rs").read_text().partition("fn as_str")[2].partition("\n    }\n")[0]
    assert sorted(told) == sorted(re.findall(r'=> "(\w+)"', source))
    assert sorted(told) == sorted([*SCENARIOS, *NOT_IN_ENVOY])
    for code, test in NOT_IN_ENVOY.items():
        assert test is None or code in (ROOT / test).read_text()


def test_a_request_that_no_rule_matches(trouble: Trouble) -> None:
    sidecar = trouble.start(rules=[{"cluster": "search", "audience": trouble.audience}])
    assert sidecar.request("profiles.test").arrival.header("authorization") is None
    sidecar.envoy.wait_for_metric("requests.bypassed", 1)
    sidecar.envoy.log_at_debug("wasm")
    eventually(
        lambda: sidecar.request("profiles.test") and sidecar.envoy.log_lines("no token: no rule matches"),
        "the request to be named",
    )
    assert "none matches" in sidecar.layout.explain(trouble.folder, "profiles", "profiles.test")
    sidecar.layout.rules = [{"cluster": "profiles", "audience": trouble.audience}]
    assert sidecar.update()
    assert trouble.audience in sidecar.layout.explain(trouble.folder, "profiles", "profiles.test")
    served = eventually(
        lambda: (answer := sidecar.request("profiles.test")).arrival.header("authorization") and answer, "a token"
    )
    assert served.claims["aud"] == trouble.audience


def test_each_entry_was_provoked() -> None:
    section = (ROOT / "README.md").read_text().partition("\n## Troubleshooting\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\*\*(.+?)\*\*", section, re.MULTILINE) == list(ENTRIES)
    for file, test in (test for tests in ENTRIES.values() for test in tests):
        assert f"def test_{test}(" in (ROOT / f"tests/e2e/test_{file}.py").read_text(), test
