"""Stages overlap, and limits are kept, in real campaigns; proven by when the jobs ran."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_campaign import failed_tasks, wait_until

if TYPE_CHECKING:
    from tests.integration.deployments import Site

LIMIT_S = 600.0
FLOW, NARROW = "overlap.flow", "overlap.narrow"
SUBMIT = "slice.gen.submit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """When one job was in the queue, and when it ran, epoch seconds."""

    run: int
    stage: str
    queued: float
    started: float
    ended: float


@pytest.fixture(scope="session")
def timelines(sqlite_site: Site) -> dict[str, list[Ran]]:
    """Both campaigns, run side by side to their ends: dag_id → its jobs."""
    site, runs = sqlite_site, {}
    for dag_id in (FLOW, NARROW):
        site.api.wait_for_dag(dag_id, limit_s=120)
        runs[dag_id] = site.api.trigger(dag_id)
    try:
        wait_until(lambda: somebody_waits(site, runs[FLOW]), "a task to be told who has the room", LIMIT_S)
    finally:
        (site.deployment.area / "flow-go").touch()
    for dag_id, run_id in runs.items():
        state = site.api.follow(dag_id, run_id, limit_s=LIMIT_S)
        assert state == "success", failed_tasks(site, dag_id, run_id)
    return {dag_id: jobs_of(site, dag_id, run_id) for dag_id, run_id in runs.items()}


def somebody_waits(site: Site, run_id: str) -> bool:
    tasks = [each for each in site.api.tasks(FLOW, run_id) if each["task_id"] == SUBMIT]
    waiting = [each["map_index"] for each in tasks if each["state"] == "deferred"]
    return any("held by" in site.api.log(FLOW, run_id, SUBMIT, map_index=index) for index in waiting)


def jobs_of(site: Site, dag_id: str, run_id: str) -> list[Ran]:
    """Return the jobs of a dag_run by the ledger."""
    found = []
    for sent in site.ledger.submissions(dag_id, run_id):
        for job in site.ledger.jobs(sent.tag):
            assert job.queued_at is not None
            assert job.started_at is not None
            assert job.ended_at is not None
            found.append(
                Ran(
                    run=sent.run,
                    stage=sent.stage,
                    queued=job.queued_at,
                    started=job.started_at,
                    ended=job.ended_at,
                )
            )
    return found


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """Return how many of the spans overlap at most; one that begins when another ends does not overlap it."""
    changes = sorted([(end, -1) for _, end in spans] + [(begin, 1) for begin, _ in spans])
    there = most = 0
    for _, change in changes:
        there += change
        most = max(most, there)
    return most


def test_reco_of_a_slice_runs_while_gen_of_another_does(timelines: dict[str, list[Ran]]) -> None:
    jobs = timelines[FLOW]
    assert len(jobs) == 4 * 2 * 2
    overlapping = {
        (reco.run, gen.run)
        for reco in jobs
        for gen in jobs
        if (reco.stage, gen.stage) == ("reco", "gen")
        and reco.run != gen.run
        and min(reco.ended, gen.ended) > max(reco.started, gen.started)
    }
    assert overlapping
    for run in {job.run for job in jobs}:
        gen_ended = max(job.ended for job in jobs if (job.run, job.stage) == (run, "gen"))
        assert all(job.started >= gen_ended for job in jobs if (job.run, job.stage) == (run, "reco"))


def test_no_more_jobs_are_in_the_queue_than_the_limit(timelines: dict[str, list[Ran]]) -> None:
    assert most_at_once([(job.queued, job.ended) for job in timelines[FLOW]]) == 4


def test_with_one_slice_in_flight_no_two_slices_overlap(timelines: dict[str, list[Ran]]) -> None:
    jobs = timelines[NARROW]
    spans = sorted(
        (
            min(job.queued for job in jobs if job.run == run),
            max(job.ended for job in jobs if job.run == run),
        )
        for run in {job.run for job in jobs}
    )
    assert len(spans) == 3
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


@pytest.mark.usefixtures("timelines")
@pytest.mark.parametrize(
    ("dag_id", "words"),
    [
        (FLOW, "waits: 4 of 4 jobs of campaign overlap.flow are in flight, it has 2 more"),
        (NARROW, "waits: 1 of 1 slices of overlap.narrow are in flight"),
    ],
)
def test_the_log_of_who_waited_says_what_for(sqlite_site: Site, dag_id: str, words: str) -> None:
    run_id = sqlite_site.api.get(f"/dags/{dag_id}/dagRuns")["dag_runs"][0]["dag_run_id"]
    slices = sqlite_site.ledger.slices_of(dag_id, run_id)
    logs = [sqlite_site.api.log(dag_id, run_id, SUBMIT, map_index=each.index) for each in slices]
    waited = [log for log in logs if words in log]
    assert all("in the queue" in log for log in waited)
    assert any(
        "held by" in log for log in waited
    )  # not all: room may come before the first look at who has it
