"""What a whole dag_run costs the engine with 100 jobs and with 10,000: CPU time of all of Airflow.

Run: python benchmarks/bench_engine.py [--minutes M] [--repeats N] [JOBS…]; a real Airflow and pool, each
size a few times in turn. The jobs are real clusters that fit no node. Once they have been in the queue for M
minutes (0) this program leaves behind what they would have left, and has the schedd complete them as no-ops,
so that no node's work is measured. HTCondor's daemons are not the engine; jobsub_submit and condor_submit,
which its tasks start, are counted. What an idle Airflow takes is measured first, and left out for the time in
which this program writes.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.idle_jobs import write_specs
from benchmarks.left_behind import Left, leave
from benchmarks.peers.measure import Meter, cpu_s
from embedded.airflow_api import AirflowApi
from embedded.deployment import Deployment
from embedded.processes import command, with_descendants
from include.bookkeeping.ledger import Ledger

if TYPE_CHECKING:
    from include.bookkeeping.records import Submission

PARTS = ("scheduler", "triggerer", "api_server", "dag-processor")
"""Of Airflow, by what their command lines say; tasks and what they start are the scheduler's."""
LIMIT_S = 900.0
LOOK_S = 0.5
IDLE_S = 20.0


def sent(ledger: Ledger, dag_id: str, run_id: str) -> Submission:
    """Wait until the jobs are in the queue, and return their submission."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        for submission in ledger.submissions(dag_id, run_id):
            if submission.clusters:
                return submission
        time.sleep(LOOK_S)
    raise SystemExit(f"{dag_id} {run_id}: nothing was submitted within {LIMIT_S:.0f} s")


def end(deployment: Deployment, ledger: Ledger, submission: Submission, jobs: int) -> None:
    """Leave behind what the jobs of a cluster would have left, and have them completed."""
    plan = ledger.plan_of(submission.dag_id, submission.tranche)
    ((schedd, cluster, _),) = submission.clusters
    left = Left(tag=submission.tag, run=submission.run, schedd=schedd, cluster=cluster)
    for process in range(jobs):
        leave(plan, plan.stages[0], left, process, b"made\n")
    subprocess.run(
        ["condor_qedit", str(cluster), "ExitCode", "0", "IsNoopJob", "True"],
        env=deployment.environment(),
        check=True,
        capture_output=True,
        timeout=120,
    )


def airflow(deployment: Deployment) -> set[int]:
    """Return all of Airflow's processes, with the helper that asks HTCondor."""
    group = deployment.airflow()
    assert group is not None
    return with_descendants(group.members())


def by_part(processes: set[int]) -> dict[str, float]:
    """Return part of Airflow → CPU seconds until now."""
    return {
        part: cpu_s(with_descendants(pid for pid in processes if f"airflow {part}" in command(pid)))
        for part in PARTS
    }


def idle(deployment: Deployment) -> float:
    """Return the CPU seconds that Airflow takes a second while nothing is to do."""
    meter = Meter(airflow(deployment))
    time.sleep(IDLE_S)
    return meter.read(airflow(deployment)) / IDLE_S


def one(
    deployment: Deployment, api: AirflowApi, ledger: Ledger, jobs: int, *, idle_rate: float, stay_s: float
) -> tuple[float, float]:
    """Run one dag_run; return its CPU seconds and its seconds, without this program's own part."""
    dag_id = f"bench.c{jobs}"
    began, meter, parts = time.monotonic(), Meter(airflow(deployment)), by_part(airflow(deployment))
    run_id = api.trigger(dag_id)
    submission = sent(ledger, dag_id, run_id)
    time.sleep(stay_s)
    writes = time.monotonic()
    end(deployment, ledger, submission, jobs)
    wrote = time.monotonic() - writes
    state = api.follow(dag_id, run_id, limit_s=LIMIT_S)
    assert state == "success", f"{dag_id} {run_id}: {state}"
    took = time.monotonic() - began - wrote
    told = ", ".join(f"{part} {now - parts[part]:.1f}" for part, now in by_part(airflow(deployment)).items())
    print(f"{jobs:>6} jobs: {told} CPU-s; wrote for {wrote:.1f} s", flush=True)
    return meter.read(airflow(deployment)) - wrote * idle_rate, took


def main(sizes: list[int], *, repeats: int, stay_s: float) -> None:
    """Start a deployment, run each size a few times in turn, and print medians, ranges and the ratio."""
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as name:
        specs = Path(name) / "specs"
        write_specs(specs, sizes)
        deployment = Deployment(state=Path(name) / "state", specs=specs, ports=(0, 0, 0))
        found: dict[int, list[tuple[float, float]]] = {jobs: [] for jobs in sizes}
        try:
            deployment.start()
            with AirflowApi(deployment) as api, Ledger(deployment.ledger_url) as ledger:
                for jobs in sizes:
                    api.wait_for_dag(f"bench.c{jobs}", limit_s=LIMIT_S)
                # The first dag_run warms everything up.
                one(deployment, api, ledger, min(sizes), idle_rate=0.0, stay_s=0.0)
                rate = idle(deployment)
                for _ in range(repeats):
                    for jobs in sizes:
                        found[jobs].append(one(deployment, api, ledger, jobs, idle_rate=rate, stay_s=stay_s))
        finally:
            deployment.stop()
    print(f"idle: {rate:.2f} CPU-s a second")
    medians = {}
    for jobs, runs in found.items():
        cpu, took = (sorted(run[place] for run in runs) for place in (0, 1))
        medians[jobs] = statistics.median(cpu)
        print(
            f"{jobs:>6} jobs: engine {medians[jobs]:6.1f} CPU-s ({cpu[0]:.1f} to {cpu[-1]:.1f}),"
            f" {statistics.median(took):.1f} s by the clock"
        )
    print(f"ratio {medians[sizes[-1]] / medians[sizes[0]]:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=0.0, help="how long jobs stay in the queue")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("jobs", type=int, nargs="*", default=[100, 10_000])
    given = parser.parse_args()
    main(given.jobs, repeats=given.repeats, stay_s=60 * given.minutes)
