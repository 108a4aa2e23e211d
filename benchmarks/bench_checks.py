"""How long a check of 10,000 reported jobs takes, and what opening their ROOT files adds.

Run: python benchmarks/bench_checks.py [JOBS]
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import uproot

from include.batch.pool import JobAd
from include.bookkeeping.records import Submission, Unit
from include.campaign.naming import area_of, submission_tag
from include.campaign.plan import CampaignPlan, OutputPlan, ResourcesPlan, StagePlan
from include.campaign.states import JobStatus, SubmissionState
from include.checks.evidence import read_areas
from include.checks.judge import judge
from include.checks.summary import summarise

RUN, EVENTS, SCHEDD = 1000, 100, "ap1@pool.test"
TAG = submission_tag(dag_id="demo.z", tranche="bench", run=RUN, stage="gen")


def plan_in(base: Path) -> CampaignPlan:
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
        subruns=1,
        first_subrun=0,
        stages=(stage,),
        outstage=str(base / "outstage"),
        logs=str(base / "logs"),
        cleanup_script=None,
        spec_file="z.yaml",
        spec_sha256="0" * 64,
    )


def submission_of(jobs: int) -> Submission:
    """Return a submission of one cluster."""
    return Submission(
        tag=TAG,
        dag_id="demo.z",
        tranche="bench",
        run=RUN,
        stage="gen",
        recovery=0,
        state=SubmissionState.SUBMITTED,
        units=tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(jobs)),
        clusters=((SCHEDD, 41, jobs),),
        work_dir="/tmp",  # noqa: S108
        message="",
        intended_at=0.0,
        submitted_at=1.0,
    )


def ad_of(process: int, code: int) -> JobAd:
    """Return a job's ad as history has it."""
    return JobAd(
        schedd=SCHEDD,
        cluster=41,
        process=process,
        global_job_id=f"{SCHEDD}#41.{process}#1",
        tag=TAG,
        status=JobStatus.COMPLETED,
        exit_code=code,
        exit_signal=None,
        hold_code=None,
        hold_subcode=None,
        hold_reason=None,
        remove_reason=None,
        host="slot1@wn1",
        site=None,
        starts=1,
        shadow_starts=1,
        queued_at=1,
        started_at=2,
        ended_at=3,
        status_since=3,
        wall_s=1.0,
        cpu_s=1.0,
        memory_mb=1,
    )


def leave(plan: CampaignPlan, process: int, code: int, content: bytes) -> None:
    """Write what one job leaves."""
    name = f"41.{process}.1-{process:08x}"
    logs, outstage = (
        Path(area_of(base, stage="gen", run=RUN, tag=TAG)) / name for base in (plan.logs, plan.outstage)
    )
    logs.mkdir(parents=True)
    span = {"run": RUN, "first_subrun": process, "last_subrun": process}
    file = f"a.{RUN:06d}_{process:08d}.root"
    outputs = []
    if code == 0:
        outstage.mkdir(parents=True)
        (outstage / file).write_bytes(content)
        told = {"sha256": hashlib.sha256(content).hexdigest(), "adler32": f"{zlib.adler32(content):08x}"}
        place = {"name": "default", "file": file, "path": str(outstage / file), "size": len(content)}
        outputs.append({**place, **told, **span, "events": EVENTS})
    report: dict[str, object] = {
        "version": 1,
        "tag": TAG,
        "execution": name,
        "cluster": 41,
        "process": process,
    }
    report |= {"schedd": SCHEDD, "global_job_id": "g", "host": "wn1", "site": None, "node": {"cpus": 8}}
    report |= {"started": 2.0, "ended": 3.0, "exit_code": code, "exit_signal": None, "error": None, **span}
    report |= {"failed_at": "script" if code else None, "cpu_s": 1.0, "max_rss_kb": 1, "outputs": outputs}
    text = json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    report["selfcheck"] = hashlib.sha256(text.encode()).hexdigest()
    (logs / "report.json").write_text(json.dumps(report))
    (logs / "job.log").write_text("starting\nKilled\n")


def root_file(path: Path) -> bytes:
    """Return the bytes of a small ROOT file of subrun 0."""
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {"run": np.int64, "subrun": np.int64})
        tree.extend({"run": np.full(EVENTS, RUN), "subrun": np.zeros(EVENTS, dtype=np.int64)})
    return path.read_bytes()


def timed(what: str, since: float) -> None:
    """Print how long something took."""
    print(f"{what}: {time.perf_counter() - since:.2f} s", flush=True)


def main(jobs: int) -> None:
    """Write the areas, then time each part of a check."""
    base = Path(tempfile.mkdtemp(prefix="bench-checks-"))
    try:
        plan, submission = plan_in(base), submission_of(jobs)
        content = root_file(base / "a.root")
        for process in range(jobs):
            leave(plan, process, 0, content)
        ads = [ad_of(process, 0) for process in range(jobs)]
        start = time.perf_counter()
        area = read_areas(plan, submission)
        timed(f"reading {jobs} reports", start)
        start = time.perf_counter()
        judgement = judge(plan, plan.stages[0], submission, ads=ads, area=area, now=time.time())
        timed(f"judging {jobs} jobs by exit, outputs, size", start)
        assert len(judgement.accept) == jobs
        start = time.perf_counter()
        summarise(judgement, plan.stages[0])
        timed("summary", start)
        for checks in (("exit", "outputs", "size", "checksum"), ("exit", "outputs", "size", "root")):
            few = min(jobs, 500)
            part = replace(submission, units=submission.units[:few])
            some = replace(area, reports=tuple(report for report in area.reports if report.unit < few))
            start = time.perf_counter()
            judge(
                plan, replace(plan.stages[0], checks=checks), part, ads=ads[:few], area=some, now=time.time()
            )
            timed(f"judging {few} jobs with {checks[-1]} as well ({len(content)}-byte files)", start)
        shutil.rmtree(plan.logs)
        for process in range(jobs):
            leave(plan, process, 137, content)
        start = time.perf_counter()
        judge(plan, plan.stages[0], submission, ads=ads, area=read_areas(plan, submission), now=time.time())
        timed(f"reading and judging {jobs} failed jobs, with the last line of each log", start)
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
