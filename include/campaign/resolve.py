"""Spec → plan: everything filled in, checked against the file system, in the order in which it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.campaign.check_plans import campaign_checks, own_checks
from include.campaign.context import Context
from include.campaign.identifiers import check_name
from include.campaign.plan import PLAN_VERSION, CampaignPlan, LimitsPlan
from include.campaign.reader import ReadSpec, joined, read_leniently
from include.campaign.stage_plans import plan_stages
from include.campaign.template import JOB_VARIABLES, PLAN_VARIABLES
from include.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

PLACE = "a campaign is {}/EXPERIMENT/NAME.yaml"
SUFFIXES = (".yaml", ".yml")
MAX_SUBRUN = 99_999
"""The seed is 1 + run * 100000 + subrun: a larger subrun would share its seed with another run's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPlan:
    """A plan, and the spec that it was made from, for errors that are found later."""

    plan: CampaignPlan
    read: ReadSpec


def load_plan(path: Path, *, specs: Path, area: str) -> CampaignPlan:
    """Read and resolve the campaign file SPECS/EXPERIMENT/NAME.yaml.

    SpecError, or SpecErrors with several, says what is wrong where. Clashes of run ranges between campaigns
    are found by `catalogue.check_all`, as they need every campaign to be read; the ledger refuses a taken run
    in any case.
    """
    return load(path, specs=specs, area=area).plan


def load(path: Path, *, specs: Path, area: str) -> LoadedPlan:
    """Do what `load_plan` does, and return the spec with the plan."""
    experiment, campaign = locate(path, specs)
    read, errors = read_leniently(path)
    if read is None:
        raise joined(errors)
    context = _context(read, experiment=experiment, campaign=campaign, area=area)
    plan = _plan(context, experiment=experiment, campaign=campaign)
    errors += context.errors
    if errors:
        raise joined(errors)
    return LoadedPlan(plan=plan, read=read)


def locate(path: Path, specs: Path) -> tuple[str, str]:
    """Return the experiment and the campaign that a file's place stands for; SpecError if it is bad."""
    # abspath, not resolve: a checkout may reach its specs through links.
    parts = os.path.relpath(os.path.abspath(path), os.path.abspath(specs)).split("/")  # noqa: PTH100
    if len(parts) != 2 or parts[0] == os.pardir:
        raise SpecError(
            "not at its place", file=str(path), hint=f"a campaign is {specs}/EXPERIMENT/NAME.yaml"
        )
    stem, suffix = os.path.splitext(parts[1])  # noqa: PTH122
    if suffix not in SUFFIXES:
        raise SpecError("not named NAME.yaml", file=str(path))
    for name, what in ((parts[0], "the experiment's folder"), (stem, "the file")):
        try:
            check_name(name)
        except ValueError as error:
            raise SpecError(f"{what}: {error}", file=str(path), hint="rename it") from error
    twins = _same_name(path, stem)
    if twins:
        raise SpecError(
            f"duplicate campaign name: {', '.join(twins)} is the same campaign",
            file=str(path),
            hint="keep one of them",
        )
    return parts[0], stem


def _same_name(path: Path, stem: str) -> list[str]:
    """Return the folder's other files that would make the same DAG, upper case being lower case."""
    try:
        names = os.listdir(path.parent)  # noqa: PTH208
    except OSError:
        return []  # the reader says that the file cannot be read
    start, length = stem.lower(), len(stem)
    alike = [name for name in names if name[:length].lower() == start]
    return sorted(name for name in alike if name[length:].lower() in SUFFIXES and name != path.name)


def _context(read: ReadSpec, *, experiment: str, campaign: str, area: str) -> Context:
    spec = read.spec
    values: dict[str, str | int | float] = {
        "area": area, "experiment": experiment, "campaign": campaign, "owner": spec.owner or experiment,
    }  # fmt: skip
    folder = os.path.abspath(read.path.parent)  # noqa: PTH100
    context = Context(read=read, folder=folder, values=values)
    for name, value in spec.variables.items():
        if name in PLAN_VARIABLES or name in JOB_VARIABLES:
            context.wrong(
                f"the variable {name!r} is prodsys's own", ("variables", name), hint="rename it", at_key=True
            )
        else:
            values[name] = value
    for name in context.written("variables"):  # a wrong one has its error, its uses are none
        if name not in JOB_VARIABLES:
            values.setdefault(name, 0)
    return context


def _plan(context: Context, *, experiment: str, campaign: str) -> CampaignPlan:
    spec = context.spec
    _check_numbers(context)
    _check_place(context, "experiment", spec.experiment, experiment, place="folder")
    _check_place(context, "campaign", spec.campaign, campaign, place="file")
    outstage = context.area(spec.storage.outstage, ("storage", "outstage"))
    logs = context.area(spec.storage.logs, ("storage", "logs"))
    if outstage and outstage == logs:
        context.wrong("outstage and logs are the same area", ("storage", "logs"))
    own = own_checks(context)
    cleanup = context.script(spec.cleanup.script, ("cleanup", "script")) if spec.cleanup else None
    return CampaignPlan(
        version=PLAN_VERSION,
        experiment=experiment,
        campaign=campaign,
        description=spec.description,
        owner=spec.owner or experiment,
        phase=spec.phase,
        tags=spec.tags,
        schedule=spec.schedule,
        group=spec.group or experiment,
        role=spec.role,
        first_run=spec.runs.first,
        last_run=spec.runs.last,
        slices=spec.slices,
        subruns=spec.subruns,
        first_subrun=spec.first_subrun,
        stages=plan_stages(context, own),
        outstage=outstage,
        logs=logs,
        cleanup_script=cleanup,
        spec_file=str(context.read.path),
        spec_sha256=context.read.sha256,
        campaign_checks=campaign_checks(context, own),
        limits=LimitsPlan(
            max_slices_in_flight=spec.limits.slices_in_flight, max_jobs_in_flight=spec.limits.jobs_in_flight
        ),
    )


def _check_place(context: Context, key: str, written: str | None, wanted: str, *, place: str) -> None:
    if written is not None and written != wanted:
        context.wrong(
            f"{key} is {written!r}, but the {place} is called {wanted!r}", (key,), hint="make them agree"
        )


def _check_numbers(context: Context) -> None:
    spec = context.spec
    available = spec.runs.last - spec.runs.first + 1
    if available < spec.slices:
        context.wrong(
            f"{available} run numbers are too few for the {spec.slices} slices of one dag_run",
            ("runs",), hint="a slice takes a run number of its own", at_key=True,
        )  # fmt: skip
    most = spec.limits.jobs_in_flight
    if most is not None and most < spec.subruns:
        context.wrong(
            f"a stage of a slice sends {spec.subruns} jobs at once, so at most {most} cannot be kept",
            ("limits", "jobs_in_flight"),
            hint=f"allow at least {spec.subruns}, or make slices of fewer subruns",
        )
    last_subrun = spec.first_subrun + spec.subruns - 1
    if last_subrun > MAX_SUBRUN:
        context.wrong(
            f"the last subrun would be {last_subrun}",
            ("subruns",),
            hint=f"subruns go up to {MAX_SUBRUN}",
            at_key=True,
        )
