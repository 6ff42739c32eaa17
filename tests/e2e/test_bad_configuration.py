"""What Envoy and its operator are told about a configuration that can't work, and that it is not used.

All bad configurations are sent at once, each in a listener or cluster of its own, beside a good one:
Envoy takes what it can and says for each of the others why not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from bad_configurations import CASES, GOOD, audience, change, credentials
from harness import bootstrap
from harness.bootstrap import Cluster, Json, Plugin, hosts_of, route, virtual_host
from harness.envoy import Envoy, tail, validate
from harness.sidecar import LISTENER, UPSTREAM
from harness.waiting import eventually

# An object is sent twice, as a StringValue and as a Struct; a text only as the one.
TEXT, STRUCT = "StringValue", "Struct"


def forms_of(config: Json | str) -> list[str]:
    return [TEXT] if isinstance(config, str) else [TEXT, STRUCT]


def plugin(config: Json | str, name: str, form: str = TEXT) -> Json:
    # While a configuration is tried, Envoy puts the root's id before what the module says, not the name.
    extra: Json = {"root_id": name}
    if form == TEXT:
        return Plugin(config, name, extra=extra).http_filter()
    extra["configuration"] = {"@type": "type.googleapis.com/google.protobuf.Struct", "value": config}
    return Plugin("", name, extra=extra).http_filter()


@dataclass
class Batch:
    """An Envoy that has been given the good configuration and all bad ones."""

    place: str
    envoy: Envoy

    def said_about(self, name: str) -> str:
        """What the module said about this one."""
        found = re.search(
            rf"wasm log {re.escape(name)}\b.*?: invoker: configuration rejected: (.*(?:\n(?!\[).*)*)", self.envoy.log()
        )
        assert found, f"nothing about {name} in {self.envoy.log_path}"
        return found.group(1)

    def has_taken(self) -> set[str]:
        """The listeners or clusters that are in use."""
        if self.place == LISTENER:
            return set(self.envoy.listeners())
        answer = self.envoy.admin.get("/clusters", params={"format": "json"}).json()
        return {cluster["name"] for cluster in answer["cluster_statuses"]}


@pytest.fixture(scope="module")
def batch(place: str, envoy_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    folder = tmp_path_factory.mktemp("bad")
    plugins = {"good": plugin(GOOD, "good")}
    for name, (config, _) in CASES.items():
        for form in forms_of(config):
            plugins[f"{name}-{form}"] = plugin(config, f"{name}-{form}", form)

    def a_listener(name: str, filters: list[Json]) -> Json:
        hosts = [virtual_host("profiles", hosts_of("profiles"), [route("profiles")])]
        return bootstrap.listener(name, hosts, filters, folder / "access.log")

    clusters = [Cluster("metadata", None).build(), Cluster("profiles", None).build()]
    listeners = []
    if place == LISTENER:
        listeners = [a_listener(name, [filter_]) for name, filter_ in plugins.items()]
    else:
        clusters += [Cluster(name, None).build([filter_]) for name, filter_ in plugins.items()]
    bootstrap.publish(folder / "clusters.json", bootstrap.CLUSTER_TYPE, clusters, 1)
    bootstrap.publish(folder / "listeners.json", bootstrap.LISTENER_TYPE, listeners, 1)
    (folder / "envoy.json").write_text(json.dumps(bootstrap.from_files(folder)))
    envoy = Envoy(envoy_binary, folder / "envoy.json", folder)
    batch = Batch(place, envoy)
    verdict = "listener_manager.lds" if place == LISTENER else "cluster_manager.cds"
    eventually(lambda: envoy.statistic(f"{verdict}.update_rejected") == 1, "Envoy's verdict", within=60)
    eventually(lambda: "good" in batch.has_taken(), "the good configuration to be in use")
    yield batch
    envoy.stop()


@pytest.mark.parametrize("case", CASES)
def test_a_bad_configuration_is_rejected_and_says_why(batch: Batch, case: str) -> None:
    config, expected = CASES[case]
    for form in forms_of(config):
        said = batch.said_about(f"{case}-{form}")
        assert re.match(expected, said), said
        assert f"{case}-{form}" not in batch.has_taken()


def test_the_good_one_beside_them_is_in_use(batch: Batch) -> None:
    expected = {"good"} if batch.place == LISTENER else {"good", "profiles", "metadata"}
    assert batch.has_taken() == expected


def test_envoy_names_each_that_it_rejected(batch: Batch) -> None:
    (verdict,) = re.findall(r"config update rejected: (.*(?:\n(?!\[).*)*)", batch.envoy.log())
    rejected = re.findall(r"(\S+): Unable to create Wasm plugin (\S+?),?(?=\s|$)", verdict)
    expected = [f"{case}-{form}" for case, (config, _) in CASES.items() for form in forms_of(config)]
    assert rejected == [(name, name) for name in expected]


def test_all_mistakes_are_told_at_once(envoy_binary: Path, tmp_path: Path) -> None:
    config = change(
        audiences=[
            {"cluster": "a", "audience": "a.run.app"},
            {"cluster": "b", "path": "b", "audience": "https://b.test"},
        ],
        header="cookie",
        timeout="5",
    )
    taken, log = validate_with(envoy_binary, config, tmp_path)
    assert not taken
    said = log.partition("invoker: configuration rejected: ")[2]
    for place in ["header: ", "audiences[0].audience: ", "audiences[1].path: ", "timeout: "]:
        assert place in said, said


def test_no_secret_in_a_bad_configuration_is_repeated(envoy_binary: Path, tmp_path: Path) -> None:
    secret = "-----BEGIN PRIVATE KEY-----MIIEvQIBADANBgkq"
    for number, config in enumerate(
        [
            credentials(type="service_account_key", private_key=secret),
            credentials(type="metadata", cluster="metadata", private_key=secret),
            change(credentials=secret),
            secret,
        ]
    ):
        taken, log = validate_with(envoy_binary, config, tmp_path / str(number))
        assert not taken
        assert "invoker: configuration rejected: " in log
        assert "BEGIN PRIVATE KEY" not in log


def test_envoy_does_not_start_with_a_bad_configuration(envoy_binary: Path, place: str, tmp_path: Path) -> None:
    taken, log = validate_with(envoy_binary, audience("profiles.run.app"), tmp_path, place)
    assert not taken, tail(log, 20)
    assert 'invoker: configuration rejected: audiences[0].audience: "profiles.run.app" has no scheme' in log
    taken, log = validate_with(envoy_binary, GOOD, tmp_path / "good", place)
    assert taken, tail(log, 20)


def validate_with(binary: Path, config: Json | str, folder: Path, place: str = LISTENER) -> tuple[bool, str]:
    ours = [plugin(config, "invoker")]
    clusters = [
        Cluster("metadata", None).build(),
        Cluster("profiles", None).build(ours if place == UPSTREAM else None),
    ]
    hosts = [virtual_host("profiles", hosts_of("profiles"), [route("profiles")])]
    a_listener = bootstrap.listener("outbound", hosts, ours if place == LISTENER else [], folder / "access.log")
    return validate(binary, bootstrap.bootstrap([a_listener], clusters), folder)
