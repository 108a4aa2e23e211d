"""Whole campaigns: real Airflow, real HTCondor, real files; the ledger in SQLite and in Postgres."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pytest
import uproot

from include.campaign.states import JobStatus, Outcome, OutputState
from include.reports.writing import report_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.deployments import Site

RUN_LIMIT_S = 600.0
Found = TypeVar("Found")


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest) -> Site:
    return request.getfixturevalue(f"{request.param}_site")  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def quick(site: Site) -> tuple[Site, str]:
    """The quick campaign, run to its end."""
    site.api.wait_for_dag("demo.quick", limit_s=120)
    run_id = site.api.trigger("demo.quick")
    state = site.api.follow("demo.quick", run_id, limit_s=RUN_LIMIT_S)
    assert state == "success", failed_tasks(site, "demo.quick", run_id)
    return site, run_id


def failed_tasks(site: Site, dag_id: str, run_id: str) -> str:
    from embedded.demo import failures

    return failures(site.api, dag_id, run_id)


def wait_until(true: Callable[[], Found], what: str, limit_s: float = 120) -> Found:
    """Poll until the condition gives something true, and return it."""
    deadline = time.monotonic() + limit_s
    while not (found := true()):
        assert time.monotonic() < deadline, f"not after {limit_s} s: {what}"
        time.sleep(0.3)
    return found


def test_every_subrun_is_accepted_once_and_merged_in_order(quick: tuple[Site, str]) -> None:
    site, run_id = quick
    plan = site.ledger.plan_of("demo.quick", run_id)
    (item,) = site.ledger.slices_of("demo.quick", run_id)
    for row in site.ledger.stage_progress("demo.quick", run_id):
        assert (row.accepted, row.missing, row.unknown, row.duplicates) == (row.subruns, 0, 0, 0), row
    (merge,) = [stage for stage in plan.stages if stage.is_merge]
    merged = site.ledger.accepted_outputs(experiment="demo", run=item.run, stage=merge.name)
    # Removed since: cleanup takes what is merged and verified.
    parts = site.ledger.accepted_outputs(
        experiment="demo", run=item.run, stage=merge.merge.of_stage, removed=True
    )
    assert [output.first_subrun for output in parts] == list(range(plan.subruns))
    with uproot.open(merged[0].path) as file:
        tree = file[plan.stage(merge.merge.of_stage).outputs[0].tree]
        subrun, event, run = (tree[name].array(library="np") for name in ("subrun", "event", "run"))
    assert len(subrun) == sum(output.events for output in parts)
    assert set(run.tolist()) == {item.run}
    assert (np.diff(subrun) >= 0).all()
    assert len(set(zip(subrun.tolist(), event.tolist(), strict=True))) == len(subrun)


def test_the_jobs_ran_in_the_pool_with_their_tag(quick: tuple[Site, str]) -> None:
    site, run_id = quick
    for submission in site.ledger.submissions("demo.quick", run_id):
        ((schedd, cluster, jobs),) = submission.clusters
        listed = subprocess.run(
            ["condor_history", "-name", schedd, str(cluster), "-af", "ProdsysTag", "ExitCode"],
            env=site.deployment.environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.splitlines()
        assert listed == [f"{submission.tag} 0"] * jobs


def test_the_stage_logs_tell_what_happened(quick: tuple[Site, str]) -> None:
    site, run_id = quick
    submit = site.api.log("demo.quick", run_id, "slice.gen.submit", map_index=0)
    assert "jobsub_submit" in submit
    assert "demo.quick/" in submit
    wait = site.api.log("demo.quick", run_id, "slice.gen.wait", map_index=0)
    assert "every job has ended" in wait
    check = site.api.log("demo.quick", run_id, "slice.gen.check", map_index=0)
    assert "3 of 3" in check


def test_a_slices_tasks_are_named_by_its_run_and_what_they_found(quick: tuple[Site, str]) -> None:
    site, run_id = quick
    (item,) = site.ledger.slices_of("demo.quick", run_id)
    names = {task["task_id"]: task["rendered_map_index"] for task in site.api.tasks("demo.quick", run_id)}
    assert names["slice.gen.submit"] == f"run {item.run}"
    assert names["slice.gen.check"] == f"run {item.run}: 3/3 accepted"


def test_progress_was_sampled(quick: tuple[Site, str]) -> None:
    site, run_id = quick
    for submission in site.ledger.submissions("demo.quick", run_id):
        samples = site.ledger.progress(submission.tag)
        assert samples
        assert samples[-1].completed == len(submission.units)


def test_the_report_agrees_with_the_ledger(quick: tuple[Site, str]) -> None:
    site, run_id = quick
    html = report_path(site.deployment.area, "demo.quick", run_id)
    assert html.read_text(encoding="utf-8").count("<svg") == 2
    report = json.loads(html.with_suffix(".json").read_text(encoding="utf-8"))
    stages = {row["name"]: row for row in report["stages"]}
    for row in site.ledger.stage_progress("demo.quick", run_id):
        found = stages[row.stage]
        assert (found["subruns"], found["accepted"], found["missing"]) == (row.subruns, row.accepted, 0)
    sent = site.ledger.submissions("demo.quick", run_id)
    jobs = [job for each in sent for job in site.ledger.jobs(each.tag)]
    assert (report["total"]["submissions"], report["total"]["jobs"]["good"]) == (len(sent), len(jobs))
    assert report["total"]["jobs"]["wall_s"] == pytest.approx(sum(job.wall_s or 0 for job in jobs))
    assert report["finished"]


def test_clearing_submit_submits_nothing_again(quick: tuple[Site, str]) -> None:
    site, run_id = quick
    before = {item.tag: item.clusters for item in site.ledger.submissions("demo.quick", run_id)}
    site.api.clear("demo.quick", run_id, ["slice.gen.submit", "slice.gen.wait", "slice.gen.check"])
    assert site.api.follow("demo.quick", run_id, limit_s=RUN_LIMIT_S) == "success"
    assert {item.tag: item.clusters for item in site.ledger.submissions("demo.quick", run_id)} == before
    for tag, clusters in before.items():
        found = subprocess.run(
            [
                "condor_history",
                "-name",
                clusters[0][0],
                "-constraint",
                f'ProdsysTag == "{tag}"',
                "-af",
                "ClusterId",
            ],
            env=site.deployment.environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.split()
        assert set(found) == {str(clusters[0][1])}


def test_another_dag_run_takes_other_runs(quick: tuple[Site, str]) -> None:
    site, run_id = quick
    (first,) = site.ledger.slices_of("demo.quick", run_id)
    other = site.api.trigger("demo.quick", slices=2)
    assert site.api.follow("demo.quick", other, limit_s=RUN_LIMIT_S) == "success", failed_tasks(
        site, "demo.quick", other
    )
    runs = [item.run for item in site.ledger.slices_of("demo.quick", other)]
    assert len(set(runs)) == 2
    assert first.run not in runs


def test_a_broken_spec_is_its_own_import_error_and_hides_nothing(site: Site) -> None:
    site.api.wait_for_dag("demo.pythia", limit_s=120)
    wait_until(lambda: site.api.get("/importErrors")["import_errors"], "the import error")
    (error,) = site.api.get("/importErrors")["import_errors"]
    assert error["filename"].endswith("broken/typo.py")
    assert "typo.yaml:3:1" in error["stack_trace"]
    assert "stages" in error["stack_trace"]


def test_faults_are_seen_as_what_they_are(site: Site) -> None:
    """Of seven jobs one exits 7, one is killed, one makes too few events, one is held, one is removed."""
    site.api.wait_for_dag("faulty.faulty", limit_s=120)
    run_id = site.api.trigger("faulty.faulty")

    def submitted() -> tuple[str, str, int] | None:
        rows = [row for row in site.ledger.submissions("faulty.faulty", run_id, stage="gen") if row.clusters]
        return (rows[0].tag, *rows[0].clusters[0][:2]) if rows else None

    wait_until(submitted, "the submission of gen")
    tag, schedd, cluster = submitted() or ("", "", 0)
    environment = site.deployment.environment()

    def condor(*words: str) -> str:
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    condor("condor_hold", "-name", schedd, "-reason", "held by a test", f"{cluster}.5")
    condor("condor_rm", "-name", schedd, "-reason", "removed by a test", f"{cluster}.6")
    assert site.api.follow("faulty.faulty", run_id, limit_s=RUN_LIMIT_S) == "failed"
    jobs = {job.process: job for job in site.ledger.jobs(tag)}
    assert jobs[2].exit_code == 7
    assert (jobs[3].exit_code, jobs[3].exit_signal) in ((137, None), (None, 9))
    assert jobs[5].status is JobStatus.HELD
    assert "held by a test" in jobs[5].reason
    assert jobs[6].status is JobStatus.REMOVED
    verdicts = {(item.process, item.check): item for item in site.ledger.verdicts(tag)}
    for process, words in ((2, "exit code 7"), (3, "signal 9"), (5, "held"), (6, "removed")):
        verdict = verdicts[process, "exit"]
        assert verdict.outcome is Outcome.FAILED, verdict
        assert words in verdict.reason, verdict
        assert verdict.evidence
    assert verdicts[4, "root"].outcome is Outcome.FAILED
    assert "9" in verdicts[4, "root"].reason
    accepted = {
        output.first_subrun for output in site.ledger.outputs(tag) if output.state is OutputState.ACCEPTED
    }
    assert accepted == {0, 1}
    log = site.api.log("faulty.faulty", run_id, "slice.gen.check", map_index=0)
    assert "2 of 7" in log
    condor("condor_rm", "-name", schedd, str(cluster))


def test_a_stage_above_its_threshold_goes_on_without_the_subrun_that_failed(site: Site) -> None:
    """Subrun 1 of 0..3 fails: the merge has a hole, and clearing single tasks afterwards changes nothing."""
    site.api.wait_for_dag("faulty.partial", limit_s=120)
    run_id = site.api.trigger("faulty.partial")
    state = site.api.follow("faulty.partial", run_id, limit_s=RUN_LIMIT_S)
    assert state == "success", failed_tasks(site, "faulty.partial", run_id)
    (item,) = site.ledger.slices_of("faulty.partial", run_id)

    def merged() -> list[tuple[int, int]]:
        outputs = site.ledger.accepted_outputs(experiment="faulty", run=item.run, stage="merge_reco")
        return [(output.first_subrun, output.last_subrun) for output in outputs]

    assert merged() == [(0, 0), (2, 3)]
    rows = {row.stage: row for row in site.ledger.stage_progress("faulty.partial", run_id)}
    assert (rows["gen"].accepted, rows["gen"].missing) == (3, 1)
    kept = site.ledger.accepted_outputs(experiment="faulty", run=item.run, stage="gen")
    assert kept == [], "cleanup takes what is merged"
    for task in ("slice.merge_reco.plan", "slice.merge_reco.check", "slice.gen.wait", "slice.gen.check"):
        site.api.clear("faulty.partial", run_id, [task])
        state = site.api.follow("faulty.partial", run_id, limit_s=RUN_LIMIT_S)
        assert state == "success", failed_tasks(site, "faulty.partial", run_id)
        assert merged() == [(0, 0), (2, 3)]
