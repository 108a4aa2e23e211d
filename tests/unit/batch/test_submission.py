"""Exactly once, with a jobsub_submit that lies, hangs or is killed half-way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include import errors
from include.batch.fake import FakePool
from include.batch.jobsub import JobsubSubmitter
from include.batch.steady_time import SteadyTime, steady_time
from include.batch.submission import SubmitLimits, submit_once
from include.campaign.states import JobStatus, SubmissionState
from include.errors import (
    LedgerError,
    MissingTool,
    ScheddUnreachable,
    SubmissionAmbiguous,
    SubmissionRefused,
)
from tests.unit.batch.conftest import AP1, TAG, Time, World, request

if TYPE_CHECKING:
    from collections.abc import Collection

    from include.batch.pool import JobAd, SubmitRequest


def test_submits_and_records(world: World) -> None:
    row = world.run("ok")
    assert row.state is SubmissionState.SUBMITTED
    assert row.clusters == ((AP1, 1, 2),)
    assert "Use job id 1.0" in row.message
    assert "jobsub_submit -G demo" in (Path(row.work_dir) / "command").read_text()


def test_again_submits_nothing(world: World) -> None:
    first = world.run("ok")
    assert world.run("ok") == first
    assert len(world.clusters()) == 1


def test_adopts_what_a_lost_ledger_forgot(world: World) -> None:
    cluster = world.pool.submit("ap2@fake", TAG, 2)
    row = world.run("ok")
    assert row.clusters == (("ap2@fake", cluster, 2),)
    assert "adopted" in row.message
    assert not world.started()


@pytest.mark.parametrize("mode", ["silent", "lie", "hang"])
def test_adopts_what_jobsub_did_not_own_up_to(world: World, mode: str) -> None:
    world.limits = replace(world.limits, timeout_s=6)
    row = world.run(mode)
    assert row.state is SubmissionState.SUBMITTED
    assert row.clusters == ((AP1, 1, 2),)


@pytest.mark.parametrize("jobs", [1, 3])
def test_cluster_with_another_number_of_jobs_is_not_adopted(world: World, jobs: int) -> None:
    cluster = world.pool.submit("ap2@fake", TAG, jobs)
    for _ in range(2):
        with pytest.raises(LedgerError, match=rf"2 jobs were to be .*\n.*{cluster}@ap2@fake has {jobs} job"):
            world.run("ok")
    assert world.row.state is SubmissionState.INTENDED
    assert world.row.clusters == ()
    assert not world.started()


def test_cluster_whose_jobs_cannot_be_counted_is_not_adopted(world: World) -> None:
    cluster = world.pool.submit("ap2@fake", TAG, 2)

    class Falters(FakePool):
        def ads(self, schedd: str, clusters: Collection[int]) -> list[JobAd]:
            raise ScheddUnreachable(f"{schedd} did not answer for {clusters}")

    able = world.pool
    world.pool = Falters(str(world.folder / "pool.json"))
    with pytest.raises(SubmissionAmbiguous, match=r"ap2@fake did not answer"):
        world.run("ok")
    assert world.row.state is SubmissionState.INTENDED
    world.pool = able
    assert world.run("ok").clusters == (("ap2@fake", cluster, 2),)
    assert not world.started()


def test_refused_and_cleared(world: World) -> None:
    with pytest.raises(SubmissionRefused, match=r"on hold"):
        world.run("refuse")
    assert world.row.state is SubmissionState.REFUSED
    assert "on hold" in world.row.message
    assert world.run("ok").state is SubmissionState.SUBMITTED
    assert len(world.clusters()) == 1


def test_bad_request_is_refused_without_a_search(world: World) -> None:
    bad = replace(request(), options=("--dag",))
    with pytest.raises(SubmissionRefused, match=r"DAG"):
        submit_once(
            ledger_port=world.ledger,
            pool=world.pool,
            submitter=world.submitter("ok"),
            request=bad,
            submission=world.row,
            clock=world.clock.clock(),
        )
    assert world.row.state is SubmissionState.REFUSED
    assert not world.started()


def test_ambiguous_stays_intended_and_the_next_try_submits(world: World) -> None:
    began = world.clock.at
    with pytest.raises(SubmissionAmbiguous):
        world.run("vanish")
    assert world.clock.at >= began + world.limits.grace_s
    assert world.row.state is SubmissionState.INTENDED
    assert world.run("ok").state is SubmissionState.SUBMITTED
    assert len(world.clusters()) == 1


def test_absence_is_proven_only_by_every_schedd(world: World) -> None:
    with pytest.raises(SubmissionAmbiguous):
        world.run("vanish")
    (world.folder / "pool.started").unlink()
    world.pool.set_schedd("ap2@fake", up=False)
    for _ in range(3):
        world.clock.at += 100 * 86_400
        with pytest.raises(SubmissionAmbiguous, match=r"ap2@fake"):
            world.run("ok")
    assert not world.started()
    world.pool.set_schedd("ap2@fake", up=True)
    assert world.run("ok").state is SubmissionState.SUBMITTED
    assert len(world.clusters()) == 1


def test_absence_counts_only_after_a_killed_try_must_be_over(world: World) -> None:
    """A note without an end: jobsub_submit may run for its time-out, and its jobs show within the grace."""
    began = world.clock.at
    work = Path(world.row.work_dir)
    work.mkdir()
    note = {"started": began, "ended": None, "timeout_s": 600, "schedds": [AP1, "ap2@fake"]}
    (work / "submit.json").write_text(json.dumps(note))
    world.clock.during = lambda: _assert(not world.started())
    world.run("ok")
    assert world.clock.at >= began + 600 + world.limits.grace_s


def test_what_a_person_removed_ends_no_search_for_what_a_killed_try_may_bring(world: World) -> None:
    cluster = world.pool.submit(AP1, TAG, 1)  # a part of it, which a person had removed
    world.pool.set_status(AP1, cluster, JobStatus.REMOVED)
    began = world.clock.at
    work = Path(world.row.work_dir)
    work.mkdir()
    note = {"started": began, "ended": None, "timeout_s": 600, "schedds": [AP1, "ap2@fake"]}
    (work / "submit.json").write_text(json.dumps(note))

    def arrives_late() -> None:
        if world.clock.at >= began + 500 and len(world.clusters()) == 1:
            world.pool.submit(AP1, TAG, 2)

    world.clock.during = arrives_late
    row = world.run("ok")
    assert not world.started()
    assert row.clusters == ((AP1, cluster + 1, 2),)


def _assert(condition: bool) -> None:
    assert condition


def test_default_grace() -> None:
    assert SubmitLimits().grace_s == 120


def test_what_ambiguous_says_agrees_with_what_is_done(world: World) -> None:
    with pytest.raises(SubmissionAmbiguous, match=r"submits only once every schedd has answered"):
        world.run("vanish")
    for text in (errors.__doc__, SubmissionAmbiguous.__doc__, submit_once.__doc__):
        assert text is not None
        assert "never submit again" not in text
    assert "next try submits only if every schedd answers" in str(SubmissionAmbiguous.__doc__)
    assert "every schedd then answers" in str(submit_once.__doc__)


def test_jobs_that_show_late_are_adopted(world: World) -> None:
    began, seen = world.clock.at, []

    def appear() -> None:
        if world.clock.at >= began + 10 and not seen:
            seen.append(world.pool.submit("ap2@fake", TAG, 2))

    world.clock.during = appear
    assert world.run("vanish").clusters == (("ap2@fake", 1, 2),)


def test_two_clusters_are_for_a_person(world: World) -> None:
    with pytest.raises(
        LedgerError, match=r"1@ap1@fake has .*; 2@ap1@fake has .*\n.*several jobs for units 0-1"
    ):
        world.run("twice")
    assert world.row.state is SubmissionState.INTENDED
    with pytest.raises(LedgerError):
        world.run("ok")
    assert len(world.clusters()) == 2


def test_unreachable_schedd_stops_everything(world: World) -> None:
    world.pool.set_schedd("ap2@fake", up=False)
    with pytest.raises(SubmissionAmbiguous, match=r"ap2@fake"):
        world.run("ok")
    assert not world.started()
    assert world.row.state is SubmissionState.INTENDED


def test_schedd_that_left_the_collector_with_the_jobs(world: World) -> None:
    """A schedd that is down is no longer listed, and its jobs come back with it."""
    world.clock.during = lambda: world.pool.set_schedd(AP1, listed=False)
    world.pool.set_schedd(AP1, up=True)
    gone = world.jobsub("silent")

    class Leaves(JobsubSubmitter):
        def submit(self, request: SubmitRequest, *, timeout_s: float) -> object:  # type: ignore[override]
            try:
                return gone.submit(request, timeout_s=timeout_s)
            finally:
                world.pool.set_schedd(AP1, listed=False)

    with pytest.raises(SubmissionAmbiguous, match=r"ap1@fake.*not in the collector"):
        submit_once(
            ledger_port=world.ledger,
            pool=world.pool,
            submitter=Leaves(program=gone.program, environment=gone.environment),
            request=request(),
            submission=world.row,
            clock=world.clock.clock(),
            limits=world.limits,
        )
    with pytest.raises(SubmissionAmbiguous, match=r"not in the collector"):
        world.run("ok")
    world.clock.during = lambda: None
    world.pool.set_schedd(AP1, listed=True)
    assert world.run("ok").clusters == ((AP1, 1, 2),)
    assert len(world.clusters()) == 1


def test_missing_program_leaves_no_doubt(world: World) -> None:
    absent = JobsubSubmitter(program="jobsub_submit_that_is_not_there")
    with pytest.raises(MissingTool):
        submit_once(
            ledger_port=world.ledger,
            pool=world.pool,
            submitter=absent,
            request=request(),
            submission=world.row,
            clock=world.clock.clock(),
        )
    began = world.clock.at
    assert world.run("ok").state is SubmissionState.SUBMITTED
    assert world.clock.at == began, "there was nothing to wait for"


def test_missing_row(world: World) -> None:
    row = world.row
    del world.ledger.rows[TAG]
    with pytest.raises(LedgerError, match=r"no intent"):
        submit_once(
            ledger_port=world.ledger,
            pool=world.pool,
            submitter=world.submitter("ok"),
            request=request(),
            submission=row,
            clock=world.clock.clock(),
        )
    assert not world.started()


def test_broken_note_stops_everything(world: World) -> None:
    work = Path(world.row.work_dir)
    work.mkdir()
    (work / "submit.json").write_text('{"started": 1')
    with pytest.raises(SubmissionAmbiguous, match=r"submit\.json cannot be read"):
        world.run("ok")
    assert not world.started()


def _first_try(world: World, mode: str) -> None:
    os.setpgid(0, 0)
    world.run(mode)


@pytest.mark.parametrize("dies_after", ["start", "submit"])
def test_killed_worker_is_followed_by_exactly_one_cluster(world: World, dies_after: str) -> None:
    """The task is killed, jobsub_submit goes on alone, and may submit after the next try began."""
    world.late_s = 1.5 if dies_after == "start" else 0
    mode = "late" if dies_after == "start" else "hang"
    process = multiprocessing.get_context("fork").Process(target=_first_try, args=(world, mode))
    process.start()
    reached = world.started if dies_after == "start" else world.clusters
    end = time.monotonic() + 20
    while not reached():
        time.sleep(0.02)
        assert time.monotonic() < end
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    jobsub = int((world.folder / "pool.started").read_text())
    assert Path(f"/proc/{jobsub}").exists(), "jobsub_submit outlives the task"
    world.clock = RealClock()
    try:
        row = world.run("ok")
    finally:
        if dies_after == "submit":
            os.killpg(os.getpgid(jobsub), signal.SIGKILL)
    assert row.clusters == ((AP1, 1, 2),)
    assert len(world.clusters()) == 1


class RealClock(Time):
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

    def steady(self) -> SteadyTime:
        return steady_time()

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.2))


def test_two_tries_at_once_submit_once(world: World) -> None:
    """The second waits for the lock; each has its own copy of the ledger, so only the tag tells."""
    world.clock, world.late_s = RealClock(), 0.7
    context = multiprocessing.get_context("fork")
    tries = [context.Process(target=world.run, args=("late",)) for _ in range(2)]
    for each in tries:
        each.start()
    for each in tries:
        each.join(60)
    assert [each.exitcode for each in tries] == [0, 0]
    assert len(world.clusters()) == 1
