"""What operators do in Airflow's UI while jobs are in the queue: nothing is orphaned silently."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embedded.deployment import USER
from include.campaign.naming import interval_tranche
from include.campaign.states import ActionKind
from include.commands.airflow_runs import AirflowAccess, AirflowRuns
from tests.integration.deployments import condor, make_drill_files
from tests.integration.test_campaign import failed_tasks, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.bookkeeping.records import Submission
    from tests.integration.deployments import Site

DAG = "drill.acts"
DAILY = "drill.daily"
WAIT = "slice.gen.wait"
LIMIT_S = 600.0
ACTS = ("cleared", "failed", "succeeded", "run failed", "deleted")


@pytest.fixture(scope="module")
def acted(sqlite_site: Site) -> Iterator[dict[str, str]]:
    """One dag_run for each act, each with jobs that run until the file `go` is there: act → dag_run."""
    site, drill = sqlite_site, sqlite_site.deployment.area / "drill"
    make_drill_files(drill, dict.fromkeys(range(201, 201 + len(ACTS)), 2))
    site.api.wait_for_dag(DAG, limit_s=120)
    try:
        runs = {act: site.api.trigger(DAG) for act in ACTS}
        for run_id in runs.values():
            wait_until(lambda run_id=run_id: is_waited_for(site, run_id), f"the wait of {run_id}", LIMIT_S)  # type: ignore[misc]
        yield runs
    finally:
        (drill / "go").touch()


def is_waited_for(site: Site, run_id: str) -> bool:
    # Deferred is not enough: a triggerer that is busy begins later.
    polled = any(site.ledger.progress(row.tag) for row in submissions(site, run_id))
    return polled and state_of(site, run_id, WAIT) == "deferred"


def state_of(site: Site, run_id: str, task_id: str) -> str | None:
    states = [each["state"] for each in site.api.tasks(DAG, run_id) if each["task_id"] == task_id]
    return states[0] if len(states) == 1 else None


def submissions(site: Site, run_id: str) -> list[Submission]:
    return site.ledger.submissions(DAG, run_id, stage="gen")


def clusters(site: Site, run_id: str) -> list[str]:
    return [f"{number}@{schedd}" for row in submissions(site, run_id) for schedd, number, _ in row.clusters]


def queued(site: Site, run_id: str) -> int:
    """Return how many jobs of the dag_run are in the queue."""
    start = f"{DAG}/{run_id}/"
    ours = f'substr(ProdsysTag ?: "", 0, {len(start)}) == "{start}"'
    return len(condor(site, "condor_q", "-allusers", "-constraint", ours, "-af", "ProcId").split())


def orphans(site: Site, *words: str) -> dict[str, Any]:
    """Return what `prodsys orphans` says: cluster → its row."""
    done = subprocess.run(
        [Path(sys.executable).with_name("prodsys"), "orphans", "--json", *words],
        env=site.deployment.shell_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return {row["cluster"]: row for row in json.loads(done.stdout)["orphans"]}


def wait_log(site: Site, run_id: str) -> str:
    return site.api.log(DAG, run_id, WAIT, map_index=0)


def test_what_is_waited_for_is_no_orphan(sqlite_site: Site, acted: dict[str, str]) -> None:
    waited_for = {name for run_id in acted.values() for name in clusters(sqlite_site, run_id)}
    assert len(waited_for) == len(ACTS)
    assert not waited_for & set(orphans(sqlite_site))


def test_a_wait_that_is_cleared_waits_for_the_same_jobs(sqlite_site: Site, acted: dict[str, str]) -> None:
    site, run_id = sqlite_site, acted["cleared"]
    before = clusters(site, run_id)
    site.api.clear(DAG, run_id, [WAIT])
    wait_until(lambda: state_of(site, run_id, WAIT) == "deferred", "the wait to wait again", LIMIT_S)
    assert (clusters(site, run_id), queued(site, run_id)) == (before, 2)


def test_a_wait_that_is_marked_failed_says_that_its_jobs_run_on(
    sqlite_site: Site, acted: dict[str, str]
) -> None:
    site, run_id = sqlite_site, acted["failed"]
    (cluster,) = clusters(site, run_id)
    site.api.mark(DAG, run_id, WAIT, "failed", map_index=0)
    wait_until(
        lambda: "marked failed: its jobs run on" in wait_log(site, run_id), "the wait's last words", LIMIT_S
    )
    assert f"cluster {cluster} stays as it is" in wait_log(site, run_id)
    assert site.api.follow(DAG, run_id, limit_s=LIMIT_S) == "failed"
    assert queued(site, run_id) == 2
    assert orphans(site)[cluster]["why"] == "dag-run-ended"


def test_a_dag_run_that_is_marked_failed_leaves_a_cluster_that_is_listed(
    sqlite_site: Site, acted: dict[str, str]
) -> None:
    site, run_id = sqlite_site, acted["run failed"]
    (cluster,) = clusters(site, run_id)
    site.api.mark_run(DAG, run_id, "failed")
    wait_until(lambda: cluster in orphans(site), "the orphan to be listed", LIMIT_S)
    assert queued(site, run_id) == 2
    # Airflow's scheduler may look at the skipped tasks in between, and call the dag_run a success.
    assert orphans(site)[cluster]["why"] == "dag-run-ended"


def test_what_a_deleted_dag_run_left_is_removed_on_demand_and_recorded(
    sqlite_site: Site, acted: dict[str, str]
) -> None:
    site, run_id = sqlite_site, acted["deleted"]
    (cluster,) = clusters(site, run_id)
    site.api.mark_run(DAG, run_id, "failed")  # Airflow deletes no dag_run that is under way
    # The scheduler of Airflow 3.3.2 dies of a dag_run that is deleted while it looks at it.
    site.api.wait_for_heartbeat(limit_s=60)
    site.api.delete_run(DAG, run_id)
    assert orphans(site)[cluster]["why"] == "dag-run-gone"
    orphans(site, "--remove", cluster)
    wait_until(lambda: queued(site, run_id) == 0, "the jobs to leave the queue")
    (removal,) = [act for act in site.ledger.actions(DAG, run_id) if act.kind is ActionKind.REMOVE]
    assert removal.jobs == (cluster,)
    assert cluster not in orphans(site)


def test_a_wait_that_is_marked_as_success_accepts_nothing_that_is_not_proven(
    sqlite_site: Site, acted: dict[str, str]
) -> None:
    site, run_id = sqlite_site, acted["succeeded"]
    site.api.mark(DAG, run_id, WAIT, "success", map_index=0)
    wait_until(
        lambda: "marked as success while jobs may run" in wait_log(site, run_id), "its last words", LIMIT_S
    )
    assert queued(site, run_id) == 2
    (row,) = site.ledger.stage_progress(DAG, run_id)
    assert (row.accepted, row.missing) == (0, 0)


@pytest.mark.parametrize("act", ["cleared", "failed", "succeeded", "run failed"])
def test_every_one_is_carried_on_to_its_end_with_what_was_submitted(
    sqlite_site: Site, acted: dict[str, str], act: str
) -> None:
    site, run_id = sqlite_site, acted[act]
    (site.deployment.area / "drill" / "go").touch()
    if act in ("failed", "run failed"):
        site.api.clear(DAG, run_id, [WAIT, "slice.gen.check", "slice.gen.recover", "slice.cleanup", "report"])
    assert site.api.follow(DAG, run_id, limit_s=LIMIT_S) == "success", failed_tasks(site, DAG, run_id)
    (row,) = site.ledger.stage_progress(DAG, run_id)
    assert (row.accepted, row.duplicates) == (2, 0)
    assert len(clusters(site, run_id)) == 1, "nothing was submitted again"


def test_a_dag_run_that_is_gone_lives_on_in_a_backfill_of_its_interval(sqlite_site: Site) -> None:
    """It takes over the tranche, and so the jobs that were left. The DAG is paused: it waits for that."""
    site, start = sqlite_site, dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    site.api.wait_for_dag(DAILY, limit_s=120)
    access = AirflowAccess(url=site.deployment.url, user=USER, password=site.deployment.password)
    with AirflowRuns(access) as runs:

        def state(at: dt.datetime) -> str | None:
            return runs.dag_run(DAILY, "gone", tranche=interval_tranche(at)).state

        by_hand = start + dt.timedelta(days=7)
        site.api.trigger(DAILY, logical_date=by_hand)
        site.api.backfill(DAILY, start, start)
        assert state(start) == "queued"
        assert state(start + dt.timedelta(days=1)) is None
        assert state(by_hand) is None


@pytest.mark.usefixtures("acted")
def test_ledger_pool_and_storage_agree_on_all_that_can_be_compared(sqlite_site: Site) -> None:
    site = sqlite_site
    done = subprocess.run(
        [Path(sys.executable).with_name("prodsys"), "truth", DAG, "--limit", "1 min", "--json"],
        env=site.deployment.shell_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    found = json.loads(done.stdout)
    assert (found["disagreements"], found["no_answer"]) == ([], []), done.stderr
    assert found["submissions"] == len(ACTS)
    assert found["files"] == found["accepted"] == 2 * (len(ACTS) - 1)
    run_id = site.api.trigger("prodsys_truth")
    site.api.follow("prodsys_truth", run_id, limit_s=LIMIT_S)
    assert "accepted files were compared" in site.api.log("prodsys_truth", run_id, "compare")
