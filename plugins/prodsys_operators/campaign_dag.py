"""Plan → DAG: the shape that every campaign has.

reserve → slice[i]: (submit → wait → check → recover) a stage, merges, cleanup → report
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, TaskGroup, task_group

from include.campaign.resolve import load_plan
from prodsys_operators.campaign_doc import campaign_doc, owner_links, slices_help
from prodsys_operators.check import CheckOperator
from prodsys_operators.cleanup import CleanupOperator
from prodsys_operators.merge import PlanMergeOperator
from prodsys_operators.recover import RecoverOperator
from prodsys_operators.report import ReportOperator
from prodsys_operators.reserve import ReserveOperator
from prodsys_operators.scope import SLICE_GROUP
from prodsys_operators.settings import settings, spec_path
from prodsys_operators.submit import SubmitOperator
from prodsys_operators.wait import WaitOperator

if TYPE_CHECKING:
    from include.campaign.plan import CampaignPlan, StagePlan

GO_ON = "none_failed"
"""A stage that a dag_run's plan does not have yet is skipped: what comes after it is not."""
MAX_SLICES = 1024  # Airflow's max_map_length
START_DATE = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
DEFAULT_ARGS = {
    "retries": 3,
    "retry_delay": dt.timedelta(seconds=20),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": dt.timedelta(minutes=10),
    # A task nearer the end of its slice goes first, so that slices finish instead of all starting.
    "weight_rule": "upstream",
}


def compile_campaign(spec_file: str) -> DAG:
    """Compile one spec, given relative to the folder of specs; SpecError says what is wrong where."""
    plan = load_plan(spec_path(spec_file), specs=spec_path("."), area=settings().area)
    return build_dag(plan)


def build_dag(plan: CampaignPlan) -> DAG:
    """Build the DAG of a plan."""
    with DAG(
        dag_id=plan.dag_id,
        description=plan.description,
        schedule=plan.schedule,
        start_date=START_DATE,
        catchup=False,
        # A scheduled campaign waits for somebody to switch it on; one run by hand can be run at once.
        is_paused_upon_creation=plan.schedule is not None,
        max_active_runs=16,
        max_active_tasks=256,
        tags=sorted({plan.experiment, plan.phase, *plan.tags}),
        default_args={**DEFAULT_ARGS, "owner": plan.owner},
        doc_md=campaign_doc(plan),
        owner_links=owner_links(plan),
    ) as dag:
        reserve = ReserveOperator(task_id="reserve", plan=plan)
        slices = _slices(plan).expand(slice_item=reserve.output)
        slices >> ReportOperator(task_id="report")
    dag.params.update(form(plan))  # now, as Airflow would copy it into every task, at a sixth of the parse
    return dag


def form(plan: CampaignPlan) -> dict[str, Param]:
    """Return the trigger form's fields."""
    return {
        "slices": Param(
            plan.slices,
            type="integer",
            minimum=1,
            maximum=min(MAX_SLICES, plan.last_run - plan.first_run + 1),
            title="Slices",
            description=slices_help(plan),
        )
    }


def _slices(plan: CampaignPlan) -> Any:
    @task_group(group_id=SLICE_GROUP, tooltip="One pass of the stages with one run number")
    def one_slice(slice_item: Any) -> None:
        ends: dict[str, RecoverOperator] = {}
        after: dict[str, frozenset[str]] = {}
        for stage in plan.stages:
            after[stage.name] = frozenset(stage.parents).union(*(after[name] for name in stage.parents))
            first, end = _stage(stage, slice_item, after[stage.name])
            for parent in stage.parents:
                ends[parent] >> first
            ends[stage.name] = end
        cleanup = CleanupOperator(task_id="cleanup", slice_item=slice_item, trigger_rule=GO_ON)
        leaves = set(ends) - {parent for stage in plan.stages for parent in stage.parents}
        for name in sorted(leaves):
            ends[name] >> cleanup

    return one_slice


def _stage(stage: StagePlan, slice_item: Any, after: frozenset[str]) -> tuple[Any, RecoverOperator]:
    """Add one stage's tasks, all after the stages `after`; return the first and the last."""
    with TaskGroup(group_id=stage.name):
        go_on = {} if stage.is_merge else {"trigger_rule": GO_ON}
        submit = SubmitOperator(
            task_id="submit", stage=stage.name, slice_item=slice_item, after=after, **go_on
        )
        wait = WaitOperator(task_id="wait", submit_task_id=submit.task_id)
        check = CheckOperator(task_id="check", stage=stage.name, slice_item=slice_item)
        recover = RecoverOperator(task_id="recover", stage=stage.name, slice_item=slice_item)
        submit >> wait >> check >> recover
        if not stage.is_merge:
            return submit, recover
        plan_merge = PlanMergeOperator(
            task_id="plan", stage=stage.name, slice_item=slice_item, after=after, trigger_rule=GO_ON
        )
        plan_merge >> submit
        return plan_merge, recover
