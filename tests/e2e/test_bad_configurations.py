"""Every kind of bad configuration: Envoy rejects it, and the log says what to write instead.

One Envoy is offered all of them, one after the other, and serves with its good one all along.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from harness.bootstrap import Cluster
from harness.emulator import Emulator
from harness.envoy import validate
from harness.sidecar import LISTENER, UPSTREAM, Launch, Layout, Sidecar
from harness.upstream import Upstream

RULE = {"cluster": "profiles", "audience": "https://profiles.test"}


def rule(**fields: Any) -> dict[str, Any]:
    return {"audiences": [{"cluster": "profiles", **fields}]}


def credentials(**fields: Any) -> dict[str, Any]:
    return {"credentials": {"type": "metadata", "cluster": "metadata", **fields}}


# What is different from a good configuration, and what the log must say: the path, what was found,
# what is allowed or what to write. None takes a field out; `text` is the whole configuration.
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "empty": ({"text": ""}, ["configuration rejected"]),
    "no_json": ({"text": "credentials: {}"}, ["text that is not JSON", "an object"]),
    "a_list": ({"text": "[]"}, ["an object"]),
    "cut_off": ({"text": '{"credentials": {"type": "metadata"'}, ["configuration rejected", "line 1"]),
    "twice": (
        {"text": '{"timeout": "1s", "timeout": "2s", "credentials": {}}'},
        ["timeout", "duplicate"],
    ),
    "no_credentials": ({"credentials": None}, ["credentials", "missing", "type: metadata"]),
    "no_credentials_type": ({"credentials": {"cluster": "metadata"}}, ["credentials.type", "missing", "metadata"]),
    "unknown_credentials": (credentials(type="magic"), ["credentials.type", "magic", "metadata"]),
    "credentials_for_later": (credentials(type="service_account_key"), ["service_account_key", "not supported"]),
    "no_metadata_cluster": ({"credentials": {"type": "metadata"}}, ["credentials.cluster", "cluster"]),
    "empty_metadata_cluster": (credentials(cluster=""), ["credentials.cluster"]),
    "no_account": (credentials(service_account="login/../x"), ["credentials.service_account", "login/../x", "default"]),
    "unknown_credentials_field": (credentials(clsuter="metadata"), ["credentials.clsuter", "cluster"]),
    "unknown_field": ({"failure_mod": "deny"}, ["failure_mod", "failure_mode"]),
    "unknown_rule_field": (rule(audeince="https://x.test"), ["audiences[0].audeince", "audience"]),
    "no_rules": ({"audiences": None}, ["audiences", "audience_from_metadata"]),
    "empty_rules": ({"audiences": []}, ["audiences", "audience_from_metadata"]),
    "rules_as_object": ({"audiences": RULE}, ["audiences"]),
    "null_for_a_field": (rule(audience="https://x.test", authority=None), ["audiences[0].authority"]),
    "no_audience": (rule(), ["audiences[0]", "audience"]),
    "two_audiences": (rule(audience="https://x.test", custom_audience="x"), ["audiences[0]", "custom_audience"]),
    "audience_without_scheme": (
        rule(audience="profiles.run.app"),
        ["audiences[0].audience", "profiles.run.app", '"https://profiles.run.app"'],
    ),
    "audience_with_another_scheme": (rule(audience="ftp://x.test"), ["audiences[0].audience", "ftp://x.test"]),
    "audience_without_host": (rule(audience="https://"), ["audiences[0].audience"]),
    "audience_with_control_character": (rule(audience="https://x.test/\n"), ["audiences[0].audience"]),
    "audience_too_long": (rule(audience="https://x.test/" + "x" * 2048), ["audiences[0].audience", "2048|2,048"]),
    "empty_custom_audience": (rule(custom_audience=""), ["audiences[0].custom_audience"]),
    "scopes": (rule(scopes=["x"]), ["audiences[0].scopes", "not supported"]),
    "bypass_and_audience": (rule(bypass=True, audience="https://x.test"), ["audiences[0]", "bypass"]),
    "unknown_template": (rule(audience="https://x.test/{host}"), ["audiences[0].audience", "{host}", "{authority}"]),
    "open_brace": (rule(audience="https://x.test/{"), ["audiences[0].audience"]),
    "authority_template_without_pattern": (
        rule(audience="https://{authority}"),
        ["audiences[0]", "authority"],
    ),
    "authority_template_with_one_label": (
        rule(audience="https://{authority}", authority="*.app"),
        ["audiences[0]", "app", "two"],
    ),
    "authority_template_within_a_label": (
        rule(audience="https://{authority}", authority="*run.app"),
        ["audiences[0]", "two"],
    ),
    "path_segment_in_the_host": (rule(audience="https://{path_segment}.test"), ["audiences[0].audience", "path_segment"]),
    "authority_with_scheme": (
        rule(authority="https://x.test", audience="https://x.test"),
        ["audiences[0].authority", '"x.test"'],
    ),
    "authority_with_path": (
        rule(authority="x.test/resize", audience="https://x.test"),
        ["audiences[0].authority", "path: /resize"],
    ),
    "authority_with_bad_port": (rule(authority="x.test:0", audience="https://x.test"), ["audiences[0].authority", "port"]),
    "authority_that_is_no_host": (rule(authority="a_b.test", audience="https://x.test"), ["audiences[0].authority", "a_b.test"]),
    "path_without_slash": (rule(path="resize", audience="https://x.test"), ["audiences[0].path", "/resize"]),
    "empty_cluster": ({"audiences": [{**RULE, "cluster": ""}]}, ["audiences[0].cluster"]),
    "header_hop_by_hop": ({"header": "connection"}, ["header", "connection"]),
    "header_pseudo": ({"header": ":authority"}, ["header", ":authority"]),
    "header_host": ({"header": "host"}, ["header", "host"]),
    "header_content": ({"header": "content-length"}, ["header", "content-length"]),
    "header_cookie": ({"header": "cookie"}, ["header", "cookie"]),
    "header_of_envoy": ({"header": "x-envoy-original-url"}, ["header", "x-envoy-original-url"]),
    "header_that_is_none": ({"header": "my header"}, ["header", "my header"]),
    "no_header": ({"header": []}, ["header", "authorization"]),
    "header_twice": ({"header": ["authorization", "Authorization"]}, ["header", "twice"]),
    "alongside_elsewhere": (
        {"header": "proxy-authorization", "existing_credential": "alongside"},
        ["alongside", "authorization"],
    ),
    "unknown_existing": (
        {"existing_credential": "drop"},
        ["existing_credential", "drop", "replace", "keep", "forward", "alongside"],
    ),
    "unknown_failure_mode": ({"failure_mode": "open"}, ["failure_mode", "open", "deny", "allow"]),
    "unknown_error_details": ({"error_details": "none"}, ["error_details", "none", "body", "log"]),
    "timeout_as_number": ({"timeout": 5}, ["timeout", '"5s"']),
    "timeout_without_unit": ({"timeout": "5"}, ["timeout", '"5s"']),
    "timeout_too_short": ({"timeout": "1ms", "callout_timeout": None}, ["timeout", "1ms"]),
    "timeout_too_long": ({"timeout": "1h"}, ["timeout", "1h"]),
    "callout_longer_than_timeout": ({"timeout": "2s", "callout_timeout": "3s"}, ["callout_timeout", "timeout"]),
    "waiting_requests_negative": ({"max_waiting_requests": -1}, ["max_waiting_requests", "-1"]),
    "waiting_requests_half": ({"max_waiting_requests": 1.5}, ["max_waiting_requests", "1.5"]),
    "margin_too_long": ({"refresh_margin": "2h"}, ["refresh_margin", "2h"]),
    "prefetch_as_text": ({"prefetch": "yes"}, ["prefetch", "boolean"]),
    "allow_insecure": ({"allow_insecure": True}, ["allow_insecure", "Envoy|WASI"]),
    "several_at_once": (
        {"timeout": "5", "audiences": [{"cluster": "profiles", "audience": "x.test"}]},
        ["timeout", "audiences[0].audience"],
    ),
}


@pytest.fixture(scope="module")
def sidecar(launch_shared: Launch) -> Sidecar:
    sidecar = launch_shared(LISTENER, changeable=True, rules=[RULE])
    assert sidecar.request("profiles.test").status == 200
    return sidecar


@pytest.mark.parametrize(("change", "expected"), CASES.values(), ids=CASES.keys())
def test_is_rejected_with_a_message_for_a_person(
    sidecar: Sidecar, change: dict[str, Any], expected: list[str]
) -> None:
    before = len(sidecar.envoy.log())
    sidecar.layout.text = change["text"] if "text" in change else json.dumps(changed(change))
    assert not sidecar.update()
    sidecar.layout.text = None
    (said,) = set(re.findall(r"configuration rejected: (.*?)\n\[20", sidecar.envoy.log()[before:], re.DOTALL)) or {""}
    whole = f"configuration rejected: {said}"
    for words in expected:
        assert any(word in whole for word in words.split("|")), f"{words!r} is not in: {whole}"
    assert sidecar.request("profiles.test").claims["aud"] == "https://profiles.test"


def changed(change: dict[str, Any]) -> dict[str, Any]:
    """A good configuration with the change. None takes a field of the top level out."""
    good = {**credentials(), "audiences": [RULE], "timeout": "3s", "callout_timeout": "2s"}
    return {name: value for name, value in {**good, **change}.items() if value is not None}


@pytest.mark.parametrize("place", [UPSTREAM, LISTENER])
def test_envoy_does_not_start_with_a_bad_one(
    envoy_binary: Any, upstream: Upstream, emulator: Emulator, tmp_path: Any, place: str
) -> None:
    """In either place: it never degrades into a proxy without tokens."""
    layout = Layout(
        place, [Cluster("profiles", upstream.port)], emulator.port, rules=[{**RULE, "audience": "profiles.test"}]
    )
    is_taken, log = validate(envoy_binary, layout.bootstrap(tmp_path), tmp_path)
    assert not is_taken
    assert '"https://profiles.test"' in log
