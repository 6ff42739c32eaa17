"""Redirects, mirrors and retries: Envoy sends a request elsewhere, and our token must not go along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.bootstrap import Cluster, Json, route, virtual_host
from harness.client import Answer
from harness.emulator import Emulator
from harness.envoy import validate
from harness.names import Fresh
from harness.sidecar import LISTENER, UPSTREAM, Launch, Layout, Sidecar
from harness.tokens import bearer, claims
from harness.upstream import Upstream

# `profiles` and `search` have rules, `elsewhere` has none.
RULES = [
    {"cluster": "profiles", "audience": "https://profiles.test"},
    {"cluster": "search", "audience": "https://search.test"},
]
# As an upstream filter the plugin changes the headers that Envoy uses again for a redirect: there a
# cluster that is to get no token needs the plugin too, to take it out.
EXCEPTED = [*RULES, {"cluster": "elsewhere", "bypass": True}]
OWN = [("authorization", "Bearer of-the-caller")]
REDIRECT = {"max_internal_redirects": 2, "redirect_response_codes": [302], "allow_cross_scheme_redirect": True}


def clusters(upstream: Upstream) -> list[Cluster]:
    return [Cluster(name, upstream.port) for name in ("profiles", "search", "elsewhere")]


def audience_of(value: str | None) -> str | None:
    return None if value is None else str(claims(bearer(value))["aud"])


def hosts(profiles: dict[str, Any]) -> list[Json]:
    """`profiles.test`, whose route has something special, and the others, plain."""
    return [
        virtual_host("profiles", ["profiles.test"], [route("profiles", **profiles)]),
        virtual_host("search", ["search.test"], [route("search")]),
        virtual_host("elsewhere", ["elsewhere.test"], [route("elsewhere")]),
    ]


class TestInternalRedirect:
    """Envoy follows a redirect itself, with the headers of the first request."""

    @pytest.fixture
    def start(self, launch: Launch, place: str, upstream: Upstream) -> Any:
        def start(**settings: Any) -> Sidecar:
            return launch(
                place,
                clusters=clusters(upstream),
                rules=EXCEPTED if place == UPSTREAM else RULES,
                settings=settings,
                virtual_hosts=hosts({"internal_redirect_policy": REDIRECT}),
            )

        return start

    def redirected(self, sidecar: Sidecar, upstream: Upstream, fresh: Fresh, to: str, **request: Any) -> Answer:
        path = fresh.path("redirect")
        target = f"http://{to}.test{path}-target"
        upstream.behave(path, status=302, headers={"location": target})
        answer = sidecar.request("profiles.test", path, **request)
        assert audience_of(upstream.wait_for(path)[0].header("authorization")) == "https://profiles.test"
        assert answer.arrival.path == f"{path}-target"
        return answer

    def test_to_a_cluster_without_a_rule_goes_without_a_token(
        self, start: Any, upstream: Upstream, fresh: Fresh
    ) -> None:
        sidecar = start()
        for _ in range(2):
            arrival = self.redirected(sidecar, upstream, fresh, "elsewhere").arrival
            assert arrival.header("authorization") is None

    def test_to_another_cluster_goes_with_its_own_token(self, start: Any, upstream: Upstream, fresh: Fresh) -> None:
        sidecar = start()
        for _ in range(2):
            answer = self.redirected(sidecar, upstream, fresh, "search")
            assert answer.claims["aud"] == "https://search.test"

    def test_to_a_cluster_that_has_no_plugin_in_the_upstream_form_is_refused_by_invoker_check(
        self, upstream: Upstream, emulator: Emulator, tmp_path: Path
    ) -> None:
        routes = hosts({"internal_redirect_policy": REDIRECT})
        for rules, is_refused in ((RULES, True), (EXCEPTED, False)):
            layout = Layout(UPSTREAM, clusters(upstream), emulator.port, rules=rules, virtual_hosts=routes)
            verdict = layout.check(tmp_path)
            said = verdict.stdout + verdict.stderr
            assert ("internal_redirect_policy" in said) == is_refused, said
            assert verdict.returncode == 1 or not is_refused

    @pytest.mark.parametrize("existing", ["keep", "forward", "alongside"])
    def test_is_no_way_to_pass_our_token_off_as_the_caller_s(
        self, start: Any, upstream: Upstream, fresh: Fresh, existing: str
    ) -> None:
        sidecar = start(existing_credential=existing)
        for target in ("elsewhere", "search"):
            arrival = self.redirected(sidecar, upstream, fresh, target).arrival
            for name in ("authorization", "x-forwarded-authorization", "x-serverless-authorization"):
                value = arrival.header(name)
                assert audience_of(value) != "https://profiles.test", name


class TestMirror:
    """Envoy sends a copy of the request to another cluster."""

    def layout(self, mirror_to: str) -> list[Json]:
        return hosts({"request_mirror_policies": [{"cluster": mirror_to}]})

    @pytest.mark.parametrize(("mirror", "audience"), [("elsewhere", None), ("search", "https://search.test")])
    def test_the_copy_gets_what_its_own_cluster_says(
        self, launch: Launch, upstream: Upstream, fresh: Fresh, mirror: str, audience: str | None
    ) -> None:
        sidecar = launch(
            UPSTREAM, clusters=clusters(upstream), rules=RULES, virtual_hosts=self.layout(mirror)
        )
        for _ in range(3):
            path = fresh.path("mirror")
            assert sidecar.request("profiles.test", path).claims["aud"] == "https://profiles.test"
            copies = [
                arrival for arrival in upstream.wait_for(path, 2) if "-shadow" in (arrival.header("host") or "")
            ]
            assert [audience_of(copy.header("authorization")) for copy in copies] == [audience]

    def test_in_the_listener_form_invoker_check_refuses_it(
        self, upstream: Upstream, emulator: Emulator, tmp_path: Path
    ) -> None:
        """There the filter comes before the copy is made: nothing in Envoy could take the token out."""
        layout = Layout(
            LISTENER, clusters(upstream), emulator.port, rules=RULES, virtual_hosts=self.layout("elsewhere")
        )
        verdict = layout.check(tmp_path)
        assert verdict.returncode == 1
        assert "request_mirror_policies" in verdict.stdout + verdict.stderr


class TestRetry:
    """Envoy tries again, and the second attempt can go to another cluster."""

    def test_to_the_same_cluster_has_one_token(
        self, launch: Launch, place: str, upstream: Upstream, fresh: Fresh
    ) -> None:
        policy = {"retry_on": "5xx", "num_retries": 2}
        sidecar = launch(
            place, clusters=clusters(upstream), rules=RULES, virtual_hosts=hosts({"retry_policy": policy})
        )
        for request in ([], OWN):
            path = fresh.path("retry")
            upstream.behave(path, status=503, times=2)
            assert sidecar.request("profiles.test", path, headers=request).claims["aud"] == "https://profiles.test"
            assert {audience_of(a.header("authorization")) for a in upstream.wait_for(path, 3)} == {
                "https://profiles.test"
            }

    @pytest.mark.parametrize("existing", ["keep", "forward", "alongside"])
    def test_does_not_take_our_token_for_the_caller_s(
        self, launch: Launch, upstream: Upstream, fresh: Fresh, existing: str
    ) -> None:
        """An upstream filter runs again for each attempt, on headers that it has changed already."""
        sidecar = launch(
            UPSTREAM,
            clusters=clusters(upstream),
            rules=RULES,
            settings={"existing_credential": existing},
            virtual_hosts=hosts({"retry_policy": {"retry_on": "5xx", "num_retries": 2}}),
        )
        for request in ([], OWN):
            path = fresh.path("retry")
            upstream.behave(path, status=503, times=2)
            assert sidecar.request("profiles.test", path, headers=request).status == 200
            first, *others = [
                [(name, value) for name, value in arrival.headers if "authorization" in name]
                for arrival in upstream.wait_for(path, 3)
            ]
            assert first and all(sorted(other) == sorted(first) for other in others)

    def weighted(self, other: str) -> list[Json]:
        """Half of the requests go to `profiles`, and a second attempt can go to the other cluster."""
        both = [{"name": name, "weight": 1} for name in ("profiles", other)]
        policy = {"retry_on": "5xx", "num_retries": 1, "refresh_cluster_on_retry": True}
        weighted = {"weighted_clusters": {"clusters": both}, "retry_policy": policy}
        return [virtual_host("both", ["profiles.test"], [{"match": {"prefix": "/"}, "route": weighted}])]

    def test_to_another_cluster_has_that_cluster_s_token(
        self,
        launch: Launch,
        envoy_binary: Path,
        envoy_version: tuple[int, ...],
        upstream: Upstream,
        fresh: Fresh,
        tmp_path: Path,
    ) -> None:
        layout = {"clusters": clusters(upstream), "rules": RULES, "virtual_hosts": self.weighted("search")}
        if envoy_version < (1, 39):
            # This Envoy has no such retries: it does not know the option.
            is_taken, log = validate(envoy_binary, Layout(UPSTREAM, metadata_port=1, **layout).bootstrap(tmp_path), tmp_path)
            assert not is_taken and "refresh_cluster_on_retry" in log
            return
        sidecar = launch(UPSTREAM, **layout)
        ways = set()
        for _ in range(40):
            path = fresh.path("moved")
            upstream.behave(path, status=503, times=1)
            answer = sidecar.request("profiles.test", path)
            assert answer.status == 200
            first, second = (audience_of(a.header("authorization")) for a in upstream.wait_for(path, 2))
            assert second == f"https://{sidecar.logged(answer)['cluster']}.test"
            ways.add((first, second))
        assert ways == {("https://search.test", "https://profiles.test"), ("https://profiles.test", "https://search.test")}

    @pytest.mark.parametrize("rules", [RULES, EXCEPTED])
    def test_to_a_cluster_without_a_token_is_refused_by_invoker_check(
        self, upstream: Upstream, emulator: Emulator, tmp_path: Path, rules: list[Json]
    ) -> None:
        """Nothing tells the second attempt from the first: no plugin can know whose token it finds."""
        layout = Layout(
            UPSTREAM, clusters(upstream), emulator.port, rules=rules, virtual_hosts=self.weighted("elsewhere")
        )
        verdict = layout.check(tmp_path)
        assert verdict.returncode == 1
        assert "refresh_cluster_on_retry" in verdict.stdout + verdict.stderr


def test_a_route_that_matches_on_our_header_is_refused_by_invoker_check(
    upstream: Upstream, emulator: Emulator, tmp_path: Path
) -> None:
    """In the listener form the route is picked anew after our header is there."""
    matching = route("elsewhere")
    matching["match"]["headers"] = [{"name": "authorization", "present_match": True}]
    virtual_hosts = [virtual_host("both", ["profiles.test"], [matching, route("profiles")])]
    layout = Layout(LISTENER, clusters(upstream), emulator.port, rules=RULES, virtual_hosts=virtual_hosts)
    verdict = layout.check(tmp_path)
    assert verdict.returncode == 1
    assert "authorization" in verdict.stdout + verdict.stderr
