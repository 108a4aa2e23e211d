"""What a report of a million jobs takes: `python benchmarks/bench_report.py [JOBS] [postgres]`.

The ledger is filled by the database itself, in clusters of 10,000 jobs; three jobs in a hundred fail. With
`postgres` a server of its own is started for it, else it is a SQLite file.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from include.bookkeeping.ledger import Ledger
from include.reports.campaign import campaign_report
from include.reports.week import week_report
from include.reports.writing import as_html, as_json
from tests import ledger_records as records
from tests.postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

CLUSTER, SITES, REPEATS = 10_000, 40, 3
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :jobs) "
UNITS = """INSERT INTO submission_units (submission_id, process, first_subrun, last_subrun, inputs, state)
SELECT :id, i, i, i, '[]', CASE WHEN i % 33 = 0 THEN 'missing' ELSE 'accepted' END FROM n"""
JOBS = """INSERT INTO jobs (submission_id, schedd, cluster, process, unit, global_job_id, status, exit_code,
  reason, host, site, starts, queued_at, started_at, ended_at, wall_s, cpu_s, memory_mb)
SELECT :id, 'ap1', :id, i, i, 'ap1#' || i, 4, CASE WHEN i % 33 = 0 THEN 1 ELSE 0 END, '', 'wn' || (i % 2000),
  'SITE_' || (i % :sites), 1, :now, :now + 60, :now + 3600 + i % 7200, 3000, 2500, 1500 FROM n"""
OUTPUTS = """INSERT INTO outputs (submission_id, execution, experiment, run, stage, name, first_subrun,
  last_subrun, path, size, sha256, adler32, events, state, recorded_at, accepted_at, state_at)
SELECT :id, 'e' || i, 'demo', :run, 'gen', 'default', i, i, '/out/gen/' || :run || '/' || i || '/x.root',
  100000000, '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', '0badf00d', 1000, 'accepted',
  :now + 3600 + i % 7200, :now + 3600 + i % 7200, :now FROM n WHERE i % 33 <> 0"""
DIAGNOSES = """INSERT INTO diagnoses (submission_id, position, process, first_subrun, last_subrun, category,
  rule, cause, evidence, advice, remedy, job_id, host, site, at, signature, shadow, diagnosed_at)
SELECT :id, i, i, i, i, 'memory', 'rule-' || (i % 12), 'Too much.', 'ad: MemoryUsage', 'Ask.',
  'more-memory', 'j', 'wn' || (i % 2000), 'SITE_' || (i % :sites), :now, '', '', :now FROM n
WHERE i % 33 = 0"""
STATEMENTS = tuple(NUMBERS + each for each in (UNITS, JOBS, OUTPUTS, DIAGNOSES))


def fill(ledger: Ledger, jobs: int) -> None:
    """Record a campaign of `jobs` jobs."""
    clusters = max(jobs // CLUSTER, 1)
    size = jobs // clusters
    plan = records.campaign_plan(runs=(1000, 1000 + clusters), subruns=size)
    ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=clusters, now=records.NOW)
    for number in range(clusters):
        run, now = 1000 + number, records.NOW + 3600 * number
        tag = records.intend(ledger, "gen", run=run, ranges=[(0, 0)], now=now)
        ledger.record_submitted(tag, clusters=[("ap1", run, size)], message="", now=now)
        ledger.record_ended(tag, now=now + 11_000)
        with ledger._write() as connection:  # noqa: SLF001  a million rows are made in place
            found = connection.execute(sa.text("SELECT id FROM submissions WHERE tag = :tag"), {"tag": tag})
            values = {"id": found.scalar_one(), "run": run, "now": now, "jobs": size, "sites": SITES}
            connection.execute(sa.text("DELETE FROM submission_units WHERE submission_id = :id"), values)
            for statement in STATEMENTS:
                connection.execute(sa.text(statement), values)


@contextmanager
def timed(what: str, spent: dict[str, list[tuple[float, float]]]) -> Iterator[None]:
    """Add the seconds that something takes, and the CPU-seconds of this process."""
    started, cpu = time.perf_counter(), time.process_time()
    yield
    spent.setdefault(what, []).append((time.perf_counter() - started, time.process_time() - cpu))


def measure(url: str, jobs: int) -> None:
    """Fill, report some times over, and tell the medians."""
    with Ledger(url) as ledger:
        ledger.upgrade()
        started = time.perf_counter()
        fill(ledger, jobs)
        filled = time.perf_counter() - started
        print(f"{jobs:,} jobs, {ledger.place.partition(':')[0]}; filled in {filled:.0f} s")
        if "postgresql" in ledger.place:
            with ledger._write() as connection:  # noqa: SLF001  as autovacuum does in time
                connection.execute(sa.text("ANALYZE"))
        spent: dict[str, list[tuple[float, float]]] = {}
        now = records.NOW + 40 * 86_400
        for _ in range(REPEATS):
            with timed("campaign, counted", spent):
                report = campaign_report(ledger, "demo.z", now=now)
            with timed("campaign, page and JSON", spent):
                pages = len(as_html(report)), len(as_json(report))
            with timed("week, counted", spent):
                week_report(ledger, time_of(records.NOW), now=now)
        for what, each in spent.items():
            wall, cpu = (sorted(column)[len(each) // 2] for column in zip(*each, strict=True))
            print(f"{what:<26} {wall:6.2f} s, {cpu:6.2f} CPU-s here (medians of {len(each)})")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"page {pages[0] / 1e3:.0f} kB, JSON {pages[1] / 1e3:.0f} kB; peak memory {peak:.0f} MB")
        print(f"accepted {report.total.accepted:,}, jobs {report.total.work.jobs:,}")


def time_of(at: float) -> date:
    """Return the day of a time."""
    return datetime.fromtimestamp(at, tz=UTC).date()


def main() -> None:
    """Measure on the database that was asked for."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    if "postgres" in sys.argv:
        with running_postgres() as server:
            measure(server.url, jobs)
        return
    with tempfile.TemporaryDirectory(prefix="bench-report-") as folder:
        measure(f"sqlite:///{Path(folder) / 'ledger.db'}", jobs)


if __name__ == "__main__":
    main()
