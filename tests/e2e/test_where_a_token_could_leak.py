"""Redirects, mirrors and retries: Envoy sends a request elsewhere, and our token must not go along."""

from __future__ import annotations

import threading
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
from harness.upstream import Arrival, Upstream
from harness.waiting import eventually

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


def ours_among(arrival: Arrival) -> set[str | None]:
    """The audiences of our tokens, in whatever header they arrived."""
    values = (value for name, value in arrival.headers if "authorization" in name)
    return {audience_of(value) for value in values if "eyJ" in value}


def hosts(profiles: dict[str, Any]) -> list[Json]:
    """`profiles.test`, whose route has something special, and the others, plain."""
    return [
        virtual_host("profiles", ["profiles.test"], [route("profiles", **profiles)]),
        virtual_host("search", ["search.test"], [route("search")]),
        virtual_host("elsewhere", ["elsewhere.test"], [route("elsewhere")]),
    ]


# A cluster that is to get no token, and says so: in the upstream form only a plugin that is there can
# take out what another one has put in.
EXCEPTED = [*RULES, {"cluster": "elsewhere", "bypass": True}]

REDIRECTS = {
    "internal_redirect_policy": {
        "max_internal_redirects": 2,
        "redirect_response_codes": [302],
        "allow_cross_scheme_redirect": True,
    }
}


class TestInternalRedirect:
    """Envoy follows a redirect itself, with the headers of the first request."""

    @pytest.fixture
    def start(self, launch: Launch, place: str, upstream: Upstream) -> Any:
        def start(rules: list[Json] = EXCEPTED, **settings: Any) -> Sidecar:
            return launch(
                place, clusters=clusters(upstream), rules=rules, settings=settings, virtual_hosts=hosts(REDIRECTS)
            )

        return start

    def redirected(self, sidecar: Sidecar, upstream: Upstream, fresh: Fresh, to: str, **request: Any) -> Answer:
        path = fresh.path("redirect")
        upstream.behave(path, status=302, headers={"location": f"http://{to}.test{path}-target"})
        answer = sidecar.request("profiles.test", path, **request)
        assert ours_among(upstream.wait_for(path)[0]) == {"https://profiles.test"}
        assert answer.arrival.path == f"{path}-target"
        return answer

    def test_to_a_cluster_that_is_to_get_no_token_goes_without_one(
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

    @pytest.mark.parametrize("own", [[], OWN], ids=["without_own", "with_own"])
    @pytest.mark.parametrize("existing", ["replace", "forward", "alongside"])
    def test_is_no_way_to_pass_our_token_off_as_the_caller_s(
        self, start: Any, upstream: Upstream, fresh: Fresh, existing: str, own: list[tuple[str, str]]
    ) -> None:
        sidecar = start(existing_credential=existing)
        for target, ours in (("elsewhere", set()), ("search", {"https://search.test"})):
            arrival = self.redirected(sidecar, upstream, fresh, target, headers=own).arrival
            assert ours_among(arrival) == ours

    def test_under_keep_goes_with_the_token_of_its_own_cluster(
        self, start: Any, upstream: Upstream, fresh: Fresh
    ) -> None:
        sidecar = start(existing_credential="keep")
        for target, ours in (("elsewhere", set()), ("search", {"https://search.test"})):
            assert ours_among(self.redirected(sidecar, upstream, fresh, target).arrival) == ours

    def test_in_the_listener_form_a_cluster_without_a_rule_gets_none_either(
        self, launch: Launch, upstream: Upstream, fresh: Fresh
    ) -> None:
        sidecar = launch(LISTENER, clusters=clusters(upstream), rules=RULES, virtual_hosts=hosts(REDIRECTS))
        assert ours_among(self.redirected(sidecar, upstream, fresh, "elsewhere").arrival) == set()

    def test_in_the_upstream_form_a_cluster_without_the_plugin_gets_the_first_token_which_invoker_check_refuses(
        self, launch: Launch, emulator: Emulator, upstream: Upstream, fresh: Fresh, tmp_path: Path
    ) -> None:
        """Envoy's doing, where no plugin is: what stands here is why the check is there."""
        layout = {"clusters": clusters(upstream), "rules": RULES, "virtual_hosts": hosts(REDIRECTS)}
        sidecar = launch(UPSTREAM, **layout)
        assert ours_among(self.redirected(sidecar, upstream, fresh, "elsewhere").arrival) == {"https://profiles.test"}
        verdict = Layout(UPSTREAM, metadata_port=emulator.port, **layout).check(tmp_path)
        said = verdict.stdout + verdict.stderr
        assert verdict.returncode == 1, said
        assert "internal_redirect_policy" in said and "elsewhere" in said


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

    @pytest.mark.parametrize("existing", ["forward", "alongside"])
    def test_does_not_take_our_old_token_for_the_caller_s_after_a_refresh(
        self, launch: Launch, emulator: Emulator, upstream: Upstream, fresh: Fresh, existing: str
    ) -> None:
        audience = fresh.audience("refreshed")
        with emulator.fault(audience=audience, token={"lifetime": "42s"}):
            sidecar = launch(
                UPSTREAM,
                rules=[{"cluster": "profiles", "audience": audience}],
                settings={"existing_credential": existing},
                virtual_hosts=[
                    virtual_host(
                        "profiles",
                        ["profiles.test"],
                        [route("profiles", retry_policy={"retry_on": "5xx", "num_retries": 1})],
                    )
                ],
            )
            pending = []
            answer_now = threading.Event()
            for own in ([], OWN):
                path = fresh.path("between")
                upstream.behave(path, status=503, times=1, hold=answer_now)
                pending.append((path, own, sidecar.start_request("profiles.test", path, headers=own)))
                upstream.wait_for(path)
            # The first attempts are under way while the token is replaced.
            eventually(lambda: sidecar.envoy.metric("fetches.succeeded") >= 2, "a refresh", within=30)
            answer_now.set()
            for path, own, answer in pending:
                assert answer.result().status == 200
                _, second = upstream.wait_for(path, 2)
                # One token of ours, and the caller's own where it belongs, if there is one.
                values = [value for name, value in second.headers if "authorization" in name]
                assert len([value for value in values if "eyJ" in value]) == 1
                assert [value for value in values if "eyJ" not in value] == [value for _, value in own]

    def weighted(self, first: str, second: str) -> list[Json]:
        """Both are picked as often, and the second attempt goes to the other one."""
        both = [{"name": first, "weight": 1}, {"name": second, "weight": 1}]
        moving = {
            "match": {"prefix": "/"},
            "route": {
                "weighted_clusters": {"clusters": both},
                "retry_policy": {"retry_on": "5xx", "num_retries": 1, "refresh_cluster_on_retry": True},
            },
        }
        return [virtual_host("both", ["profiles.test"], [moving])]

    @pytest.fixture
    def attempts(
        self,
        launch: Launch,
        envoy_binary: Path,
        envoy_version: tuple[int, ...],
        upstream: Upstream,
        fresh: Fresh,
        tmp_path: Path,
    ) -> Any:
        def attempts(place: str, second: str) -> set[tuple[str | None, str | None]] | None:
            """The audiences of both attempts, in all the ways that came. None: this Envoy has no such retries."""
            layout = {
                "clusters": clusters(upstream),
                "rules": RULES,
                "virtual_hosts": self.weighted("profiles", second),
            }
            if envoy_version < (1, 39):
                bootstrap = Layout(place, metadata_port=None, **layout).bootstrap(tmp_path)
                is_taken, log = validate(envoy_binary, bootstrap, tmp_path)
                assert not is_taken and "refresh_cluster_on_retry" in log
                return None
            sidecar = launch(place, **layout)
            seen = set()
            for _ in range(40):
                path = fresh.path("moved")
                upstream.behave(path, status=503, times=1)
                assert sidecar.request("profiles.test", path).status == 200
                first, other = (audience_of(a.header("authorization")) for a in upstream.wait_for(path, 2))
                seen.add((first, other))
            return seen

        return attempts

    def test_to_another_cluster_has_the_token_of_that_one(self, attempts: Any) -> None:
        profiles, search = "https://profiles.test", "https://search.test"
        assert attempts(UPSTREAM, "search") in (None, {(profiles, search), (search, profiles)})

    def test_to_a_cluster_without_the_plugin_carries_the_first_token_which_invoker_check_refuses(
        self, attempts: Any, emulator: Emulator, upstream: Upstream, tmp_path: Path
    ) -> None:
        profiles = "https://profiles.test"
        assert attempts(UPSTREAM, "elsewhere") in (None, {(profiles, profiles), (None, profiles)})
        layout = Layout(
            UPSTREAM,
            clusters(upstream),
            emulator.port,
            rules=RULES,
            virtual_hosts=self.weighted("profiles", "elsewhere"),
        )
        verdict = layout.check(tmp_path)
        said = verdict.stdout + verdict.stderr
        assert verdict.returncode == 1, said
        assert "refresh_cluster_on_retry" in said and "elsewhere" in said

    def test_in_the_listener_form_carries_the_first_cluster_s_token_which_invoker_check_mentions(
        self, attempts: Any, emulator: Emulator, upstream: Upstream, tmp_path: Path
    ) -> None:
        """There the filter runs once, for the cluster that was picked first."""
        profiles = "https://profiles.test"
        assert attempts(LISTENER, "elsewhere") in (None, {(profiles, profiles), (None, None)})
        layout = Layout(
            LISTENER,
            clusters(upstream),
            emulator.port,
            rules=RULES,
            virtual_hosts=self.weighted("profiles", "elsewhere"),
        )
        verdict = layout.check(tmp_path)
        assert "retr" in verdict.stdout + verdict.stderr


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
