"""A plan for people, as tables, and for programs, as JSON."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from include.campaign.cost import cost_of
from include.campaign.naming import area_of, submission_tag
from include.campaign.template import example
from include.errors import SubmissionRefused

if TYPE_CHECKING:
    from include.campaign.plan import CampaignPlan, InputPlan, StagePlan

TRANCHE = "DAG_RUN"
"""Stands for the dag_run in the examples' tags."""
PLAIN_WIDTH = 220
"""Columns of a table that goes to a file or a pipe."""


def show_plan(plan: CampaignPlan, *, run: int) -> None:
    """Write the plan to the terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    console.print(Panel.fit(_head(plan), title=Text(plan.dag_id), box=box.ROUNDED))
    console.print(_stage_table(plan, run))
    for stage in plan.stages:
        console.print(Text(f"{stage.name}:", style="bold"))
        console.print(Text("  " + _wrapped(submit_command(plan, stage, run=run))))


def plan_as_json(plan: CampaignPlan, *, run: int) -> dict[str, Any]:
    """Return the plan, and for each stage an example of what is submitted for `run`."""
    return {
        "plan": plan.to_dict(),
        "dag_id": plan.dag_id,
        "run": run,
        "cost": cost_of(plan).to_dict(),
        "stages": [
            {
                "name": stage.name,
                "jobs": None if stage.is_merge else plan.subruns,
                "outputs": list(_examples(plan, stage, run)),
                "outstage": area_of(plan.outstage, stage=stage.name, run=run, tag=_tag(plan, stage, run)),
                "command": list(submit_command(plan, stage, run=run)),
            }
            for stage in plan.stages
        ],
    }


def submit_command(plan: CampaignPlan, stage: StagePlan, *, run: int) -> tuple[str, ...]:
    """Return the command that submits a stage; a merge's jobs are counted later (here: 1)."""
    from include.batch.jobsub import JobsubSubmitter
    from include.batch.launcher import LauncherSubmitter
    from include.batch.package import launcher_call
    from include.batch.pool import SubmitRequest

    work = Path("WORK_DIR").absolute()
    resources, jobs = stage.resources, 1 if stage.is_merge else plan.subruns
    request = SubmitRequest(
        executable=str(work / "prodsys_job.py"),
        arguments=("run", "job.json"),
        jobs=jobs,
        group=plan.group,
        role=plan.role,
        tag=_tag(plan, stage, run),
        memory_mb=resources.memory_mb,
        disk_kb=resources.disk_kb,
        cpus=resources.cpus,
        lifetime_s=resources.lifetime_s,
        files=(str(work / "job.json"), *((stage.script,) if stage.script else ()), *stage.files),
        environment=(),
        options=stage.jobsub_options,
        launcher=launcher_call(plan, stage, run=run, jobs=jobs, folder=work, job_file=work / "job.json"),
    )
    submitter = JobsubSubmitter() if request.launcher is None else LauncherSubmitter(environment={})
    try:
        command = submitter.command(request)
    except SubmissionRefused as error:
        return (f"refused: {error}",)
    return tuple(part.replace(str(work), "WORK_DIR") for part in command)


def _tag(plan: CampaignPlan, stage: StagePlan, run: int) -> str:
    return submission_tag(dag_id=plan.dag_id, tranche=TRANCHE, run=run, stage=stage.name)


def _wrapped(command: tuple[str, ...]) -> str:
    return " \\\n    ".join([shlex.join(command[:1]), *_pairs(command[1:])])


def _pairs(words: tuple[str, ...]) -> list[str]:
    """Join each option with its value, one a line."""
    lines: list[str] = []
    for word in words:
        takes_value = (
            lines and lines[-1].startswith("-") and " " not in lines[-1] and not word.startswith("-")
        )
        if takes_value and not word.startswith("file://"):
            lines[-1] += " " + shlex.quote(word)
        else:
            lines.append(shlex.quote(word))
    return lines


def _head(plan: CampaignPlan) -> Group:
    total = plan.slices * plan.subruns
    return Group(
        Text(plan.description or "(no description)"),
        Text(f"owner {plan.owner}, {plan.phase}, group {plan.group}, schedule {plan.schedule or 'by hand'}"),
        Text(
            f"runs {plan.first_run}..{plan.last_run}; a dag_run makes {plan.slices} slices of {plan.subruns} "
            f"subruns ({plan.first_subrun}..{plan.first_subrun + plan.subruns - 1}): {total} jobs a stage"
        ),
        Text(f"cost     a dag_run: {cost_of(plan)}"),
        Text(f"limits   {_limits(plan)}"),
        Text(f"outstage {plan.outstage}"),
        Text(f"logs     {plan.logs}"),
        Text(f"cleanup  {plan.cleanup_script}" if plan.cleanup_script else "cleanup  prodsys's own"),
    )


def _limits(plan: CampaignPlan) -> str:
    given = ((plan.limits.max_slices_in_flight, "slices"), (plan.limits.max_jobs_in_flight, "jobs"))
    said = [f"{most} {what} in flight" for most, what in given if most is not None]
    return ", ".join(said) or "none of its own"


def _stage_table(plan: CampaignPlan, run: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=f"one slice, run {run}", title_justify="left", pad_edge=False)
    for column in ("stage", "jobs", "a job asks for", "script", "inputs", "outputs", "checks", "on failure"):
        table.add_column(column, justify="right" if column == "jobs" else "left", overflow="fold")
    for stage in plan.stages:
        table.add_row(
            Text(stage.name),
            Text("by size" if stage.is_merge else str(plan.subruns)),
            Text(_resources(stage)),
            Text(stage.script.rpartition("/")[2] or "hadd"),
            Text("\n".join(_input(item) for item in stage.inputs) or "-"),
            Text("\n".join(_examples(plan, stage, run))),
            Text(_checks(stage)),
            Text(_on_failure(stage)),
        )
    return table


def _resources(stage: StagePlan) -> str:
    asked = stage.resources
    time = _duration(asked.lifetime_s)
    lines = [f"{asked.memory_mb} MB, {asked.cpus} CPU", f"{_size(asked.disk_kb * 1024)} disk, {time}"]
    if stage.node is not None:
        lines += [f"{name}{f' from {lowest}' if lowest else ''}" for name, lowest in stage.node.cvmfs]
        if stage.node.scratch_mb is not None:
            lines.append(f"{stage.node.scratch_mb} MB of scratch")
    return "\n".join(lines)


def _checks(stage: StagePlan) -> str:
    own = [f"own: {check.name}, per {check.scope}" for check in stage.user_checks]
    return "\n".join([", ".join(stage.checks), *own, f"enough: {100 * stage.success_threshold:g} %"])


def _on_failure(stage: StagePlan) -> str:
    recovery, asked = stage.recovery, stage.resources
    if not recovery.attempts:
        return "asks a person" if recovery.then == "ask" else "fails"
    memory = recovery.max_memory_mb or 2 * asked.memory_mb
    disk = 1024 * (recovery.max_disk_kb or 2 * asked.disk_kb)
    time = recovery.max_lifetime_s or 2 * asked.lifetime_s
    return (
        f"up to {recovery.attempts} recoveries, then {'asks a person' if recovery.then == 'ask' else 'fails'}"
        f"\nwithin {memory} MB, {_size(disk)}, {_duration(time)}"
    )


def _size(size: int) -> str:
    for unit, worth in (("TB", 2**40), ("GB", 2**30), ("MB", 2**20)):
        if size >= worth:
            return f"{size / worth:.3g} {unit}"
    return f"{size / 2**10:.3g} kB"


def _duration(seconds: int) -> str:
    for unit, worth in (("h", 3600), ("min", 60)):
        if seconds >= worth:
            return f"{seconds / worth:.3g} {unit}"
    return f"{seconds} s"


def _input(item: InputPlan) -> str:
    if item.stage is None:
        again = "again and again" if item.reuse else "each once"
        return f"{item.name}: {item.per_job} of {len(item.files)} files a job, {again}"
    source = item.stage if item.output in (None, "default") else f"{item.stage}.{item.output}"
    which = "its own subrun" if item.select == "same" else "all of the slice"
    return f"{item.name}: {source}, {which}"


def _examples(plan: CampaignPlan, stage: StagePlan, run: int) -> tuple[str, ...]:
    return tuple(example(output.file_name, run=run, subrun=plan.first_subrun) for output in stage.outputs)
