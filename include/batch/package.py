"""What one submission sends: its folder with job.json, and the request to jobsub."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import include.worker
from include.batch.pool import LauncherCall, SubmitRequest
from include.bookkeeping.records import AS_PLANNED
from include.campaign.naming import area_of, submission_tag
from include.campaign.template import example
from include.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.bookkeeping.records import RequestChanges, Unit
    from include.campaign.plan import CampaignPlan, NodePlan, StagePlan

    Sums = Mapping[str, tuple[int, str]]

JOB_VERSION = 1
JOB_FILE = "job.json"
WORKER = "prodsys_job.py"
NO_SUMS: Sums = {}
SAMPLE_TRANCHE = "DAG_RUN"
"""Stands for the dag_run in a preview's tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTarget:
    """Where a submission's jobs send their log as they run."""

    url: str
    token: str
    """Lets them write their own submission's logs, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a submission is made by beside its plan."""

    changes: RequestChanges = AS_PLANNED
    """A recovery's."""
    sums: Sums = field(default_factory=dict)
    """Path → (bytes, adler32) of inputs that the jobs compare before they begin."""
    excluded_machines: tuple[str, ...] = ()
    excluded_sites: tuple[str, ...] = ()
    log_target: LogTarget | None = None
    """None: the jobs send no log."""


def build_job(
    plan: CampaignPlan,
    stage: StagePlan,
    *,
    slice_run: int,
    units: tuple[Unit, ...],
    tag: str,
    work_dir: Path,
    beside: Beside | None = None,
) -> SubmitRequest:
    """Write job.json below `work_dir` and return the request that sends it with the stage's files.

    A job.json that is there is never changed, because jobs may still fetch it: one with another content gets
    a folder of its own beside it. SpecError if two of the files would have one name on the worker node.
    """
    beside = beside or Beside()
    document = job_document(plan, stage, slice_run=slice_run, units=units, tag=tag, sums=beside.sums)
    target = beside.log_target
    document["log_server"] = None if target is None else {"url": target.url, "token": target.token}
    text = job_file_text(document)
    folder = work_dir.absolute()
    path = folder / JOB_FILE
    number = 1
    while path.exists() and path.read_text(encoding="utf-8") != text:
        number += 1
        path = folder / f"job-{number}" / JOB_FILE
    request = _request(plan, stage, jobs=len(units), tag=tag, job_file=str(path))
    request = replace(
        request,
        memory_mb=beside.changes.memory_mb or request.memory_mb,
        disk_kb=beside.changes.disk_kb or request.disk_kb,
        lifetime_s=beside.changes.lifetime_s or request.lifetime_s,
        excluded_machines=beside.excluded_machines,
        excluded_sites=beside.excluded_sites,
    )
    call = launcher_call(plan, stage, run=slice_run, jobs=len(units), folder=folder, job_file=path)
    request = replace(request, launcher=call)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{JOB_FILE}.{os.getpid()}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    return request


def request_preview(plan: CampaignPlan, stage: StagePlan) -> SubmitRequest:
    """Return what the first slice of the next dag_run would send, without writing anything.

    A merge's number of jobs depends on what there is to merge; one is shown.
    """
    tag = submission_tag(dag_id=plan.dag_id, tranche=SAMPLE_TRANCHE, run=plan.first_run, stage=stage.name)
    jobs = 1 if stage.is_merge else plan.subruns
    return _request(plan, stage, jobs=jobs, tag=tag, job_file=f"/WORK_DIR/{JOB_FILE}")


def job_document(
    plan: CampaignPlan,
    stage: StagePlan,
    *,
    slice_run: int,
    units: tuple[Unit, ...],
    tag: str,
    sums: Sums = NO_SUMS,
) -> dict[str, Any]:
    """Return job.json's content, docs/job-contract.md version 1."""
    return {
        "version": JOB_VERSION,
        "tag": tag,
        "experiment": plan.experiment,
        "campaign": plan.campaign,
        "stage": stage.name,
        "run": slice_run,
        "script": PurePosixPath(stage.script).name if stage.script else None,
        "arguments": list(stage.arguments),
        "environment": dict(stage.environment),
        "events": stage.events,
        "units": [_unit(unit, sums) for unit in units],
        "outputs": [
            {"name": output.name, "file_name": output.file_name, "tree": output.tree, "events": output.events}
            for output in stage.outputs
        ],
        "outstage": area_of(plan.outstage, stage=stage.name, run=slice_run, tag=tag),
        "logs": area_of(plan.logs, stage=stage.name, run=slice_run, tag=tag),
        "merge": {"method": stage.merge.method} if stage.merge is not None else None,
        "node": None if stage.node is None else _node(stage.node),
    }


def job_file_text(document: Mapping[str, Any]) -> str:
    """Return job.json's text: units come last and have a line each, so that a job parses its own alone."""
    head = json.dumps({key: value for key, value in document.items() if key != "units"}, indent=1)
    units = ",\n".join(json.dumps(unit, separators=(",", ":")) for unit in document["units"])
    return head.removesuffix("\n}") + f',\n "units": [\n{units}\n ]\n}}\n'


def launcher_call(
    plan: CampaignPlan, stage: StagePlan, *, run: int, jobs: int, folder: Path, job_file: Path
) -> LauncherCall | None:
    """Return how the stage's launcher is called for one submission; None where it has none."""
    if stage.launcher is None:
        return None
    variables = {
        "experiment": plan.experiment,
        "campaign": plan.campaign,
        "stage": stage.name,
        "run": str(run),
    }
    return LauncherCall(
        script=stage.launcher.script,
        arguments=tuple(example(text, run=run, jobs=jobs) for text in stage.launcher.arguments),
        folder=str(folder),
        job_file=str(job_file),
        variables=tuple((f"PRODSYS_{name.upper()}", value) for name, value in variables.items()),
    )


def worker_program() -> str:
    """Return the absolute path of the program that each job runs."""
    return str(Path(include.worker.__path__[0], WORKER).absolute())


def _unit(unit: Unit, sums: Sums) -> dict[str, Any]:
    """Return one process's part of job.json."""
    inputs = {name: list(paths) for name, paths in unit.inputs}
    known = {path: list(sums[path]) for paths in inputs.values() for path in paths if path in sums}
    span = {"first_subrun": unit.first_subrun, "last_subrun": unit.last_subrun}
    return {**span, "inputs": inputs, "sums": known}


def _node(node: NodePlan) -> dict[str, Any]:
    """Return what the job requires of its node."""
    return {"cvmfs": dict(node.cvmfs), "scratch_mb": node.scratch_mb, "guard_s": node.guard_s}


def _request(plan: CampaignPlan, stage: StagePlan, *, jobs: int, tag: str, job_file: str) -> SubmitRequest:
    """Return the request for one stage; its own variables travel in job.json, where any value is safe."""
    files = tuple(dict.fromkeys((job_file, *((stage.script,) if stage.script else ()), *stage.files)))
    _check_names(plan, stage, files)
    return SubmitRequest(
        executable=worker_program(),
        arguments=("run", JOB_FILE),
        jobs=jobs,
        group=plan.group,
        role=plan.role,
        tag=tag,
        memory_mb=stage.resources.memory_mb,
        disk_kb=stage.resources.disk_kb,
        cpus=stage.resources.cpus,
        lifetime_s=stage.resources.lifetime_s,
        files=files,
        environment=(),
        options=stage.jobsub_options,
    )


def _check_names(plan: CampaignPlan, stage: StagePlan, files: tuple[str, ...]) -> None:
    """Refuse files that would overwrite each other in $CONDOR_DIR_INPUT."""
    names = Counter(PurePosixPath(path).name for path in files)
    for name, count in names.items():
        if count > 1:
            which = ", ".join(path for path in files if PurePosixPath(path).name == name)
            msg = f"stage {stage.name}: {count} files are all called {name} on the worker node: {which}"
            raise SpecError(msg, file=plan.spec_file, hint="rename one; job.json is prodsys's own")
