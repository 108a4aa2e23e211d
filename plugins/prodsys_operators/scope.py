"""Where a task instance stands: which campaign, tranche, slice, and the plan that its dag_run began with."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.campaign.naming import interval_tranche, submission_tag
from include.errors import (
    LedgerError,
    LedgerUnavailable,
    MissingTool,
    PlanError,
    RunRangeError,
    SpecError,
    SubmissionRefused,
)
from prodsys_operators.settings import Settings, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.sdk import Context

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import OutputRecord, Slice
    from include.campaign.plan import CampaignPlan
    from include.recovery.review import Tools

log = logging.getLogger(__name__)

SLICE_GROUP = "slice"
"""The task group of one slice."""

FOR_A_PERSON = (LedgerError, MissingTool, PlanError, RunRangeError, SpecError, SubmissionRefused)
"""Errors that trying again cannot mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an operator works on."""

    settings: Settings
    ledger: Ledger
    plan: CampaignPlan
    """As pinned when the dag_run reserved its slices."""
    slice: Slice

    def tag(self, stage: str, recovery: int = 0) -> str:
        """Return the tag of this slice's first submission of `stage`, or of its n-th recovery."""
        return submission_tag(
            dag_id=self.plan.dag_id,
            tranche=self.slice.tranche,
            run=self.slice.run,
            stage=stage,
            recovery=recovery,
            ledger=self.ledger.ledger_name(self.plan.dag_id, self.slice.tranche),
        )

    def accepted(self, stage: str, *, output: str | None = None, removed: bool = False) -> list[OutputRecord]:
        """Return a stage's accepted outputs in this slice; with `removed`, also those since removed."""
        return self.ledger.accepted_outputs(
            experiment=self.plan.experiment, run=self.slice.run, stage=stage, name=output, removed=removed
        )


def tranche_of(context: Mapping[str, Any]) -> str:
    """Return the dag_run's key in the ledger.

    The logical date of a scheduled or backfilled dag_run, so that a backfill finds what its interval has;
    else the dag_run's id.
    """
    dag_run = context["dag_run"]
    if dag_run.run_type in ("scheduled", "backfill") and dag_run.logical_date is not None:
        return interval_tranche(dag_run.logical_date)
    return str(dag_run.run_id)


@contextmanager
def open_ledger() -> Iterator[tuple[Settings, Ledger]]:
    """Open the deployment's ledger for the length of one task.

    An error that only a person can mend fails the task at once; any other is left to Airflow's retries.
    """
    deployment = settings()
    try:
        with deployment.open_ledger() as ledger:
            yield deployment, ledger
    except LedgerUnavailable:
        raise
    except FOR_A_PERSON as error:
        raise AirflowFailException(str(error)) from error


@contextmanager
def open_tools(deployment: Settings, ledger: Ledger) -> Iterator[Tools]:
    """Open what a review of a stage works with."""
    from include.recovery.review import Tools
    from include.triage.classify import Triage

    try:
        triage = Triage.load(deployment.rules_folder)
    except (SpecError, OSError) as error:
        # A mistake in a deployment's own rules must not stop its campaigns.
        log.error("rules of [prodsys] triage_rules are not used, only the installed ones: %s", error)  # noqa: TRY400
        triage = Triage.load()
    with deployment.open_pool() as pool:
        yield Tools(ledger=ledger, pool=pool, triage=triage, clock=time.time)


LABEL = "run {{ task.slice_item['run'] }}{{ ': ' ~ task.counts if task.counts }}"
"""How a slice's tasks are named in Airflow's UI."""


class SliceOperator(BaseOperator):
    """Base of the operators that work on one slice; `slice_item` is what `reserve` made for it.

    `after` are the stages that the DAG has before this task's; None where the task's own group sees to that.
    """

    template_fields: Sequence[str] = ("slice_item",)
    ui_fgcolor = "#0b1f33"
    tries_again: int | None = None
    """How often Airflow retries it; None: as often as the DAG says."""

    def __init__(
        self, *, slice_item: Any, stage: str = "", after: frozenset[str] | None = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("map_index_template", LABEL)
        if self.tries_again is not None:  # an __init__ of each class would merge Airflow's defaults once more
            kwargs.setdefault("retries", self.tries_again)
        super().__init__(**kwargs)
        self.slice_item = slice_item
        self.stage = stage
        self.after = after
        self.counts = ""
        """What the task found, in figures; in Airflow's UI it is part of the task's name once it has run."""

    @contextmanager
    def scope(self, context: Context) -> Iterator[Scope]:
        """Open the ledger and find the plan and the slice."""
        with open_ledger() as (deployment, ledger):
            dag_id, tranche = context["dag_run"].dag_id, tranche_of(context)
            plan = ledger.plan_of(dag_id, tranche)
            if self.stage and self.stage not in {stage.name for stage in plan.stages}:
                raise AirflowSkipException(
                    f"{self.stage} came into {plan.spec_file} after this dag_run began, and it keeps its plan"
                )
            self._require_order(plan)
            item = ledger.slice_of(dag_id, tranche, int(self.slice_item["index"]))
            try:
                yield Scope(settings=deployment, ledger=ledger, plan=plan, slice=item)
            except LedgerUnavailable:
                raise
            except (AirflowFailException, *FOR_A_PERSON):
                with suppress(LedgerError):  # what went wrong first is what counts
                    if ledger.leave_place(dag_id, tranche, item.run, now=time.time()):
                        self.log.info("run %d gives up its place among the slices in flight", item.run)
                raise

    def _require_order(self, plan: CampaignPlan) -> None:
        """Refuse to begin a stage if this DAG has not before it what the dag_run's own plan has."""
        if self.after is None:
            return
        lost = sorted(set(plan.stage(self.stage).parents) - self.after)
        if lost:
            raise AirflowFailException(
                f"{plan.spec_file} was changed: it has {self.stage} no longer after {', '.join(lost)}, and "
                f"this dag_run keeps the plan that it began with, in which {self.stage} needs them. Put the "
                f"inputs of {self.stage} back into the spec until this dag_run is over, then clear this task"
            )
