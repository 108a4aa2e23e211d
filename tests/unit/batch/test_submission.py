"""Exactly once, with a jobsub_submit that lies, hangs or is killed half-way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FakeLedger, FakePool
from include.batch.jobsub import JobsubSubmitter
from include.batch.pool import ClusterId, SubmitRequest
from include.batch.submission import SubmitLimits, submit_once
from include.bookkeeping.records import Submission, Unit
from include.campaign.states import SubmissionState
from include.errors import LedgerError, MissingTool, SubmissionAmbiguous, SubmissionRefused

if TYPE_CHECKING:
    from collections.abc import Callable

TAG = "demo.z/t1/001000/gen/recovery-0"
AP1 = "ap1@fake"


@dataclass
class Clock:
    """Time that passes only by sleeping."""

    at: float = field(default_factory=time.time)
    during: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.during()


@dataclass
class World:
    """One submission and what it works with."""

    folder: Path
    pool: FakePool
    ledger: FakeLedger
    clock: Clock
    limits: SubmitLimits = field(
        default_factory=lambda: SubmitLimits(timeout_s=20, grace_s=30, search_every_s=3)
    )
    late_s: float = 0

    def submitter(self, mode: str) -> JobsubSubmitter:
        program = self.folder / "jobsub_submit"
        if not program.exists():
            script = Path(__file__).with_name("jobsub_program.py")
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
            program.chmod(0o755)
        environment = {"MODE": mode, "POOL": str(self.folder / "pool.json"), "LATE_S": str(self.late_s)}
        return JobsubSubmitter(program=str(program), environment=environment)

    def run(self, mode: str) -> Submission:
        return submit_once(
            ledger_port=self.ledger,
            pool=self.pool,
            submitter=self.submitter(mode),
            request=request(),
            submission=self.row,
            now=self.clock.now,
            sleep=self.clock.sleep,
            limits=self.limits,
        )

    @property
    def row(self) -> Submission:
        return self.ledger.rows[TAG]

    def clusters(self) -> tuple[ClusterId, ...]:
        return self.pool.find_tag_in(AP1, TAG)

    def started(self) -> bool:
        return (self.folder / "pool.started").exists()


def request() -> SubmitRequest:
    return SubmitRequest(
        executable="/opt/prodsys_job.py",
        arguments=("run", "job.json"),
        jobs=2,
        group="demo",
        role=None,
        tag=TAG,
        memory_mb=500,
        disk_kb=1024,
        cpus=1,
        lifetime_s=600,
        files=(),
        environment=(),
        options=(),
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    clock = Clock()
    row = Submission(
        tag=TAG,
        dag_id="demo.z",
        tranche="t1",
        run=1000,
        stage="gen",
        recovery=0,
        state=SubmissionState.INTENDED,
        units=tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(2)),
        clusters=(),
        work_dir=str(tmp_path / "work dir"),
        message="",
        intended_at=clock.at,
        submitted_at=None,
    )
    return World(tmp_path, FakePool(str(tmp_path / "pool.json"), (AP1, "ap2@fake")), FakeLedger(row), clock)


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
    world.limits = replace(world.limits, timeout_s=2)
    row = world.run(mode)
    assert row.state is SubmissionState.SUBMITTED
    assert row.clusters == ((AP1, 1, 2),)


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
            now=world.clock.now,
            sleep=world.clock.sleep,
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


def test_jobs_that_show_late_are_adopted(world: World) -> None:
    began, seen = world.clock.at, []

    def appear() -> None:
        if world.clock.at >= began + 10 and not seen:
            seen.append(world.pool.submit("ap2@fake", TAG, 2))

    world.clock.during = appear
    assert world.run("vanish").clusters == (("ap2@fake", 1, 2),)


def test_two_clusters_are_for_a_person(world: World) -> None:
    with pytest.raises(LedgerError, match=r"1@ap1@fake, 2@ap1@fake"):
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
    gone = world.submitter("silent")

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
            now=world.clock.now,
            sleep=world.clock.sleep,
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
            now=world.clock.now,
            sleep=world.clock.sleep,
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
            now=world.clock.now,
            sleep=world.clock.sleep,
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


class RealClock(Clock):
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

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
