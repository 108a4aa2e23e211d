"""How long the check task's review of 10,000 reported jobs takes, and what opening their ROOT files adds.

Run: python benchmarks/bench_checks.py [JOBS]. It fails where the review opens a log, takes
longer than 10 s of CPU for up to 10,000 jobs, or the process more than 500 MB.
"""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import uproot

from benchmarks.left_behind import Left, leave
from include.batch.fake import FakePool
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.records import Slice, Submission, Unit
from include.campaign.naming import submission_tag
from include.campaign.plan import CampaignPlan, OutputPlan, ResourcesPlan, StagePlan
from include.campaign.states import JobStatus
from include.checks.evidence import read_areas
from include.checks.judge import judge
from include.recovery.review import Tools, review_stage
from include.recovery.standing import standing_of
from include.triage.classify import Triage

RUN, EVENTS, SCHEDD, CLUSTER = 1000, 100, "ap1@pool.test", 1
TAG = submission_tag(dag_id="demo.z", tranche="bench", run=RUN, stage="gen")
LEFT = Left(tag=TAG, run=RUN, schedd=SCHEDD, cluster=CLUSTER)
MOST_JOBS, MOST_S, MOST_MB = 10_000, 10.0, 500.0
"""The review of so many jobs may take so long, and the whole process so much memory."""
_logs_opened: list[str] = []


def plan_in(base: Path, jobs: int) -> CampaignPlan:
    """Return a plan of one stage with one output."""
    output = OutputPlan(
        name="default",
        file_name="a.{run:06d}_{subrun:08d}.root",
        tree="events",
        events=EVENTS,
        keep="forever",
    )
    stage = StagePlan(
        name="gen",
        parents=(),
        script="/spec/generate.py",
        arguments=(),
        files=(),
        environment=(),
        resources=ResourcesPlan(memory_mb=1, disk_kb=1, cpus=1, lifetime_s=1),
        inputs=(),
        outputs=(output,),
        checks=("exit", "outputs", "size"),
        success_threshold=0.9,
        hold_limit_s=1,
        unknown_limit_s=1,
        jobsub_options=(),
        merge=None,
    )
    return CampaignPlan(
        version=1,
        experiment="demo",
        campaign="z",
        description="",
        owner="demo",
        phase="production",
        tags=(),
        schedule=None,
        group="demo",
        role=None,
        first_run=RUN,
        last_run=RUN,
        slices=1,
        subruns=jobs,
        first_subrun=0,
        stages=(stage,),
        outstage=str(base / "outstage"),
        logs=str(base / "logs"),
        cleanup_script=None,
        spec_file="z.yaml",
        spec_sha256="0" * 64,
    )


def submit(ledger: Ledger, pool: FakePool, plan: CampaignPlan) -> tuple[Slice, Submission]:
    """Record a submission of one cluster in the ledger, and let its jobs complete with exit code 0."""
    (item,) = ledger.reserve(plan, tranche="bench", dag_run_id="bench", slices=1, now=0.0)
    units = tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(plan.subruns))
    ledger.intend(
        tag=TAG,
        dag_id="demo.z",
        tranche="bench",
        run=RUN,
        stage="gen",
        recovery=0,
        units=units,
        work_dir="/tmp",  # noqa: S108
        now=0.0,
    )
    cluster = pool.submit(SCHEDD, TAG, plan.subruns)
    assert cluster == CLUSTER
    pool.set_status(SCHEDD, cluster, JobStatus.COMPLETED, since=3.0, exit_code=0)
    ledger.record_submitted(TAG, clusters=((SCHEDD, cluster, plan.subruns),), message="", now=1.0)
    submission = ledger.submission(TAG)
    assert submission is not None
    return item, submission


def root_file(path: Path) -> bytes:
    """Return the bytes of a small ROOT file of subrun 0."""
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {"run": np.int64, "subrun": np.int64})
        tree.extend({"run": np.full(EVENTS, RUN), "subrun": np.zeros(EVENTS, dtype=np.int64)})
    return path.read_bytes()


def watch_logs() -> None:
    """Note each opening of a log from now on."""

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith("job.log"):
            _logs_opened.append(str(arguments[0]))

    sys.addaudithook(note)


def now() -> tuple[float, float]:
    """Return the time by the clock, and of CPU: a busy machine shows in the first alone."""
    return time.perf_counter(), time.process_time()


def timed(what: str, since: tuple[float, float]) -> float:
    """Print how long something took, and return the CPU time."""
    took, cpu = (later - before for later, before in zip(now(), since, strict=True))
    print(f"{what}: {took:.2f} s, {cpu:.2f} s of CPU", flush=True)
    return cpu


def time_review(tools: Tools, plan: CampaignPlan, item: Slice) -> None:
    """Time what the check task does, the first time and again; fail beyond the limits."""
    stage, jobs = plan.stages[0], plan.subruns
    for what in ("reviewing", "reviewing again"):
        _logs_opened.clear()
        start = now()
        (reviewed,) = review_stage(tools, plan, stage, item)
        took = timed(f"{what} {jobs} jobs that reported, ledger included", start)
        assert all(unit.state.value == "accepted" for unit in reviewed.judgement.units)
        assert not _logs_opened, f"{len(_logs_opened)} logs were opened, {_logs_opened[0]} first"
        assert jobs > MOST_JOBS or took <= MOST_S, f"{took:.1f} s, more than {MOST_S:g}"
    start = now()
    assert len(standing_of(tools.ledger, plan, stage, item).accepted) == jobs
    timed(f"how the stage stands, {jobs} jobs", start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"most memory of the process: {peak:.0f} MB", flush=True)
    assert jobs > MOST_JOBS or peak <= MOST_MB, f"{peak:.0f} MB, more than {MOST_MB:g}"


def time_judging(plan: CampaignPlan, submission: Submission, pool: FakePool, content: bytes) -> None:
    """Time the parts of a check, and what reading the files adds."""
    jobs = plan.subruns
    ads = pool.ads(SCHEDD, [CLUSTER])
    start = now()
    area = read_areas(plan, submission)
    timed(f"reading {jobs} reports", start)
    start = now()
    judgement = judge(plan, plan.stages[0], submission, ads=ads, area=area, now=time.time())
    timed(f"judging {jobs} jobs by exit, outputs, size", start)
    assert len(judgement.accept) == jobs
    for checks in (("exit", "outputs", "size", "checksum"), ("exit", "outputs", "size", "root")):
        few = min(jobs, 500)
        part = replace(submission, units=submission.units[:few])
        some = replace(area, reports=tuple(report for report in area.reports if report.unit < few))
        stage = replace(plan.stages[0], checks=checks)
        start = now()
        judge(plan, stage, part, ads=ads[:few], area=some, now=time.time())
        timed(f"judging {few} jobs with {checks[-1]} as well ({len(content)}-byte files)", start)


def main(jobs: int) -> None:
    """Write the areas, then time the review and each part of it."""
    base = Path(tempfile.mkdtemp(prefix="bench-checks-"))
    try:
        plan, pool = plan_in(base, jobs), FakePool(str(base / "pool.json"), (SCHEDD,))
        content = root_file(base / "a.root")
        for process in range(jobs):
            leave(plan, plan.stages[0], LEFT, process, content)
        watch_logs()
        with Ledger(f"sqlite:///{base / 'ledger.db'}") as ledger:
            ledger.upgrade()
            item, submission = submit(ledger, pool, plan)
            time_review(Tools(ledger=ledger, pool=pool, triage=Triage.load(), clock=time.time), plan, item)
        time_judging(plan, submission, pool, content)
        shutil.rmtree(plan.logs)
        for process in range(jobs):
            leave(plan, plan.stages[0], LEFT, process, content, code=137)
        ads = pool.ads(SCHEDD, [CLUSTER])
        _logs_opened.clear()
        start = now()
        judge(plan, plan.stages[0], submission, ads=ads, area=read_areas(plan, submission), now=time.time())
        timed(f"reading and judging {jobs} failed jobs, with the last line of each log", start)
        assert len(set(_logs_opened)) == jobs, "the openings of logs are not seen"
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
