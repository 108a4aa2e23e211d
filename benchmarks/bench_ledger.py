"""How many jobs a second the ledger takes: `python benchmarks/bench_ledger.py [URL] [jobs] [clusters]`.

The URL is of an empty database; without one, a temporary SQLite file is used.
"""

from __future__ import annotations

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


def main() -> None:
    """Fill a ledger, then ask it for its progress."""
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
