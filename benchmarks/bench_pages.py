"""How long the pages take: `python benchmarks/bench_pages.py [campaigns] [jobs]`, on a private PostgreSQL.

Timed is what the server does for a page that nobody asked for in the last seconds: ledger, sums, HTML.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from include.bookkeeping.ledger import Ledger
from include.progress.campaign import campaign_curves, campaign_page
from include.progress.campaigns import campaign_lines, campaigns_page, wish
from include.progress.failures import failures_page
from include.progress.search import search
from tests.ledger_records import TRANCHE, campaign_plan, stage_plan
from tests.postgres import running_postgres

if TYPE_CHECKING:
    from collections.abc import Callable

SLICES, STAGES, RUNS_EACH = 2, ("gen", "reco"), 100
OPEN_SHARE = 5
"""One campaign of so many is in flight; the others ended yesterday."""
SAMPLES = 200
"""Progress samples a submission: what half an hour of polls leaves."""
ROUNDS = 40
BROWSERS = 50
TICK_S = 5.0

SUBMISSIONS = """
INSERT INTO submissions (tag, dag_id, tranche, run, stage, recovery, state, work_dir, message, intended_at,
  submitted_at, state_at, jobs_open)
SELECT c.dag_id || '/' || c.run || '/' || c.stage, c.dag_id, c.tranche, c.run, c.stage, 0,
  CASE WHEN open THEN 'submitted' ELSE 'ended' END, '/w', '', :now - 7200, :now - 7200,
  CASE WHEN open THEN :now - 7200 WHEN run % (:each * :share) < 2 THEN :now - 600 ELSE :now - 86400 END,
  CASE WHEN open THEN :jobs / 2 ELSE 0 END
FROM (SELECT k.*, k.stage = 'reco' AND k.run % (:each * :share) < 2 AS open FROM stage_counts k) c
"""
UNITS = """
INSERT INTO submission_units (submission_id, process, first_subrun, last_subrun, inputs, state, held)
SELECT s.id, n, n, n, '[]',
  CASE WHEN s.jobs_open > 0 THEN NULL WHEN n % 50 = 0 THEN 'missing' ELSE 'accepted' END, false
FROM submissions s, generate_series(0, :jobs - 1) n
"""
CLUSTERS = "INSERT INTO clusters SELECT id, 'ap1', id, :jobs FROM submissions"
JOBS = """
INSERT INTO jobs (submission_id, schedd, cluster, process, unit, global_job_id, status, exit_code, reason,
  host, site, starts, queued_at, started_at, ended_at, wall_s, cpu_s, memory_mb)
SELECT s.id, 'ap1', s.id, n, n, 'ap1#' || s.id || '.' || n, 4, CASE WHEN n % 50 = 0 THEN 1 ELSE 0 END, '',
  'slot1@wn' || n % 400, 'site' || n % 12, 1, :now - 7200, :now - 7000, :now - 700 - n, 3600, 3000, 900
FROM submissions s, generate_series(0, :jobs - 1) n WHERE s.jobs_open = 0
"""
OUTPUTS = """
INSERT INTO outputs (submission_id, execution, experiment, run, stage, name, first_subrun, last_subrun,
  path, file_name, size, sha256, adler32, events, state, recorded_at, accepted_at, state_at)
SELECT s.id, s.id || '.' || n, 'demo', s.run, s.stage, 'default', n, n,
  '/out/' || s.stage || '/' || s.run || '_' || n || '.root', s.stage || '.' || s.run || '_' || n || '.root',
  1000000, 'a', 'b', 100, 'accepted', :now - 600, :now - 600, :now - 600
FROM submissions s, generate_series(0, :jobs - 1) n WHERE s.jobs_open = 0 AND n % 50 <> 0
"""
DIAGNOSES = """
INSERT INTO diagnoses (submission_id, position, process, first_subrun, last_subrun, category, rule, cause,
  evidence, advice, remedy, job_id, host, site, exit_code, at, signature, shadow, diagnosed_at)
SELECT s.id, n, n * 50, n * 50, n * 50, 'code', 'traceback', 'the script is wrong', '/log:1: KeyError',
  'mend it', 'none', n || '@ap1', 'wn' || n, 'site1', 1, :now - 600, '', '', :now
FROM submissions s, generate_series(0, (:jobs - 1) / 50) n WHERE s.jobs_open = 0
"""
SAMPLED = """
INSERT INTO progress_samples (submission_id, at, idle, running, held, completed, removed, unknown)
SELECT s.id, :now - 7200 + n * (7190.0 / :samples), (:jobs - n) / 2, 5, 0,
  CAST(:jobs * (CASE WHEN s.jobs_open > 0 THEN 0.5 ELSE 1.0 END) * n / :samples AS integer), 0, 0
FROM submissions s, generate_series(1, :samples) n
"""
COUNTS = """
UPDATE stage_counts c SET sent = c.subruns,
  accepted = CASE WHEN s.jobs_open > 0 THEN 0 ELSE c.subruns - (c.subruns + 49) / 50 END,
  missing = CASE WHEN s.jobs_open > 0 THEN 0 ELSE (c.subruns + 49) / 50 END,
  bytes = CASE WHEN s.jobs_open > 0 THEN 0 ELSE c.subruns * 1000000 END,
  accepted_bytes = CASE WHEN s.jobs_open > 0 THEN 0 ELSE c.subruns * 1000000 END
FROM submissions s WHERE s.dag_id = c.dag_id AND s.run = c.run AND s.stage = c.stage
"""
MARKS = """
INSERT INTO stage_marks
SELECT experiment, run, stage, :now - 600, accepted FROM stage_counts WHERE accepted > 0
"""
STEPS = (SUBMISSIONS, UNITS, CLUSTERS, JOBS, OUTPUTS, DIAGNOSES, SAMPLED, COUNTS, MARKS)


def fill(ledger: Ledger, *, campaigns: int, jobs: int, now: float) -> int:
    """Fill the ledger; return the jobs a submission."""
    each = jobs // (campaigns * SLICES * len(STAGES))
    stages = tuple(stage_plan(name) for name in STAGES)
    for number in range(campaigns):
        first = number * RUNS_EACH
        plan = campaign_plan(
            f"c{number:03d}", runs=(first, first + RUNS_EACH - 1), subruns=each, stages=stages
        )
        ledger.reserve(plan, tranche=TRANCHE, dag_run_id="r", slices=SLICES, now=now - 7300)
    values = {"now": now, "jobs": each, "samples": SAMPLES, "each": RUNS_EACH, "share": OPEN_SHARE}
    with ledger._engine.begin() as connection:  # noqa: SLF001  a million rows one by one would take an hour
        # Foreign keys of rows made from each other need no look each.
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for step in STEPS:
            used = {name: value for name, value in values.items() if f":{name}" in step}
            connection.execute(sa.text(step), used)
    with ledger._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:  # noqa: SLF001
        connection.exec_driver_sql("ANALYZE")
    return each


def times(action: Callable[[], Any]) -> list[float]:
    """Return how long an action took, milliseconds, after a first time that does not count."""
    action()
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        action()
        found.append(1000 * (time.perf_counter() - started))
    return sorted(found)


def told(what: str, found: list[float]) -> None:
    """Print one line of figures."""
    print(
        f"{what:<44} median {statistics.median(found):7.1f} ms, p95 {found[int(0.95 * len(found))]:7.1f} ms"
    )


def render(template: str, **values: Any) -> str:
    """Return a page's HTML."""
    from prodsys_operators.pages import answers

    common = {"base": "/prodsys", "version": "x", "layout": "page.html", "query": "", "may_edit": True}
    return answers.ENVIRONMENT.get_template(template).render(**common, **values)


def measure(ledger: Ledger, now: float) -> None:
    """Time each page, in a process that has made the application as Airflow's API server does."""
    from prodsys_operators.pages.mount import pages

    pages()
    everything = {line.dag_id for line in campaign_lines(ledger, now=now)}
    choice = {"sorts": [], "standings": []}

    def campaigns() -> str:
        page = campaigns_page(campaign_lines(ledger, now=now), everything, wish(), now=now)
        return render("campaigns.html", page=page, now=now, **choice)

    def campaign() -> str:
        page = campaign_page(ledger, "demo.c007", None, now=now)
        return render("campaign.html", page=page, now=now, plan="")

    told("campaigns page, nothing remembered", times(campaigns))
    told("campaign page", times(campaign))
    told("its curves", times(lambda: campaign_curves(ledger, "demo.c007", None, now=now)))
    told("triage page", times(lambda: failures_page(ledger, "demo.c007", None, now=now)))
    for what, text in (("job id", "7.3"), ("run/subrun", "700/17"), ("file name", "gen.700_17.root")):
        told(f"search: {what}", times(lambda text=text: search(ledger, text, visible=everything)))


def browsers(ledger: Ledger, now: float) -> None:
    """Let fifty browsers ask for the campaigns page for half a minute, and say what that costs."""
    from prodsys_operators.pages import answers
    from prodsys_operators.pages.source import Recent

    recent: Recent[Any] = Recent()
    looks, answered = 0, 0

    def lines() -> Any:
        nonlocal looks
        looks += 1
        return campaign_lines(ledger, now=now)

    def one() -> None:
        nonlocal answered
        found = recent.get("lines", lines)
        page = campaigns_page(found, {line.dag_id for line in found}, wish(), now=now)
        answers.ENVIRONMENT.get_template("campaigns.html").render(
            base="", version="", layout="live.html", query="", page=page, now=now, sorts=[], standings=[]
        )
        answered += 1

    async def browser(number: int) -> None:
        await asyncio.sleep(TICK_S * number / BROWSERS)
        for _ in range(4):
            await asyncio.to_thread(one)
            await asyncio.sleep(TICK_S)

    async def all_of_them() -> None:
        await asyncio.gather(*(browser(number) for number in range(BROWSERS)))

    started, cpu = time.perf_counter(), time.process_time()
    asyncio.run(all_of_them())
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    print(
        f"{BROWSERS} browsers, each every {TICK_S:.0f} s: {answered} answers in {seconds:.0f} s, "
        f"{looks} looks at the ledger, {used / seconds:.2f} of a core"
    )


def main() -> None:
    """Fill a ledger and time its pages."""
    campaigns = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    jobs = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    with tempfile.TemporaryDirectory() as home, running_postgres() as server:
        os.environ["AIRFLOW_HOME"] = home  # importing the pages reads Airflow's settings
        now = time.time()
        with Ledger(server.url) as ledger:
            ledger.upgrade()
            each = fill(ledger, campaigns=campaigns, jobs=jobs, now=now)
            took = time.time() - now
            print(f"{campaigns} campaigns, {jobs:,} jobs, {each} a submission; filled in {took:.0f} s")
            measure(ledger, now)
            browsers(ledger, now)


if __name__ == "__main__":
    main()
