"""How long a submit task takes from its process's start until its jobs are in the queue and in the ledger.

Run: python benchmarks/bench_submit.py [JOBS…]; a real pool, the stand-in for jobsub_submit, jobs that fit no
node. The task is forked from a process that has its imports, as `prodsys_operators.executor` does. CPU time
is of the task and of all that it starts; own_cpu_s is prodsys's, jobsub_cpu_s that of jobsub_submit,
condor_submit included, and of the helper that asks HTCondor.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.idle_jobs import write_specs
from embedded.pool import PersonalPool
from embedded.pool_config import PoolSettings

CHECKOUT = Path(__file__).resolve().parents[1]
REPEATS = 3
TASK = """
import json, os, sys, time
from types import SimpleNamespace
import airflow.sdk
from prodsys_operators.preload import preload
assert not preload()
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
before, began = os.times(), time.perf_counter()
from prodsys_operators.campaign_dag import load_plan, spec_path
from prodsys_operators.reserve import ReserveOperator
from prodsys_operators.settings import settings
from prodsys_operators.submit import SubmitOperator
campaign, tranche = sys.argv[1:]
run = SimpleNamespace(dag_id=f"bench.{campaign}", run_id=tranche, run_type="manual", logical_date=None)
context = {"dag_run": run, "params": {"slices": 1}}
plan = load_plan(spec_path(f"bench/{campaign}.yaml"), specs=spec_path("."), area=settings().area)
(item,) = ReserveOperator(task_id="reserve", plan=plan).execute(context)
reserved = time.perf_counter()
done = SubmitOperator(task_id="submit", stage="gen", slice_item=item).execute(context)
submitted, used = time.perf_counter(), os.times()
cpu = [after - earlier for after, earlier in zip(used[:4], before[:4])]
print(json.dumps({
    "jobs": done["jobs"],
    "task_s": submitted - began,
    "submit_s": submitted - reserved,
    "own_cpu_s": sum(cpu[:2]),
    "jobsub_cpu_s": sum(cpu[2:]),
    "cpu_s": sum(cpu),
}))
"""


def one(jobs: int, repeat: int) -> dict[str, float]:
    """Run one task in a process of its own; return what it took."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TASK, f"c{jobs}", f"t{repeat}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(sizes: list[int]) -> None:
    """Start a pool, submit each size a few times in turn, and print medians and ranges."""
    with tempfile.TemporaryDirectory(prefix="bench-submit-") as name:
        folder = Path(name)
        specs = folder / "specs"
        write_specs(specs, sizes)
        pool = PersonalPool(
            PoolSettings(state=folder / "pool", binaries=CHECKOUT / ".prodsys/condor", port=0)
        )
        pool.start()
        try:
            os.environ.update(pool.environment())
            os.environ.update({"AIRFLOW_HOME": name, "JOBSUB_STANDIN_DIR": f"{name}/jobsub"})
            own = {"LEDGER": f"sqlite:///{name}/ledger.db", "SPECS": f"{name}/specs", "AREA": name}
            own["WORK_DIR"] = f"{name}/work"
            os.environ.update({f"AIRFLOW__PRODSYS__{key}": value for key, value in own.items()})
            from include.bookkeeping.ledger import Ledger

            with Ledger(own["LEDGER"]) as ledger:
                ledger.upgrade()
            found: dict[int, list[dict[str, float]]] = {jobs: [] for jobs in sizes}
            for repeat in range(REPEATS):
                for jobs in sizes:
                    found[jobs].append(one(jobs, repeat))
        finally:
            pool.stop()
    for jobs, runs in found.items():
        for what in ("task_s", "submit_s", "cpu_s", "own_cpu_s", "jobsub_cpu_s"):
            values = sorted(run[what] for run in runs)
            print(
                f"{jobs:>6} jobs: {what:<12} median {statistics.median(values):6.2f}"
                f" ({values[0]:.2f} to {values[-1]:.2f})"
            )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [100, 10_000])
