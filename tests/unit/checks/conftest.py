"""A submission on disk: what real jobs would have left, written with real files."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from include.batch.pool import JobAd
from include.bookkeeping.records import OutputRecord, Submission, Unit
from include.campaign.naming import area_of, submission_tag
from include.campaign.plan import CampaignPlan, MergePlan, OutputPlan, ResourcesPlan, StagePlan
from include.campaign.states import JobStatus, OutputState, SubmissionState
from include.checks.evidence import read_areas
from include.checks.judge import Judgement, judge

SCHEDD = "ap1@pool.test"
CLUSTER = 41
RUN = 1000
TAG = submission_tag(dag_id="demo.z", tranche="t1", run=RUN, stage="gen")
EVENTS = 20
NOW = 10_000.0
"""Long after all jobs ended."""


def sealed(document: dict[str, Any]) -> bytes:
    """Return a report as the job writes it."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return json.dumps({**document, "selfcheck": hashlib.sha256(text.encode()).hexdigest()}).encode()


def root_file(path: Path, *, run: object, subrun: object, tree: str = "events") -> None:
    """Write a ROOT file with a real TTree."""
    subruns = np.asarray(subrun, dtype=np.int64)
    with uproot.recreate(path) as file:
        written = file.mktree(tree, {"run": np.int64, "subrun": np.int64, "x": np.float64})
        if len(subruns):
            runs = np.broadcast_to(np.asarray(run, dtype=np.int64), subruns.shape)
            written.extend({"run": runs, "subrun": subruns, "x": np.sqrt(np.arange(len(subruns)))})


def job_ad(process: int, **changes: Any) -> JobAd:
    """Return the ad of a job that ended well."""
    ad = JobAd(
        schedd=SCHEDD,
        cluster=CLUSTER,
        process=process,
        global_job_id=f"{SCHEDD}#{CLUSTER}.{process}#1",
        tag=TAG,
        status=JobStatus.COMPLETED,
        exit_code=0,
        exit_signal=None,
        hold_code=None,
        hold_subcode=None,
        hold_reason=None,
        remove_reason=None,
        host="slot1@wn1",
        site=None,
        starts=1,
        shadow_starts=1,
        queued_at=900,
        started_at=1000,
        ended_at=1100,
        status_since=1100,
        wall_s=100.0,
        cpu_s=90.0,
        memory_mb=300,
    )
    return replace(ad, **changes)


@dataclass
class Site:
    """The areas of one submission, and what its jobs left."""

    plan: CampaignPlan
    stage: StagePlan
    submission: Submission
    ads: list[JobAd] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        return self._area(self.plan.logs)

    @property
    def outstage(self) -> Path:
        return self._area(self.plan.outstage)

    def _area(self, base: str) -> Path:
        tag = self.submission
        return Path(area_of(base, stage=tag.stage, run=tag.run, tag=tag.tag))

    def document(self, process: int, *, execution: str, files: list[Path], **changes: Any) -> dict[str, Any]:
        unit = self.submission.units[process]
        span = {"run": RUN, "first_subrun": unit.first_subrun, "last_subrun": unit.last_subrun}
        outputs = [
            {
                "name": output.name,
                "file": file.name,
                "path": str(self.outstage / execution / file.name),
                "size": len(content := file.read_bytes()),
                "sha256": hashlib.sha256(content).hexdigest(),
                "adler32": f"{zlib.adler32(content):08x}",
                "events": EVENTS,
                **span,
            }
            for output, file in zip(self.stage.outputs, files, strict=False)
        ]
        document: dict[str, Any] = {"version": 1, "tag": self.submission.tag, "execution": execution}
        document |= {"cluster": CLUSTER, "process": process, "schedd": SCHEDD, "global_job_id": "g"}
        document |= {"host": "wn1", "site": None, "node": {}, "started": 1000.0, "ended": 1100.0}
        document |= {"exit_code": 0, "exit_signal": None, "failed_at": None, "error": None}
        document |= {"cpu_s": 1.0, "max_rss_kb": 9, "outputs": outputs}
        document |= {"log": str(self.logs / execution / "job.log"), **span, **changes}
        return document

    def execute(  # noqa: PLR0913  each is another thing that a job may leave
        self,
        process: int,
        *,
        start: int = 1,
        log: str = "all went well\n",
        ad: JobAd | None = None,
        publish: bool = True,
        report: bool = True,
        subruns: list[int] | None = None,
        changes: dict[str, Any] | None = None,
        file: bytes | None = None,
    ) -> str:
        """Leave what one execution leaves, `file` as each output where it is given; returns its name."""
        execution = f"{CLUSTER}.{process}.{start}-{process:08x}"
        unit = self.submission.units[process]
        made: list[Path] = []
        if publish:
            folder = self.outstage / execution
            folder.mkdir(parents=True)
            for output in self.stage.outputs:
                made.append(folder / output.file_name.format(run=RUN, subrun=unit.first_subrun))
                if file is None:
                    root_file(made[-1], run=RUN, subrun=subruns or [unit.first_subrun] * EVENTS)
                else:
                    made[-1].write_bytes(file)
        document = self.document(process, execution=execution, files=made, **(changes or {}))
        if publish:
            keys = ("version", "tag", "execution", "cluster", "process", "schedd", "global_job_id", "run")
            spans = ("first_subrun", "last_subrun", "outputs")
            manifest = {key: document[key] for key in (*keys, *spans)}
            (self.outstage / execution / "manifest.json").write_bytes(sealed(manifest))
        told = self.logs / execution
        told.mkdir(parents=True)
        (told / "job.log").write_text(log)
        if report:
            (told / "report.json").write_bytes(sealed(document))
        self.ads.append(ad or job_ad(process))
        return execution

    def fail(self, process: int, code: int, *, log: str = "it broke\n", start: int = 1) -> str:
        """Leave what an execution leaves whose script ended with a code."""
        changes = {"exit_code": code, "failed_at": "script", "error": f"the script exited with {code}"}
        ad = job_ad(process, exit_code=code)
        return self.execute(process, start=start, log=log, ad=ad, publish=False, changes=changes)

    def judge(self, *, now: float = NOW, **more: Any) -> Judgement:
        area = read_areas(self.plan, self.submission)
        return judge(self.plan, self.stage, self.submission, ads=self.ads, area=area, now=now, **more)


def _stage(**changes: Any) -> StagePlan:
    stage = StagePlan(
        name="gen",
        parents=(),
        script="/spec/generate.py",
        arguments=(),
        files=(),
        environment=(),
        resources=ResourcesPlan(memory_mb=500, disk_kb=1000, cpus=1, lifetime_s=600),
        inputs=(),
        outputs=(
            OutputPlan(
                name="default",
                file_name="dts.demo.z.{run:06d}_{subrun:08d}.root",
                tree="events",
                events=EVENTS,
                keep="forever",
            ),
        ),
        checks=("exit", "outputs", "size", "checksum", "root"),
        success_threshold=0.9,
        hold_limit_s=60,
        unknown_limit_s=60,
        jobsub_options=(),
        merge=None,
    )
    return replace(stage, **changes)


@pytest.fixture
def make_site(tmp_path: Path):
    """Return a function that makes a site: units are subruns 0..jobs-1, or as given."""

    def make(jobs: int = 1, *, units: tuple[Unit, ...] | None = None, **changes: Any) -> Site:
        stage = _stage(**changes)
        plan = CampaignPlan(
            version=1,
            experiment="demo",
            campaign="z",
            description="",
            owner="demo",
            phase="commissioning",
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
            outstage=str(tmp_path / "out stage"),
            logs=str(tmp_path / "logs"),
            cleanup_script=None,
            spec_file="z.yaml",
            spec_sha256="0" * 64,
        )
        plain = tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(jobs))
        chosen = units or plain
        submission = Submission(
            tag=TAG,
            dag_id="demo.z",
            tranche="t1",
            run=RUN,
            stage="gen",
            recovery=0,
            state=SubmissionState.SUBMITTED,
            units=chosen,
            clusters=((SCHEDD, CLUSTER, len(chosen)),),
            work_dir=str(tmp_path),
            message="",
            intended_at=890.0,
            submitted_at=900.0,
        )
        return Site(plan=plan, stage=stage, submission=submission)

    return make


@pytest.fixture
def make_merge(make_site):
    """Return a function that makes the site of a merge of `subruns`, and the records of its inputs."""

    def make(
        subruns: list[int], *, counts: list[int | None] | None = None
    ) -> tuple[Site, list[OutputRecord]]:
        sources = [
            OutputRecord(
                execution=f"1.{subrun}.1-00000000",
                stage="reco",
                name="default",
                run=RUN,
                first_subrun=subrun,
                last_subrun=subrun,
                path=f"/in/{subrun}.root",
                size=1,
                sha256="0" * 64,
                adler32="0" * 8,
                events=events,
                state=OutputState.ACCEPTED,
            )
            for subrun, events in zip(subruns, counts or [EVENTS] * len(subruns), strict=True)
        ]
        paths = tuple(record.path for record in sources)
        unit = Unit(process=0, first_subrun=subruns[0], last_subrun=subruns[-1], inputs=(("files", paths),))
        merge = MergePlan(of_stage="reco", of_output="default", target_bytes=10**9, method="hadd")
        output = replace(_stage().outputs[0], events=None)
        return make_site(units=(unit,), merge=merge, script="", outputs=(output,)), sources

    return make


@pytest.fixture
def ad_of():
    """Return the function that makes ads."""
    return job_ad


@pytest.fixture
def seal():
    """Return the function that seals a report."""
    return sealed


@pytest.fixture
def write_root():
    """Return the function that writes ROOT files."""
    return root_file
