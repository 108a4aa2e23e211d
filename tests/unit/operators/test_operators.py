"""What the operators decide, with a real ledger; whole campaigns run in tests/integration."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.bookkeeping.ledger import Ledger
from include.campaign.naming import submission_key
from include.campaign.states import SubmissionState
from include.errors import LedgerError, LedgerUnavailable
from prodsys_operators.merge import PlanMergeOperator
from prodsys_operators.report import ReportOperator
from prodsys_operators.reserve import ReserveOperator
from prodsys_operators.scope import Scope, open_ledger, tranche_of
from prodsys_operators.submit import SubmitOperator
from tests.unit.operators.stage_outputs import accept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.campaign.plan import CampaignPlan
    from prodsys_operators.settings import Settings

DAY = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
CLUSTER = (("ap1", 1, 3),)


@pytest.fixture
def plan(deployment: Settings) -> CampaignPlan:
    from prodsys_operators.campaign_dag import load_plan, spec_path

    return load_plan(spec_path("unit/three.yaml"), specs=spec_path("."), area=deployment.area)


@pytest.fixture
def scope(deployment: Settings, plan: CampaignPlan) -> Iterator[Scope]:
    """The first slice of a dag_run."""
    with deployment.open_ledger() as ledger:
        first, _ = ledger.reserve(plan, tranche="t", dag_run_id="t", slices=2, now=1.0)
        yield Scope(settings=deployment, ledger=ledger, plan=plan, slice=first)


def context(**more: Any) -> dict[str, Any]:
    dag_run = SimpleNamespace(dag_id="unit.three", run_id="t", run_type="manual", logical_date=None)
    return {"dag_run": dag_run, "params": {"slices": 2}, **more}


def submit(stage: str) -> SubmitOperator:
    return SubmitOperator(task_id="submit", stage=stage, slice_item={"index": 0, "run": 10})


def test_scheduled_and_backfilled_dag_runs_of_one_interval_share_their_tranche() -> None:
    kinds = [
        SimpleNamespace(run_id=f"{kind}__x", run_type=kind, logical_date=DAY)
        for kind in ("scheduled", "backfill")
    ]
    assert {tranche_of({"dag_run": run}) for run in kinds} == {"2026-05-01T00:00:00Z"}


@pytest.mark.parametrize("logical_date", [None, DAY])
def test_a_dag_run_by_hand_is_its_own_tranche(logical_date: dt.datetime | None) -> None:
    run = SimpleNamespace(run_id="manual__1", run_type="manual", logical_date=logical_date)
    assert tranche_of({"dag_run": run}) == "manual__1"


def test_two_ledgers_with_one_campaign_never_share_a_tag(scope: Scope, tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path}/staging.db") as other:
        other.upgrade()
        with pytest.raises(LedgerError, match=r"no tranche t of unit\.three"):
            replace(scope, ledger=other).tag("gen")
        other.reserve(scope.plan, tranche="t", dag_run_id="t", slices=1, now=1.0)
        staging = replace(scope, ledger=other).tag("gen")
    tag, name = scope.tag("gen"), scope.ledger.ledger_name("unit.three", "t")
    assert tag == scope.tag("gen") == f"unit.three/t/000010/gen/recovery-0/{name}"
    assert len(name) == 8
    assert staging.rpartition("/")[0] == tag.rpartition("/")[0]
    assert staging != tag
    assert submission_key(staging) != submission_key(tag)  # so the areas are apart, too


def test_reserve_gives_the_same_runs_again(deployment: Settings, plan: CampaignPlan) -> None:
    operator = ReserveOperator(task_id="reserve", plan=plan)
    first = operator.execute(context())
    assert first == [{"index": 0, "run": 10}, {"index": 1, "run": 11}]
    assert operator.execute(context()) == first


def test_a_range_that_is_used_up_fails_at_once(deployment: Settings, plan: CampaignPlan) -> None:
    short = replace(plan, last_run=plan.first_run)
    with pytest.raises(AirflowFailException, match="run"):
        ReserveOperator(task_id="reserve", plan=short).execute(context())


def test_a_refused_submission_is_an_intent_again_before_it_is_sent(scope: Scope) -> None:
    operator = submit("gen")
    tag = operator.intend(scope).tag
    scope.ledger.record_refused(tag, message="no quota", now=2.0)
    assert operator.intend(scope).state is SubmissionState.INTENDED


def test_what_is_submitted_keeps_its_units_and_late_inputs_are_named(
    scope: Scope, capsys: pytest.CaptureFixture[str]
) -> None:
    scope.ledger.record_submitted(submit("gen").intend(scope).tag, clusters=CLUSTER, message="", now=2.0)
    accept(scope.ledger, scope, "gen", 0, 1)
    first = submit("reco").intend(scope)
    assert [unit.first_subrun for unit in first.units] == [0, 1]
    scope.ledger.record_submitted(first.tag, clusters=(("ap1", 2, 2),), message="", now=2.0)
    accept(scope.ledger, scope, "gen", 2)
    capsys.readouterr()
    assert submit("reco").intend(scope).units == first.units
    assert "the inputs of 2 came later" in capsys.readouterr().out


def test_nothing_is_submitted_where_no_subrun_has_its_inputs(scope: Scope) -> None:
    with pytest.raises(AirflowFailException, match="no subrun has its inputs"):
        submit("reco").intend(scope)
    assert scope.ledger.submission(scope.tag("reco")) is None


def test_a_planned_merge_stays_and_what_it_lacks_is_named(
    scope: Scope, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("gen", "reco"):
        if stage == "reco":
            accept(scope.ledger, scope, "gen", 0, 1, 2)
        scope.ledger.record_submitted(submit(stage).intend(scope).tag, clusters=CLUSTER, message="", now=2.0)
    accept(scope.ledger, scope, "reco", 0, 2)
    operator = PlanMergeOperator(task_id="plan", stage="merge_reco", slice_item={"index": 0, "run": 10})
    planned = operator.execute(context())
    assert [(group["first_subrun"], group["last_subrun"]) for group in planned] == [(0, 0), (2, 2)]
    assert "no accepted file: subruns 1" in capsys.readouterr().out
    accept(scope.ledger, scope, "reco", 1)
    capsys.readouterr()
    assert operator.execute(context()) == planned
    said = capsys.readouterr().out
    assert "in no merged file yet: subruns 1; the recover task of merge_reco merges them" in said


def report(*breadcrumbs: dict[str, Any]) -> Any:
    ti = SimpleNamespace(get_task_breadcrumbs=lambda *_: list(breadcrumbs))
    return ReportOperator(task_id="report").execute(context(ti=ti))


@pytest.mark.usefixtures("scope")
def test_the_report_is_as_good_as_the_tasks() -> None:
    good = [
        {"task_id": f"slice.{stage}.submit", "map_index": 0, "state": "success"}
        for stage in ("gen", "reco", "merge_reco")
    ]
    assert [row["stage"] for row in report(*good)] == ["gen", "reco", "merge_reco"]
    with pytest.raises(AirflowFailException, match=r"failed: slice\.gen\.submit \[1\]\."):
        report(*good, {**good[0], "map_index": 1, "state": "failed"})


def test_the_report_is_written_below_the_area_complete_or_not(scope: Scope, deployment: Settings) -> None:
    scope.ledger.record_submitted(submit("gen").intend(scope).tag, clusters=CLUSTER, message="", now=2.0)
    accept(scope.ledger, scope, "gen", 0, 1)
    with pytest.raises(AirflowFailException, match="failed"):
        report({"task_id": "slice.gen.wait", "map_index": 0, "state": "failed"})
    html = Path(deployment.area) / "reports/unit/three/t.html"
    assert "<svg" in html.read_text(encoding="utf-8")
    found = json.loads(html.with_suffix(".json").read_text(encoding="utf-8"))
    assert (found["title"], found["total"]["accepted"]) == ("unit.three, dag_run t", 2)
    assert (found["stages"][0]["name"], found["stages"][0]["subruns"]) == ("gen", 6)
    # It was accepted long before it was intended, by a clock that was wrong.
    assert sum(found["time_line"]["lines"][0]["subruns"]) == 2


@pytest.mark.usefixtures("scope")
def test_a_report_that_cannot_be_written_is_said_and_nothing_else(
    deployment: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(deployment.area).write_text("no folder", encoding="utf-8")
    with pytest.raises(AirflowFailException, match=r"slice\.gen\.wait \[0\]"):
        report({"task_id": "slice.gen.wait", "map_index": 0, "state": "failed"})
    assert "cannot be written" in capsys.readouterr().out


@pytest.mark.parametrize(
    "removed", [[], [{"task_id": "slice.reco.submit", "map_index": 0, "state": "removed"}]]
)
def test_a_stage_that_left_the_spec_is_not_passed_over(scope: Scope, removed: list[dict[str, Any]]) -> None:
    left = [
        {"task_id": f"slice.{stage}.submit", "map_index": 0, "state": "success"}
        for stage in ("gen", "merge_reco")
    ]
    with pytest.raises(AirflowFailException, match="plan has reco, but the spec has not any more"):
        report(*left, *removed)


@pytest.mark.usefixtures("scope")
def test_a_stage_that_came_into_the_spec_later_is_skipped() -> None:
    with pytest.raises(AirflowSkipException, match="digi came into"):
        submit("digi").execute(context())  # type: ignore[arg-type]


@pytest.mark.usefixtures("scope")
@pytest.mark.parametrize(("kind", "stage"), [(SubmitOperator, "reco"), (PlanMergeOperator, "merge_reco")])
def test_a_stage_that_lost_its_place_in_the_order_does_not_begin(kind: Any, stage: str) -> None:
    task = kind(task_id="first", stage=stage, slice_item={"index": 0, "run": 10}, after=frozenset({"other"}))
    parent = {"reco": "gen", "merge_reco": "reco"}[stage]
    with pytest.raises(AirflowFailException, match=f"has {stage} no longer after {parent}, and this dag_run"):
        task.execute(context())


@pytest.mark.usefixtures("deployment")
def test_a_contradiction_fails_at_once_and_a_busy_database_is_tried_again() -> None:
    with pytest.raises(AirflowFailException, match="two clusters"), open_ledger():
        raise LedgerError("two clusters")
    with pytest.raises(LedgerUnavailable), open_ledger():
        raise LedgerUnavailable("locked")
