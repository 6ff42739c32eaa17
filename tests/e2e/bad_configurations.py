"""Every kind of mistake in a configuration, and what a person is told about it.

Each is the good configuration with one thing changed, or a text that is none. Beside it stands what the
module says behind `invoker: configuration rejected: `, as a regular expression.
"""

from __future__ import annotations

import json
from typing import Any

from harness.bootstrap import Json

GOOD: Json = {
    "credentials": {"type": "metadata", "cluster": "metadata"},
    "audiences": [{"cluster": "profiles", "audience": "https://profiles.run.app"}],
}


def change(**fields: Any) -> Json:
    """The good configuration with other fields; None takes one out."""
    return {name: value for name, value in {**GOOD, **fields}.items() if value is not None}


def credentials(**fields: Any) -> Json:
    return change(credentials=fields)


def rule(**fields: Any) -> Json:
    return change(audiences=[fields])


def audience(text: str, **fields: Any) -> Json:
    return rule(cluster="profiles", audience=text, **fields)


CASES: dict[str, tuple[Json | str, str]] = {
    # Not an object at all.
    "empty": ("", "found nothing, expected an object"),
    "blank": (" \n", "found nothing, expected an object"),
    "yaml": ("credentials:\n  type: metadata\n", "found text that is not JSON, expected an object"),
    "cut_off": (json.dumps(GOOD)[:-1], "this is not JSON: EOF .* at line 1 column"),
    "trailing_comma": ('{"timeout": "5s",}', "this is not JSON: trailing comma at line 1"),
    "two_objects": (json.dumps(GOOD) * 2, "this is not JSON: trailing characters"),
    "list": ("[]", "found a list, expected an object with `credentials` and `audiences`"),
    "string": ('"profiles"', "found a string, expected an object"),
    "field_twice": ('{"timeout": "5s", "timeout": "6s"}', "duplicate field `timeout`"),
    # An empty Struct arrives as no bytes at all.
    "nothing_in_it": ({}, "credentials: is missing; write|found nothing, expected an object"),
    # Fields that nobody knows, and fields of another type.
    "unknown_field": (change(audience=[]), "audience: unknown field `audience`, expected one of `credentials`"),
    "unknown_field_in_credentials": (
        credentials(type="metadata", cluster="metadata", account="x"),
        r"credentials\.account: unknown field `account`, expected one of `type`",
    ),
    "unknown_field_in_a_rule": (
        rule(clusters="profiles", audience="https://a.run.app"),
        r"audiences\[0\]\.clusters: unknown field `clusters`, expected one of `cluster`",
    ),
    "audiences_as_an_object": (
        change(audiences={"cluster": "profiles"}),
        "audiences: found an object, expected a list",
    ),
    "rule_as_a_string": (
        change(audiences=["https://profiles.run.app"]),
        r"audiences\[0\]: found string .*, expected a rule, such as",
    ),
    "rule_with_null": (
        rule(authority=None, audience="https://a.run.app"),
        r"audiences\[0\]\.authority: found null, expected a string",
    ),
    "bypass_as_a_string": (
        rule(cluster="a", bypass="yes"),
        r"audiences\[0\]\.bypass: found string \"yes\", expected a boolean",
    ),
    "timeout_as_a_number": (change(timeout=5), 'timeout: found .*, expected a duration with its unit, such as "5s"'),
    "prefetch_as_a_string": (change(prefetch="yes"), 'prefetch: found string "yes", expected a boolean'),
    "max_waiting_requests_as_a_string": (
        change(max_waiting_requests="many"),
        'max_waiting_requests: found string "many", expected a number',
    ),
    "header_as_a_number": (change(header=1), "header: found .*, expected a header's name or a list of names"),
    "unknown_failure_mode": (
        change(failure_mode="open"),
        "failure_mode: unknown value `open`, expected `deny` or `allow`",
    ),
    "unknown_error_details": (
        change(error_details="none"),
        "error_details: unknown value `none`, expected `body` or `log`",
    ),
    "unknown_existing_credential": (
        change(existing_credential="preserve"),
        "existing_credential: unknown value `preserve`, expected one of `replace`",
    ),
    # Credentials.
    "no_credentials": (change(credentials=None), "credentials: is missing; write where tokens come from"),
    "credentials_as_a_string": (change(credentials="metadata"), "credentials: found a string, expected an object"),
    "credentials_without_a_type": (
        credentials(cluster="metadata"),
        r"credentials\.type: is missing; write one of \"metadata\", \"service_account_key\", ",
    ),
    "unknown_credentials": (
        credentials(type="gce"),
        r"credentials\.type: unknown value \"gce\", expected one of \"metadata\", ",
    ),
    "service_account_key": (
        credentials(type="service_account_key"),
        r"credentials\.key: is missing; write {env: NAME}",
    ),
    "impersonation": (
        credentials(type="impersonation"),
        r"credentials\.service_account: is missing; write the email",
    ),
    "federation": (
        credentials(type="federation"),
        r"credentials\.config: is missing; write {env: NAME}",
    ),
    "key_file": (credentials(type="service_account"), r"credentials\.type: .* is what a key file says"),
    "no_metadata_cluster": (
        credentials(type="metadata"),
        r"credentials\.cluster: is missing; write the name of the Envoy cluster that leads to the metadata server",
    ),
    "empty_metadata_cluster": (
        credentials(type="metadata", cluster=""),
        r"credentials\.cluster: \"\" is no cluster's name",
    ),
    "service_account_that_is_no_email": (
        credentials(type="metadata", cluster="metadata", service_account="a@b/../c"),
        r"credentials\.service_account: .* is no service account; write \"default\" or its email",
    ),
    # Nothing to do, or not for Envoy, or not yet.
    "no_rule": (
        change(audiences=None),
        "audiences: holds no rule, so there is nothing to do; .* or set audience_from_metadata",
    ),
    "empty_rules": (change(audiences=[], audience_from_metadata=False), "audiences: holds no rule"),
    "allow_insecure": (change(allow_insecure=True), "allow_insecure: is for WASI and JavaScript"),
    "scopes": (
        rule(cluster="profiles", scopes=["a b"]),
        r"audiences\[0\]\.scopes: \"a b\" is no scope",
    ),
    # Rules.
    "rule_that_says_nothing": (rule(cluster="profiles"), r"audiences\[0\]: says nothing; write `audience`"),
    "rule_that_says_two_things": (
        audience("https://a.run.app", bypass=True),
        r"audiences\[0\]: has `audience` and `bypass`, which exclude each other",
    ),
    "second_rule": (
        change(audiences=[*GOOD["audiences"], {"cluster": "search", "audience": "search.run.app"}]),
        r"audiences\[1\]\.audience: \"search\.run\.app\" has no scheme; write \"https://search\.run\.app\"",
    ),
    "no_scheme": (
        audience("profiles.run.app"),
        r"audiences\[0\]\.audience: \"profiles\.run\.app\" has no scheme; write \"https://profiles\.run\.app\"",
    ),
    "wrong_scheme": (audience("ftp://profiles.run.app"), r"audiences\[0\]\.audience: .*ftp://"),
    "no_host": (audience("https://"), r"audiences\[0\]\.audience: \"https://\" has no host"),
    "neither_url_nor_client_id": (audience("profiles"), r"audiences\[0\]\.audience: .* or call it `custom_audience`"),
    "control_character": (audience("https://a.b\nx"), r"audiences\[0\]\.audience: .*control character"),
    "too_long": (audience("https://a.b/" + "x" * 2048), r"audiences\[0\]\.audience: has 2060 bytes; .* at most 2048"),
    "unknown_placeholder": (
        audience("https://{host}", authority="*.run.app"),
        r"audiences\[0\]\.audience: .* templates know \{authority\} and \{path_segment\}",
    ),
    "bracket_without_its_other_half": (
        audience("https://a.b/{authority"),
        r"audiences\[0\]\.audience: .* curly bracket without",
    ),
    "template_without_authority": (
        audience("https://{authority}"),
        r"audiences\[0\]\.audience: .* else a client could choose any audience",
    ),
    "template_without_a_literal_suffix": (
        audience("https://{authority}", authority="*"),
        r"audiences\[0\]\.audience: .* at least two literal labels, such as \"\*\.a\.run\.app\"",
    ),
    "template_with_a_suffix_of_one_label": (
        audience("https://{authority}", authority="*.app"),
        r"audiences\[0\]\.audience: .* at least two literal labels",
    ),
    "path_segment_behind_a_chosen_host": (
        audience("https://{authority}/{path_segment}", authority="*.run.app"),
        r"audiences\[0\]\.audience: .*\{path_segment\} elsewhere than behind a literal host",
    ),
    "authority_with_a_scheme": (
        audience("https://a.b", authority="https://a.b"),
        r"audiences\[0\]\.authority: .* is a URL; write only its host",
    ),
    "authority_with_a_path": (
        audience("https://a.b", authority="a.b/c"),
        r"audiences\[0\]\.authority: .* has a path in it",
    ),
    "authority_that_is_no_host": (
        audience("https://a.b", authority="a_b"),
        r"audiences\[0\]\.authority: \"a_b\" is no host",
    ),
    "authority_with_a_wrong_port": (
        audience("https://a.b", authority="a.b:x"),
        r"audiences\[0\]\.authority: .* has the port \"x\"",
    ),
    "path_without_a_slash": (
        audience("https://a.b", path="x"),
        r"audiences\[0\]\.path: \"x\" has no slash in front; write \"/x\"",
    ),
    "path_with_a_star": (audience("https://a.b", path="/a/*"), r"audiences\[0\]\.path: .* has a star in it"),
    "path_with_a_query": (audience("https://a.b", path="/a?b"), r"audiences\[0\]\.path: "),
    "empty_cluster": (rule(cluster="", audience="https://a.b"), r"audiences\[0\]\.cluster: is empty"),
    # Headers.
    **{
        f"header_{name.strip(':').replace('-', '_')}": (
            change(header=name),
            f'header: "{name}" is not allowed, since .*; write "authorization"',
        )
        for name in [
            ":authority",
            "host",
            "cookie",
            "connection",
            "transfer-encoding",
            "te",
            "upgrade",
            "content-type",
            "content-length",
            "x-envoy-retry-on",
        ]
    },
    "header_of_a_rule": (audience("https://a.b", header="host"), r"audiences\[0\]\.header: \"host\" is not allowed"),
    "header_with_a_space": (change(header="a b"), 'header: "a b" is not a header\'s name'),
    "no_header": (change(header=[]), "header: names no header"),
    "header_twice": (change(header=["authorization", "Authorization"]), 'header: names "authorization" twice'),
    "alongside_with_another_header": (
        change(header="x-auth", existing_credential="alongside"),
        'header: .*alongside" works only with "header: authorization"',
    ),
    # Times and counts.
    "timeout_without_a_unit": (change(timeout="5"), 'timeout: "5" is no duration; write a number and a unit'),
    "timeout_too_short": (change(timeout="1ms"), 'timeout: "1ms" is out of range; write 100ms to 5m'),
    "timeout_too_long": (change(timeout="1h"), 'timeout: "1h" is out of range'),
    "callout_timeout_beyond_the_timeout": (
        change(timeout="5s", callout_timeout="6s"),
        r"callout_timeout: 6s is longer than timeout \(5s\)",
    ),
    "refresh_margin_too_long": (change(refresh_margin="2h"), 'refresh_margin: "2h" is out of range'),
    "nobody_may_wait": (
        change(max_waiting_requests=0),
        "max_waiting_requests: 0 is out of range; write a whole number from 1",
    ),
    "half_a_request": (change(max_waiting_requests=1.5), "max_waiting_requests: 1.5 is out of range"),
}
