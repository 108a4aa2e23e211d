"""What tests of the check and recover tasks have in common: a submitter to a FakePool, contexts, verdicts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from include.batch.pool import ClusterId, SubmitAnswer
from include.bookkeeping.records import UnitState
from prodsys_operators.recover import RecoverOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from airflow.sdk.exceptions import TaskDeferred

    from include.batch.fake import FakePool
    from include.batch.pool import SubmitRequest
    from include.campaign.states import SubrunState
    from prodsys_operators.scope import Scope

SCHEDD = "ap1@fake"
ITEM = {"index": 0, "run": 10}


class Submitter:
    """Submits to a FakePool."""

    def __init__(self, pool: FakePool) -> None:
        self.pool = pool

    def command(self, request: SubmitRequest) -> Sequence[str]:
        return ["submit", request.tag]

    def submit(self, request: SubmitRequest, *, timeout_s: float) -> SubmitAnswer:  # noqa: ARG002  the protocol
        cluster = self.pool.submit(SCHEDD, request.tag, request.jobs)
        return SubmitAnswer(clusters=(ClusterId(schedd=SCHEDD, cluster=cluster),), output="")


def context(*, last: bool = False) -> Any:
    dag_run = SimpleNamespace(dag_id="unit.three", run_id="t", run_type="manual", logical_date=None)
    return {"dag_run": dag_run, "ti": SimpleNamespace(id="ti", try_number=7 if last else 1, max_tries=6)}


def judged(scope: Scope, recovery: int, state: SubrunState, *, held: bool = False) -> None:
    """Record what a check would have found of all jobs of a submission."""
    tag = scope.tag("gen", recovery)
    units = scope.ledger.submission(tag).units
    states = [UnitState(process=unit.process, state=state, held=held) for unit in units]
    scope.ledger.settle(tag, verdicts=[], accept=[], reject=[], states=states, now=2.0)


def recover() -> RecoverOperator:
    return RecoverOperator(task_id="recover", stage="gen", slice_item=ITEM)


def tag_waited_for(deferred: pytest.ExceptionInfo[TaskDeferred]) -> str:
    return str(deferred.value.trigger.tag)


def answer(chosen: str) -> dict[str, Any]:
    return {"chosen_options": [chosen], "params_input": {}, "responded_by_user": {"id": "1", "name": "ann"}}
