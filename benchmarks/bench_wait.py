"""What a thousand waits cost the triggerer and the schedd, on a real pool.

Run: python benchmarks/bench_wait.py [CLUSTERS] [JOBS]
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from embedded.pool import PersonalPool
from embedded.pool_config import PoolSettings
from include.bookkeeping.ledger import Ledger
from tests import ledger_records as records

if TYPE_CHECKING:
    from include.batch.watcher import ScheddWatcher

CHECKOUT = Path(__file__).resolve().parents[1]
SCHEDD, POLLS, INTERVAL_S = "ap1.pool", 10, 3.0


def submit(clusters: int, jobs: int) -> list[int]:
    """Submit clusters of jobs that fit no node."""
    import htcondor2

    schedd = htcondor2.Schedd()
    what = htcondor2.Submit({"executable": "/bin/true", "requirements": "false", "request_memory": "1MB"})
    return [schedd.submit(what, count=jobs).cluster() for _ in range(clusters)]


def fill(ledger: Ledger, found: list[int], jobs: int) -> list[str]:
    """Record the clusters as one submission a slice; return the tags."""
    plan = records.campaign_plan(runs=(1000, 1000 + len(found)), subruns=jobs)
    ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=len(found), now=time.time())
    tags = []
    for run, cluster in enumerate(found, 1000):
        tags.append(
            records.intend(ledger, "gen", run=run, ranges=[(n, n) for n in range(jobs)], now=time.time())
        )
        ledger.record_submitted(tags[-1], clusters=[(SCHEDD, cluster, jobs)], message="", now=time.time())
    return tags


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb() -> float:
    """Return the memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def watch(tags: list[str], schedd_pid: int) -> None:
    """Run the triggers as the triggerer does, and tell what some polls of theirs cost."""
    from prodsys_operators.triggers import SubmissionTrigger

    print(f"{memory_mb():.0f} MB before the waits", flush=True)
    waits = [asyncio.create_task(anext(SubmissionTrigger(tag=tag).run())) for tag in tags]
    watcher = await begun(len(tags))
    first, began = watcher.polls, time.perf_counter()
    helper = watcher.pool._child.pid  # type: ignore[attr-defined]  # noqa: SLF001  what is measured
    before = [time.process_time(), cpu_s(helper), cpu_s(schedd_pid)]
    while watcher.polls < first + POLLS:  # noqa: ASYNC110  no event tells of polls
        await asyncio.sleep(0.05)
    polls, wall = watcher.polls - first, time.perf_counter() - began
    after = [time.process_time(), cpu_s(helper), cpu_s(schedd_pid)]
    for what, start, end in zip(("triggerer", "its helper", "schedd"), before, after, strict=True):
        print(f"{what}: {(end - start) / polls:.3f} CPU-s a poll", flush=True)
    print(
        f"{polls} polls in {wall:.1f} s, one call of the pool each; {memory_mb():.0f} MB with the waits",
        flush=True,
    )
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


async def begun(waits: int) -> ScheddWatcher:
    """Return the watcher once all waits are with it and one poll has told of them."""
    from include.batch import watcher
    from prodsys_operators import watching

    while len(watching._latest) < waits:  # noqa: ASYNC110, SLF001  what is measured
        await asyncio.sleep(0.1)
    (found,) = (one for _, one in watcher._watchers.values())  # noqa: SLF001
    return found


def main(clusters: int, jobs: int) -> None:
    """Start a pool, submit, and watch."""
    with tempfile.TemporaryDirectory(prefix="bench-wait-") as folder:
        pool = PersonalPool(
            PoolSettings(state=Path(folder) / "pool", binaries=CHECKOUT / ".prodsys/condor", port=0)
        )
        pool.start()
        try:
            os.environ.update(pool.environment())
            ledger_url = f"sqlite:///{folder}/ledger.db"
            own = {
                "LEDGER": ledger_url,
                "SPECS": folder,
                "AREA": folder,
                "WORK_DIR": folder,
                "POLL_INTERVAL": INTERVAL_S,
            }
            os.environ.update({f"AIRFLOW__PRODSYS__{name}": str(value) for name, value in own.items()})
            os.environ["AIRFLOW_HOME"] = folder
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
            start = time.perf_counter()
            found = submit(clusters, jobs)
            print(
                f"{clusters} clusters of {jobs} jobs submitted in {time.perf_counter() - start:.1f} s",
                flush=True,
            )
            with Ledger(ledger_url) as ledger:
                ledger.upgrade()
                tags = fill(ledger, found, jobs)
            (schedd,) = (
                int(name)
                for name in os.listdir("/proc")  # noqa: PTH208
                if name.isdigit() and is_schedd(int(name), Path(folder))
            )
            asyncio.run(watch(tags, schedd))
        finally:
            pool.stop()


def is_schedd(pid: int, folder: Path) -> bool:
    """Say whether a process is the schedd of the pool below `folder`."""
    from embedded.processes import has_mark

    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return False
    return name == "condor_schedd" and has_mark(pid, (folder / "pool").resolve())


if __name__ == "__main__":
    main(*(int(word) for word in (sys.argv[1:] + ["1000", "10"][len(sys.argv) - 1 :])))
