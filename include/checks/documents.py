"""What a check of the experiment's own is told of jobs, by the contract of docs/user-checks.md."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.checks.reports import EXECUTION
from include.checks.user import CONTRACT_VERSION, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.records import ExecutionRecord, OutputRecord, Submission, Unit
    from include.campaign.plan import CampaignPlan, UserCheckPlan
    from include.checks.case import Case
    from include.checks.verdict import Verdict

MAX_INLINE = 10 * 2**20
"""Bytes of the jobs' descriptions that go into the document itself; more go into a file."""
JOBS_FILE = "jobs.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A job as the document has it, and which it is."""

    tag: str
    unit: Unit
    content: dict[str, Any]


def head(plan: CampaignPlan, check: UserCheckPlan) -> dict[str, Any]:
    """Return what every document begins with."""
    return {
        "version": CONTRACT_VERSION,
        "check": check.name,
        "scope": check.scope,
        "experiment": plan.experiment,
        "campaign": plan.campaign,
    }


def job_of_case(case: Case, *, tag: str) -> dict[str, Any]:
    """Return one job as a check of scope job is told of it."""
    report, unit = case.report, case.unit
    assert report is not None  # noqa: S101  base checks that passed have seen one
    outputs = [{**asdict(output), "tree": planned.tree} for planned, output in case.files()]
    ad = case.evidence.ad
    return {
        **_unit(unit, tag=tag, run=case.run),
        "job_id": ad.job_id
        if ad is not None
        else f"{report.cluster}.{report.process}@{report.schedd or '?'}",
        "execution": report.execution,
        "exit_code": report.exit_code,
        "host": report.host,
        "site": report.site,
        "started": report.started,
        "ended": report.ended,
        "wall_s": ad.wall_s if ad is not None else None,
        "memory_mb": ad.memory_mb if ad is not None else None,
        "log": report.log,
        "inputs": {name: list(paths) for name, paths in unit.inputs},
        "outputs": outputs,
    }


def judge_job(plan: CampaignPlan, check: UserCheckPlan, case: Case, *, tag: str) -> Verdict:
    """Run one of the experiment's own checks of scope job on one execution."""
    unit = case.unit
    document = {
        **head(plan, check),
        "stage": case.stage.name,
        "run": case.run,
        "tag": tag,
        "job": job_of_case(case, tag=tag),
    }
    values = {"run": case.run, "subrun": unit.first_subrun, "process": unit.process}
    return ask(plan, check, document, values).verdict


def _unit(unit: Unit, *, tag: str, run: int) -> dict[str, Any]:
    return {
        "tag": tag,
        "run": run,
        "process": unit.process,
        "first_subrun": unit.first_subrun,
        "last_subrun": unit.last_subrun,
    }


def describe(
    submissions: Sequence[Submission],
    accepted: Sequence[OutputRecord],
    executions: Sequence[ExecutionRecord] = (),
) -> list[Described]:
    """Return each execution with accepted outputs, in order of stage, run and subrun."""
    places: dict[tuple[str, int, int], list[Submission]] = {}
    for submission in submissions:
        for _, cluster, _ in submission.clusters:
            places.setdefault((submission.stage, submission.run, cluster), []).append(submission)
    ended = {execution.execution: execution for execution in executions}
    made: dict[tuple[str, int, str], list[OutputRecord]] = {}
    for record in accepted:
        made.setdefault((record.stage, record.run, record.execution), []).append(record)
    found = []
    for (stage, run, execution), outputs in made.items():
        named = EXECUTION.fullmatch(execution)
        candidates = places.get((stage, run, int(named["cluster"])), []) if named else []
        origin = _origin(candidates, outputs[0], ended.get(execution))
        if origin is None:
            continue
        submission, unit = origin
        content = {
            **_unit(unit, tag=submission.tag, run=run),
            "stage": stage,
            **_execution(execution, ended.get(execution)),
            "inputs": {name: list(paths) for name, paths in unit.inputs},
            "outputs": [_output(record) for record in outputs],
        }
        found.append(Described(tag=submission.tag, unit=unit, content=content))
    return sorted(
        found, key=lambda item: (item.content["stage"], item.content["run"], item.unit.first_subrun)
    )


def _origin(
    candidates: Sequence[Submission], output: OutputRecord, execution: ExecutionRecord | None
) -> tuple[Submission, Unit] | None:
    """Return the submission and its unit that an output is of; schedds share cluster numbers."""
    span = (output.first_subrun, output.last_subrun)
    for submission in candidates:
        schedds = {schedd for schedd, _, _ in submission.clusters}
        if len(candidates) > 1 and execution is not None and execution.schedd not in schedds:
            continue
        for unit in submission.units:
            if (unit.first_subrun, unit.last_subrun) == span:
                return submission, unit
    return None


def _execution(name: str, record: ExecutionRecord | None) -> dict[str, Any]:
    if record is None:
        return {"execution": name}
    return {
        "job_id": f"{record.cluster}.{record.process}@{record.schedd or '?'}",
        "execution": name,
        "exit_code": record.exit_code,
        "host": record.host,
        "site": record.site,
        "started": record.started_at,
        "ended": record.ended_at,
        "log": record.log,
    }


def _output(record: OutputRecord) -> dict[str, Any]:
    keys = ("name", "path", "size", "sha256", "adler32", "run", "first_subrun", "last_subrun", "events")
    return {"file": record.path.rpartition("/")[2], **{key: getattr(record, key) for key in keys}}


def jobs_part(jobs: Sequence[Described], *, scratch: str) -> dict[str, Any]:
    """Return `jobs`, or where they are too large `jobs_file`: a file in `scratch`, one job a line."""
    lines = [json.dumps(job.content, ensure_ascii=True) for job in jobs]
    if sum(map(len, lines)) <= MAX_INLINE:
        return {"jobs": [job.content for job in jobs]}
    file = Path(scratch) / JOBS_FILE
    file.write_text("\n".join(lines) + "\n", encoding="ascii")
    return {"jobs_file": str(file)}
