"""From the end of a stage's last job to the moment when the next stage's jobs are in the queue.

Run: python benchmarks/bench_latency.py [SLICES] [RUNS]; starts a whole deployment. In between lie the poll
that sees the end, the triggerer, the tasks check, recover and submit, and jobsub_submit.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from embedded.airflow_api import AirflowApi
from embedded.deployment import Deployment
from include.bookkeeping.ledger import Ledger

SPEC = """\
version: 1
description: Two short stages
owner: bench
runs: {{first: 1, last: 999}}
slices: {slices}
subruns: 2
defaults: {{memory: 100 MB, disk: 50 MB, lifetime: 10 min, success_threshold: 1.0}}
stages:
  gen:
    script: job.sh
    output: "dts.bench.latency.{{run:06d}}_{{subrun:08d}}.txt"
  reco:
    script: job.sh
    inputs: {{signal: gen}}
    output: "mcs.bench.latency.{{run:06d}}_{{subrun:08d}}.txt"
"""
JOB = '#!/bin/sh\nset -eu\nsleep 1\necho made >"$PRODSYS_OUTPUT"\n'
DAG_ID = "bench.latency"
LIMIT_S = 900.0


def gaps(ledger: Ledger, run_id: str) -> list[float]:
    """Return, for each slice, the seconds between gen's last end and reco's first job in the queue."""
    ends: dict[int, float] = {}
    begins: dict[int, float] = {}
    for sent in ledger.submissions(DAG_ID, run_id):
        jobs = ledger.jobs(sent.tag)
        if sent.stage == "gen":
            ends[sent.run] = max([ends.get(sent.run, 0.0), *(job.ended_at or 0.0 for job in jobs)])
        else:
            begins[sent.run] = min(job.queued_at or 0.0 for job in jobs)
    return [begins[run] - ends[run] for run in sorted(begins)]


def main(slices: int, runs: int) -> None:
    """Run the campaign a few times, and print the median and the range of all slices."""
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as name:
        specs = Path(name) / "specs/bench"
        specs.mkdir(parents=True)
        (specs / "latency.yaml").write_text(SPEC.format(slices=slices), encoding="utf-8")
        (specs / "job.sh").write_text(JOB, encoding="utf-8")
        (specs / "job.sh").chmod(0o755)
        deployment = Deployment(state=Path(name) / "state", specs=specs.parent)
        found: list[float] = []
        try:
            deployment.start()
            with AirflowApi(deployment) as api, Ledger(deployment.ledger_url) as ledger:
                api.wait_for_dag(DAG_ID, limit_s=LIMIT_S)
                for _ in range(runs):
                    run_id = api.trigger(DAG_ID)
                    state = api.follow(DAG_ID, run_id, limit_s=LIMIT_S)
                    assert state == "success", state
                    found += gaps(ledger, run_id)
        finally:
            deployment.stop()
    print(
        f"{len(found)} slices: median {statistics.median(found):.1f} s ({min(found):.1f} to {max(found):.1f})"
    )


if __name__ == "__main__":
    main(*(int(word) for word in (sys.argv[1:] + ["3", "2"][len(sys.argv) - 1 :])))
