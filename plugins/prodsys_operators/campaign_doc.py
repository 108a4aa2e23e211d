"""What Airflow's own views say of a campaign: its documentation, its form's help, its owner's link."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.configuration import conf

from include.campaign.cost import cost_of
from prodsys_operators.pages.mount import PREFIX

if TYPE_CHECKING:
    from include.campaign.plan import CampaignPlan, StagePlan

COLUMNS = ("stage", "after", "reads", "makes", "a job asks for", "enough is", "by itself")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"


def campaign_doc(plan: CampaignPlan) -> str:
    """Return the DAG's documentation page, Markdown."""
    rows = "\n".join(_row(stage) for stage in plan.stages)
    links = " · ".join(
        f"[{name}]({PREFIX}/campaigns/{quote(plan.dag_id, safe='')}{page})"
        for name, page in (("progress", ""), ("triage", "/triage"))
    )
    return (
        f"# {plan.experiment} / {plan.campaign}\n\n{_cell(plan.description)}\n\n{links}\n\n"
        f"Owner {_cell(plan.owner)}, phase *{plan.phase}*, runs {plan.first_run} to {plan.last_run}, "
        f"{plan.slices} slices of {plan.subruns} subruns. {_limits(plan)}\n\n"
        f"**A dag_run of {plan.slices} slices**: {cost_of(plan)}.\n\n"
        f"{HEAD}{rows}\n\n"
        f"Files go to `{plan.outstage}`, logs to `{plan.logs}`. "
        f"Spec `{plan.spec_file}`, sha256 `{plan.spec_sha256[:12]}`.\n"
    )


def slices_help(plan: CampaignPlan) -> str:
    """Return what the trigger form says of the number of slices."""
    runs = plan.last_run - plan.first_run + 1
    one = cost_of(replace(plan, slices=1))
    return (
        f"Each takes one run number and makes {plan.subruns} subruns a stage: {one.jobs:,} jobs without "
        f"merges and recoveries, up to {one.cpu_h:,.3g} CPU-hours. The campaign's range has {runs} run "
        "numbers in all, and each is used once."
    )


def owner_links(plan: CampaignPlan) -> dict[str, str]:
    """Return where the owner's name leads to: their campaigns; nowhere where Airflow's address is not set."""
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    if not base.startswith(("http://", "https://")):
        return {}
    return {plan.owner: f"{base}{PREFIX}/campaigns?q={quote(plan.owner, safe='')}"}


def _row(stage: StagePlan) -> str:
    reads = ", ".join(_source(each.stage, len(each.files)) for each in stage.inputs) or "-"
    makes = ", ".join(f"`{_cell(each.file_name)}`" for each in stage.outputs)
    asks = stage.resources
    times = stage.recovery.attempts
    recovers = f"{times} recover{'y' if times == 1 else 'ies'}, then {stage.recovery.then}"
    return (
        f"| {stage.name} | {', '.join(stage.parents) or '-'} | {reads} | {makes} "
        f"| {asks.memory_mb} MB, {asks.cpus} CPU, {asks.lifetime_s // 60} min "
        f"| {100 * stage.success_threshold:g} % | {recovers} |"
    )


def _source(stage: str | None, files: int) -> str:
    return f"outputs of {stage}" if stage else f"{files} listed files"


def _limits(plan: CampaignPlan) -> str:
    limits = plan.limits
    told = [
        f"{number} {what}"
        for number, what in ((limits.max_slices_in_flight, "slices"), (limits.max_jobs_in_flight, "jobs"))
        if number is not None
    ]
    return f"At most {' and '.join(told)} are in flight." if told else ""


def _cell(text: str) -> str:
    """Return text that stays in its cell of a table."""
    return " ".join(text.replace("|", "\\|").split())
