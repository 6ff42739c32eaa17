"""What the promises say about a run."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from harness.emulator import Call

from .load import Outcome
from .run import LIFETIME_SECONDS, RATE, Run

# A token is not attached in its last 30 s; a second for clocks that count in whole ones, and one for the way.
USABLE_SECONDS = LIFETIME_SECONDS - 30 - 2
# A refresh is due at half of the 60 s that a token is usable, brought forward by a tenth of the other half; less a second, as above.
SOONEST_REFRESH = 26.0
# The longest pause that the end of an illness may be noticed late by, and the wait after it.
LONGEST_PAUSE = 36.0
# With somebody waiting, pauses are 100 ms to 1 s; as many calls as this for one audience in ten seconds are a loop.
MOST_IN_TEN_SECONDS = 45
# Between a call's arrival at the metadata server and its token's in all virtual machines, beside a delay that was asked for.
DELIVERY_SECONDS = 1.0
SLOW_SECONDS = 2.0
# What the second half of a run may take more than the first: what allocators keep of the requests that waited at once, not what leaks.
MEMORY_GROWTH = 0.10
# The same for what grows by whole pages: four of WebAssembly's, of 64 KiB.
MEMORY_STEP = 4 * 64 * 1024


@dataclass(frozen=True)
class Check:
    promise: str
    found: str
    is_kept: bool


def judge(run: Run) -> list[Check]:
    fetched = by_audience(call for call in run.calls if brought_a_token(call, run))
    answered = [outcome for outcome in run.outcomes if outcome.status is not None]
    statuses = Counter(outcome.status for outcome in answered)
    denied = [outcome for outcome in answered if is_denial(outcome)]
    lost = [outcome for outcome in answered if outcome.status != 200 and not is_denial(outcome)]
    with_token = [outcome for outcome in denied if had_token(outcome, fetched[f"https://{outcome.host}"])]
    while_well = [outcome for outcome in denied if not was_ill(outcome, run)]
    gaps = [later - sooner for times in fetched.values() for sooner, later in zip(times, times[1:], strict=False)]
    busiest = max(map(most_in_ten_seconds, by_audience(run.calls).values()), default=0)
    expected = RATE * (run.ended - run.begun) * 0.9
    return [
        Check(
            "the load was there",
            f"{len(run.outcomes):,} requests; {statuses[200]:,} served, {len(denied):,} denied, "
            f"{len(run.outcomes) - len(answered):,} clients left",
            len(run.outcomes) >= expected and statuses[200] > len(run.outcomes) / 2,
        ),
        Check("every request is answered, by its service or by Invoker", examples(lost), not lost),
        Check("nobody is refused while there is a token that is usable", examples(with_token), not with_token),
        Check("nobody is refused once the metadata server is well again", examples(while_well), not while_well),
        Check(
            "each request arrives with one live token for its own audience",
            f"{run.arrived:,} arrived; {run.wrong or 'all of them did'}",
            not run.wrong and run.arrived >= statuses[200],
        ),
        Check(
            "one fetch for an audience and half of a token's usable life",
            f"{sum(map(len, fetched.values())):,} tokens; the shortest time between two {min(gaps, default=0):.1f} s",
            bool(gaps) and min(gaps) >= SOONEST_REFRESH,
        ),
        Check(
            "an ill server is not hammered",
            f"{len(run.calls):,} calls; at most {busiest} for an audience in ten seconds",
            0 < busiest <= MOST_IN_TEN_SECONDS,
        ),
        flat("Envoy's resident memory", [it.resident for it in run.samples]),
        flat("the virtual machines' largest memory", [max(it.linear) for it in run.samples if it.linear]),
    ]


def is_denial(outcome: Outcome) -> bool:
    return outcome.status in (500, 503) and outcome.body.startswith("invoker: ")


def brought_a_token(call: Call, run: Run) -> bool:
    """As far as one can be sure of it."""
    return call.status == 200 and not was_garbage(call.at, run) and not was_cut(call.at, run)


def by_audience(calls: Iterable[Call]) -> dict[str, list[float]]:
    """When each audience was asked for."""
    times: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        if call.audience:
            times[call.audience].append(call.at)
    return times


def was_garbage(at: float, run: Run) -> bool:
    """A fault that was set a moment ago may strike a call that the clients' clock sees before it."""
    return any(it.kind == "garbage" and it.begun - 0.5 <= at <= it.ended + 0.5 for it in run.illnesses)


def was_cut(at: float, run: Run) -> bool:
    place = bisect_left(run.cuts, at - 0.2)
    return place < len(run.cuts) and run.cuts[place] <= at + SLOW_SECONDS + DELIVERY_SECONDS


def had_token(denied: Outcome, fetched: list[float]) -> bool:
    """From before the request was sent to after its denial."""
    return any(
        at + SLOW_SECONDS + DELIVERY_SECONDS <= denied.sent and denied.ended <= at + USABLE_SECONDS for at in fetched
    )


def was_ill(denied: Outcome, run: Run) -> bool:
    return any(it.begun <= denied.ended and denied.sent <= it.ended + LONGEST_PAUSE for it in run.illnesses)


def most_in_ten_seconds(times: list[float]) -> int:
    return max(bisect_left(times, at + 10) - index for index, at in enumerate(times))


def examples(outcomes: list[Outcome]) -> str:
    shown = "; ".join(f"{it.host}: {it.status} {it.body[:120]}" for it in outcomes[:3])
    return f"{len(outcomes)} were not: {shown}" if outcomes else "all were"


def flat(what: str, values: list[int]) -> Check:
    """Its height in the second half of the run beside that in the first, which has seen every kind of trouble, too."""
    half = len(values) // 2
    first, second = max(values[:half], default=0), max(values[half:], default=0)
    found = f"at most {first / 2**20:.2f} MiB in the first half, {second / 2**20:.2f} MiB in the second"
    return Check(f"{what} stays flat", found, 0 < second <= first * (1 + MEMORY_GROWTH) + MEMORY_STEP)
