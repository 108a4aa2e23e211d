"""One submission with a pool, a ledger and a clock of its own."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FakeLedger, FakePool
from include.batch.jobsub import JobsubSubmitter
from include.batch.pool import ClusterId, SubmitAnswer, SubmitRequest, Submitter
from include.batch.steady_time import Clock, SteadyTime
from include.batch.submission import SubmitLimits, submit_once
from include.bookkeeping.records import Submission, Unit
from include.campaign.states import SubmissionState

if TYPE_CHECKING:
    from collections.abc import Callable

TAG = "demo.z/t1/001000/gen/recovery-0"
AP1 = "ap1@fake"


@dataclass
class Time:
    """Time that passes only by sleeping; `at` may be set, as a machine's clock is."""

    at: float = field(default_factory=time.time)
    passed: float = 0.0
    boot: str = "this one"
    during: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.passed += seconds
        self.during()

    def steady(self) -> SteadyTime:
        return SteadyTime(boot=self.boot, seconds=self.passed)

    def clock(self) -> Clock:
        return Clock(now=self.now, sleep=self.sleep, steady=self.steady)


@dataclass(frozen=True, kw_only=True)
class _Telling(JobsubSubmitter):
    """Says when jobsub_submit has been run."""

    then: Callable[[], object]

    def submit(self, request: SubmitRequest, *, timeout_s: float) -> SubmitAnswer:
        try:
            return super().submit(request, timeout_s=timeout_s)
        finally:
            self.then()


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


@dataclass
class World:
    """One submission and what it works with."""

    folder: Path
    pool: FakePool
    ledger: FakeLedger
    clock: Time
    limits: SubmitLimits = field(
        default_factory=lambda: SubmitLimits(timeout_s=20, grace_s=30, search_every_s=3)
    )
    late_s: float = 0
    on_submit: Callable[[], object] = lambda: None
    """Called when jobsub_submit has been run."""
    request: SubmitRequest = field(default_factory=request)

    def submitter(self, mode: str) -> Submitter:
        return self.jobsub(mode)

    def jobsub(self, mode: str) -> JobsubSubmitter:
        program = self.folder / "jobsub_submit"
        if not program.exists():
            script = Path(__file__).with_name("jobsub_program.py")
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
            program.chmod(0o755)
        settings = {"MODE": mode, "POOL": str(self.folder / "pool.json"), "LATE_S": str(self.late_s)}
        environment = {**os.environ, **settings}
        return _Telling(program=str(program), environment=environment, then=self.on_submit)

    def put_work_dir(self, folder: Path) -> None:
        self.ledger.rows[TAG] = replace(self.row, work_dir=str(folder))

    def run(self, mode: str) -> Submission:
        return submit_once(
            ledger_port=self.ledger,
            pool=self.pool,
            submitter=self.submitter(mode),
            request=self.request,
            submission=self.row,
            clock=self.clock.clock(),
            limits=self.limits,
        )

    @property
    def row(self) -> Submission:
        return self.ledger.rows[TAG]

    def clusters(self) -> tuple[ClusterId, ...]:
        return self.pool.find_tag_in(AP1, TAG)

    def started(self) -> bool:
        return (self.folder / "pool.started").exists()


@pytest.fixture
def world(tmp_path: Path) -> World:
    clock = Time()
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


@pytest.fixture
def fake(tmp_path: Path) -> FakePool:
    return FakePool(str(tmp_path / "pool.json"))
