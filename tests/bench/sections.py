"""What is measured: each section fills its part of the results."""

from __future__ import annotations

import gzip
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.bootstrap import MODULE
from harness.client import at_once
from harness.emulator import Emulator
from harness.envoy import Envoy

from . import variants
from .callgrind import Instructions, instructions
from .load import attack
from .proxy import Setting, running
from .variants import EMPTY, EMPTY_FILTER, GCP_AUTHN, NO_FILTER, ONE_AUDIENCE, UPSTREAM, Variant

Results = dict[str, Any]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def hit_path(setting: Setting) -> Results:
    """Instructions per request that is served from the cache."""
    results: Results = {}
    with metadata_server(setting) as metadata:
        token = metadata.token(variants.AUDIENCE)
        # gcp_authn leaves out `format=full`, and so gets a token without the account's email, 89 bytes
        # shorter: all get the same one here.
        flavor = {"Metadata-Flavor": "Google"}
        metadata.add_fault(audience=variants.AUDIENCE, status=200, headers=flavor, body=token)
        for protocol in ("HTTP/1.1", "HTTP/2"):
            counted = count(setting, variants.hit_path(token), metadata.port, protocol == "HTTP/2")
            results[protocol] = with_ratios(counted)
        results["token_bytes"] = len(token)
    return results


def growth(setting: Setting) -> Results:
    """The same, with ever more rules, patterns and audiences."""
    with metadata_server(setting) as metadata:
        return count(setting, variants.growth(), metadata.port)


def count(setting: Setting, subjects: list[Variant], metadata: int, http2: bool = False) -> Results:
    counts: dict[str, list[Instructions]] = {subject.name: [] for subject in subjects}
    for _ in range(setting.rounds):
        for subject in subjects:
            counts[subject.name].append(instructions(setting, subject, metadata, http2))
            say(f"  {subject.name}: {counts[subject.name][-1]}")
    return {
        subject.name: {
            "title": subject.title,
            "instructions": round(statistics.median(run.per_request for run in counts[subject.name])),
            "lowest": min(run.per_request for run in counts[subject.name]),
            "highest": max(run.per_request for run in counts[subject.name]),
            "per_idle_second": round(statistics.median(run.per_idle_second for run in counts[subject.name])),
        }
        for subject in subjects
    }


def with_ratios(rows: Results) -> Results:
    native, bare = rows[GCP_AUTHN.name]["instructions"], rows[NO_FILTER.name]["instructions"]
    for row in rows.values():
        # Not rounded here: the page rounds, and twice would shift the last digit.
        row["of_gcp_authn"] = row["instructions"] / native
        row["of_no_filter"] = row["instructions"] / bare
    return rows


def cold_start(setting: Setting) -> Results:
    """200 requests at once, before any token is there; the metadata server answers in 300 ms."""
    results: Results = {}
    # Prefetching would answer the question before it is asked.
    rules: list[Any] = [{"cluster": "*", "audience": variants.AUDIENCE}]
    cold = Variant("invoker", "Invoker", variants.in_listener(rules, prefetch=False))
    with service(setting) as answering:
        for workers in (1, 4, 8):
            for subject in (cold, GCP_AUTHN):
                runs = []
                for _ in range(setting.rounds):
                    with metadata_server(setting, delay="300ms") as metadata:
                        options: Any = {"service": answering, "workers": workers, "warm": False}
                        with running(setting, subject, metadata.port, **options) as proxy:
                            answers = at_once(200, proxy.port, variants.HOST)
                        calls = len(metadata.calls(variants.AUDIENCE))
                    times = sorted(answer.seconds * 1000 for answer in answers)
                    answered = sum(answer.status == 200 for answer in answers)
                    runs.append((times[-1], statistics.median(times), calls, answered))
                slowest, median, calls, answered = sorted(runs)[len(runs) // 2]
                say(f"  {subject.name}, {workers} workers: {calls} calls, slowest {slowest:.0f} ms")
                results.setdefault(str(workers), {})[subject.name] = {
                    "calls": calls,
                    "most_calls": max(run[2] for run in runs),
                    "median_ms": round(median),
                    "slowest_ms": round(slowest),
                    "answered": answered,
                }
    return results


def refresh(setting: Setting) -> Results:
    """Latency while tokens are replaced all the time, by a metadata server that takes a second."""
    others: list[Any] = [
        {"authority": f"other-{n}.example.com", "audience": f"https://other-{n}.example.com"} for n in range(20)
    ]
    rules: list[Any] = [*others, {"cluster": "*", "audience": variants.AUDIENCE}]
    many = Variant("invoker", "Invoker, 21 audiences", variants.in_listener(rules))
    runs: dict[str, list[Any]] = {}
    with service(setting) as answering:
        for _ in range(setting.rounds):
            for subject in (many, GCP_AUTHN, NO_FILTER):
                for lifetime in ("1h", "50s"):
                    name = f"{subject.name}, tokens live {lifetime}"
                    with metadata_server(setting, lifetime, delay="1s") as metadata:
                        with running(setting, subject, metadata.port, service=answering, workers=2) as proxy:
                            before = len(metadata.all_calls())
                            load = attack(setting, proxy.port, subject.hosts, seconds=30, rate=500)
                            calls = len(metadata.all_calls()) - before
                    runs.setdefault(name, []).append({**load.figures(), "refreshes": calls})
                    say(f"  {name}: {runs[name][-1]}")
                    if subject is NO_FILTER:
                        break
    return {
        name: {figure: statistics.median(run[figure] for run in measured) for figure in measured[0]}
        for name, measured in runs.items()
    }


def virtual_machines(setting: Setting) -> Results:
    """What a VM costs: memory, start-up time, the module's size."""
    results: Results = {}
    with metadata_server(setting) as metadata:
        for subject in (NO_FILTER, EMPTY, ONE_AUDIENCE):
            resident: dict[int, float] = {}
            for workers in (1, 9):
                sizes = []
                for _ in range(setting.rounds):
                    with running(setting, subject, metadata.port, workers=workers) as proxy:
                        sizes.append(proxy.envoy.resident_bytes() / 2**20)
                resident[workers] = statistics.median(sizes)
            starts = []
            for _ in range(3 * setting.rounds):
                with running(setting, subject, metadata.port, warm=False) as proxy:
                    starts.append(proxy.started_in * 1000)
            results[subject.name] = {
                "title": subject.title,
                "mib_1_worker": round(resident[1], 1),
                "mib_9_workers": round(resident[9], 1),
                "mib_per_worker": round((resident[9] - resident[1]) / 8, 2),
                "start_ms": round(statistics.median(starts)),
            }
            say(f"  {subject.name}: {results[subject.name]}")
    for name, module in (("module", MODULE), ("empty_module", EMPTY_FILTER)):
        code = module.read_bytes()
        results[name] = {"bytes": len(code), "compressed_bytes": len(gzip.compress(code, 9))}
    return results


def throughput(setting: Setting) -> Results:
    """Full load: requests a second, and the CPU time that Envoy spends on each."""
    subjects = (NO_FILTER, GCP_AUTHN, EMPTY, UPSTREAM, ONE_AUDIENCE)
    results: Results = {}
    with metadata_server(setting) as metadata, service(setting) as answering:
        for workers in (1, 2):
            runs: dict[str, list[tuple[float, float]]] = {subject.name: [] for subject in subjects}
            for _ in range(2 * setting.rounds):
                for subject in subjects:
                    options: Any = {"service": answering, "workers": workers}
                    with running(setting, subject, metadata.port, **options) as proxy:
                        attack(setting, proxy.port, subject.hosts, seconds=1)
                        before = cpu_seconds(proxy.envoy)
                        load = attack(setting, proxy.port, subject.hosts, seconds=4)
                        spent = cpu_seconds(proxy.envoy) - before
                    assert load.failed == 0, f"{load.failed} requests failed"
                    runs[subject.name].append((load.per_second, spent * 1e6 / len(load.latencies)))
            medians = {
                name: (statistics.median(r[0] for r in measured), statistics.median(r[1] for r in measured))
                for name, measured in runs.items()
            }
            rate, cost = medians[NO_FILTER.name]
            results[str(workers)] = {
                subject.name: {
                    "title": subject.title,
                    "requests_per_second": round(medians[subject.name][0]),
                    "cpu_microseconds": round(medians[subject.name][1], 1),
                    "rate_of_no_filter": round(medians[subject.name][0] / rate, 3),
                    "cpu_of_no_filter": round(medians[subject.name][1] / cost, 3),
                }
                for subject in subjects
            }
            say(f"  {workers} workers: {results[str(workers)]}")
    return results


def cpu_seconds(envoy: Envoy) -> float:
    fields = Path(f"/proc/{envoy.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class MetadataServer(Emulator):
    def token(self, audience: str) -> str:
        answer = self._http.get(
            "/computeMetadata/v1/instance/service-accounts/default/identity",
            params={"audience": audience, "format": "full"},
            headers={"Metadata-Flavor": "Google"},
        )
        return answer.raise_for_status().text


def yield_the_processor(pid: int) -> None:
    """It stands for a server on another machine: signing its tokens must not delay who is measured."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


@contextmanager
def metadata_server(setting: Setting, lifetime: str = "1h", delay: str | None = None) -> Iterator[MetadataServer]:
    server = MetadataServer(setting.folder / "metadata", lifetime=lifetime)
    try:
        if delay:
            server.add_fault(delay=delay)
        yield_the_processor(server.pid)
        yield server
    finally:
        server.stop()


@contextmanager
def service(setting: Setting) -> Iterator[int]:
    """The receiving service in a process of its own: an Envoy that answers by itself. Gives its port."""
    with running(setting, NO_FILTER, 1, workers=1) as proxy:
        yield proxy.envoy.listeners()["service"]


SECTIONS: dict[str, Callable[[Setting], Results]] = {
    "hit-path": hit_path,
    "growth": growth,
    "cold-start": cold_start,
    "refresh": refresh,
    "vm": virtual_machines,
    "load": throughput,
}
