"""The verdict on runs that are made up: a good one, and for each promise some that break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from harness.emulator import Call

from soak.load import Outcome
from soak.memory import Sample
from soak.run import RATE, Run
from soak.trouble import Illness
from soak.verdict import judge

SECONDS = 200
HOST = "literal-0.test"
AUDIENCE = f"https://{HOST}"
DENIAL = "invoker: the metadata server answered 500"
# When the metadata server is ill, and when a token has just arrived.
ILL = Illness("500", 60, 135)
FETCHED = [0.0, 30.0, 136.0, 166.0]


def call(at: float, status: int = 200) -> Call:
    return Call(at, "GET", "/", "", AUDIENCE, status, {})


def served(at: float) -> Outcome:
    return Outcome(HOST, at, at + 0.01, 200)


def denied(at: float) -> Outcome:
    return Outcome(HOST, at, at + 0.01, 503, DENIAL)


def good() -> Run:
    outcomes = [served(count / RATE) for count in range(SECONDS * RATE)]
    return Run(
        begun=0,
        ended=SECONDS,
        envoy="1.40.0",
        outcomes=[*outcomes, denied(120)],
        arrived=len(outcomes),
        wrong={},
        calls=[*map(call, FETCHED), call(100, 500)],
        illnesses=[ILL],
        cuts=[],
        updates=0,
        samples=[Sample(float(at), 100 << 20, 50 << 20, [1 << 20, 2 << 20]) for at in range(0, SECONDS, 2)],
    )


def more(run: Run, *outcomes: Outcome) -> Run:
    return replace(run, outcomes=[*run.outcomes, *outcomes])


def grown(run: Run, resident: int, linear: int) -> Run:
    """Since shortly before its end."""
    *before, last = run.samples
    grown = replace(last, resident=last.resident + resident, linear=[*last.linear[:-1], last.linear[-1] + linear])
    return replace(run, samples=[*before, grown])


BREAKS: dict[str, list[Callable[[Run], Run]]] = {
    "the load was there": [lambda run: replace(run, outcomes=run.outcomes[::2])],
    "every request is answered, by its service or by Invoker": [
        lambda run: more(run, Outcome(HOST, 120, 140, 0, "no answer")),
        lambda run: more(run, Outcome(HOST, 120, 120, 503, "upstream connect error")),
        lambda run: more(run, Outcome(HOST, 120, 120, 401)),
    ],
    "nobody is refused while there is a token that is usable": [lambda run: more(run, denied(70))],
    "nobody is refused once the metadata server is well again": [
        # The tokens' being there is a promise of its own.
        lambda run: more(replace(run, illnesses=[replace(ILL, begun=1, ended=2)], calls=[call(1), call(28)]), denied(100)),
    ],
    "each request arrives with one live token for its own audience": [
        lambda run: replace(run, wrong={"no token": 1}),
        lambda run: replace(run, arrived=10),
    ],
    "one fetch for an audience and half of a token's usable life": [
        lambda run: replace(run, calls=[*run.calls, call(150)]),
    ],
    "an ill server is not hammered": [
        lambda run: replace(run, calls=[*run.calls, *(call(100 + count / 10, 500) for count in range(60))]),
        lambda run: replace(run, calls=[]),
    ],
    "Envoy's resident memory stays flat": [lambda run: grown(run, 12 << 20, 0)],
    "the virtual machines' largest memory stays flat": [
        lambda run: grown(run, 0, 8 * 64 << 10),
        lambda run: replace(run, samples=[replace(it, linear=[]) for it in run.samples]),
    ],
}


def test_a_good_run_keeps_every_promise() -> None:
    assert [check for check in judge(good()) if not check.is_kept] == []


def test_each_promise_has_a_run_that_breaks_it() -> None:
    assert [check.promise for check in judge(good())] == list(BREAKS)


@pytest.mark.parametrize(("promise", "break_it"), [(promise, way) for promise, ways in BREAKS.items() for way in ways])
def test_a_run_that_breaks_a_promise_is_found_out(promise: str, break_it: Callable[[Run], Run]) -> None:
    assert promise in [check.promise for check in judge(break_it(good())) if not check.is_kept]


def test_a_client_that_leaves_and_a_call_that_was_cut_break_nothing() -> None:
    run = more(good(), Outcome(HOST, 10, 11, None))
    run = replace(run, calls=[*run.calls, call(150)], cuts=[150.1])
    assert [check for check in judge(run) if not check.is_kept] == []
