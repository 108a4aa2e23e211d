"""How many jobs a second the ledger takes: `python benchmarks/bench_ledger.py [URL] [jobs] [clusters]`.

The URL is of an empty database; without one, a temporary SQLite file is used. With `postgres` in its place a
private PostgreSQL is started; with `million`, that too, and updates are timed among a million jobs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from include.bookkeeping.ledger import Ledger
from tests import ledger_records as records


def timed(what: str, count: int, started: float) -> None:
    """Print one line of figures."""
    seconds = time.perf_counter() - started
    print(f"{what:<28} {count:>9,} in {seconds:7.2f} s = {count / seconds:>10,.0f}/s")


def fill(ledger: Ledger, jobs: int, clusters: int) -> None:
    """Take `clusters` clusters of `jobs` jobs from intent to accepted outputs."""
    plan = records.campaign_plan(runs=(1000, 1000 + clusters), subruns=jobs)
    ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=clusters, now=records.NOW)
    ranges = [(n, n) for n in range(jobs)]
    steps: dict[str, float] = dict.fromkeys(
        ("intend", "record_jobs", "record_jobs again", "outputs", "settle"), 0.0
    )

    def step(name: str, started: float) -> None:
        steps[name] += time.perf_counter() - started

    for run in range(1000, 1000 + clusters):
        at = time.perf_counter()
        tag = records.intend(ledger, "gen", run=run, ranges=ranges)
        step("intend", at)
        ledger.record_submitted(tag, clusters=[("ap1", 7, jobs)], message="", now=records.NOW)
        ads = [records.job(n) for n in range(jobs)]
        for name in ("record_jobs", "record_jobs again"):
            at = time.perf_counter()
            ledger.record_jobs(tag, ads)
            step(name, at)
        made = [records.output("gen", n, run=run) for n in range(jobs)]
        at = time.perf_counter()
        ledger.record_outputs(tag, made, now=records.NOW)
        step("outputs", at)
        keys = [(each.execution, each.name) for each in made]
        verdicts = [records.verdict(n) for n in range(jobs)]
        at = time.perf_counter()
        ledger.settle(tag, verdicts=verdicts, accept=keys, reject=[], now=records.NOW)
        step("settle", at)
    for name, seconds in steps.items():
        timed(name, jobs * clusters, time.perf_counter() - seconds)


def million(ledger: Ledger, jobs: int = 10_000, clusters: int = 100, updates: int = 9) -> None:
    """Record a million jobs, then update some clusters' jobs, a transaction each; tell medians and ranges."""
    plan = records.campaign_plan(runs=(1000, 1000 + clusters), subruns=jobs)
    ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=clusters, now=records.NOW)
    ads = [records.job(n) for n in range(jobs)]
    began = time.perf_counter()
    for run in range(1000, 1000 + clusters):
        tag = records.intend(ledger, "gen", run=run, ranges=[(n, n) for n in range(jobs)])
        ledger.record_submitted(tag, clusters=[("ap1", 7, jobs)], message="", now=records.NOW)
        ledger.record_jobs(tag, ads)
    timed("intents and jobs", jobs * clusters, began)
    rates = []
    for run in range(1000, 1000 + clusters, clusters // updates):
        began = time.perf_counter()
        ledger.record_jobs(records.tag_of("gen", run=run), ads)
        rates.append(jobs / (time.perf_counter() - began))
    print(
        f"updates among a million: median {statistics.median(rates):,.0f}/s ({min(rates):,.0f} to"
        f" {max(rates):,.0f})"
    )


def main() -> None:
    """Fill a ledger, then ask it for its progress."""
    if sys.argv[1:2] in (["postgres"], ["million"]):
        from tests.postgres import running_postgres

        with running_postgres() as server, Ledger(server.url) as ledger:
            ledger.upgrade()
            if sys.argv[1] == "million":
                million(ledger)
            else:
                fill(ledger, *(int(word) for word in sys.argv[2:] or ("10000", "4")))
        return
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    clusters = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{Path(folder) / 'ledger.db'}"
        with Ledger(url) as ledger:
            ledger.upgrade()
            fill(ledger, jobs, clusters)
            started = time.perf_counter()
            ledger.stage_progress("demo.z", records.TRANCHE)
            timed("stage_progress", jobs * clusters, started)
            started = time.perf_counter()
            ledger.jobs(records.tag_of("gen"))
            timed("jobs", jobs, started)


if __name__ == "__main__":
    main()
