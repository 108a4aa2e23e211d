"""The recover task, killed and asked at odd moments; the pool and jobsub are the shipped fakes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput, TaskDeferred

from include.bookkeeping.records import UnitState
from include.campaign.states import ActionKind, JobStatus, SubmissionState, SubrunState
from prodsys_operators import recover as recover_module
from prodsys_operators.check import CheckOperator, StageUnknown
from prodsys_operators.recover import ACCEPT, AGAIN, STOP
from tests.unit.operators.recovering import ITEM, SCHEDD, answer, context, judged, recover, tag_waited_for
from tests.unit.operators.stage_outputs import accept

if TYPE_CHECKING:
    from include.batch.fake import FakePool
    from prodsys_operators.scope import Scope

pytestmark = pytest.mark.usefixtures("first_failed")


def test_killed_between_intent_and_send_it_sends_the_same_and_nothing_else(
    scope: Scope, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recover_module, "send", killed)
        with pytest.raises(KeyboardInterrupt):
            recover().execute(context())
    for _ in range(2):
        with pytest.raises(TaskDeferred) as deferred:
            recover().execute(context())
        assert tag_waited_for(deferred) == scope.tag("gen", 1)
    sent = scope.ledger.submissions("unit.three", "t", stage="gen")
    assert [(row.recovery, len(row.units), len(row.clusters)) for row in sent] == [(0, 3, 1), (1, 3, 1)]
    assert len(pool.find_tag(scope.tag("gen", 1))) == 1


def test_attempts_end_in_a_question_whose_answers_do_what_they_say(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    for recovery in (1, 2):
        with pytest.raises(TaskDeferred):
            recover().execute(context())
        judged(scope, recovery, SubrunState.MISSING)
    with pytest.raises(TaskAwaitingInput):
        recover().execute(context())
    assert "all 2 recoveries are spent" in questions[-1]
    with pytest.raises(AirflowFailException, match="stopped by ann"):
        recover().answered(context(), answer(STOP))
    assert recover().answered(context(), answer(ACCEPT))["missing"] == 3
    with pytest.raises(TaskDeferred) as deferred:
        recover().answered(context(), answer(AGAIN))
    assert tag_waited_for(deferred) == scope.tag("gen", 3)
    judged(scope, 3, SubrunState.MISSING)
    with pytest.raises(TaskAwaitingInput):
        recover().execute(context())
    kinds = [act.kind for act in scope.ledger.actions("unit.three", tranche="t")]
    assert kinds.count(ActionKind.RECOVER_AGAIN) == 1
    assert kinds.count(ActionKind.RECOVER) == 3


def unproven(scope: Scope, pool: FakePool) -> None:
    """Let every job end well a moment ago, and show nothing of it."""
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED, since=time.time(), exit_code=0)
    judged(scope, 0, SubrunState.UNKNOWN)
    scope.ledger.record_ended(scope.tag("gen", 0), now=3.0)


def test_what_is_not_proven_is_put_to_a_person_once_looking_has_not_helped(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    unproven(scope, pool)
    check = CheckOperator(task_id="check", stage="gen", slice_item=ITEM)
    for task in (check, recover()):
        with pytest.raises(StageUnknown, match="3 subruns are unknown"):
            task.execute(context())
    assert check.execute(context(last=True))["accepted"] == 0
    with pytest.raises(TaskAwaitingInput):
        recover().execute(context(last=True))
    assert "3 subruns are unknown" in questions[-1]
    assert "Nothing failed" not in questions[-1]
    reason = "the ad says exit code 0, but the outstage area is not there: is the storage mounted?"
    assert f"not known: 3 subruns: {reason}" in questions[-1]
    assert "evidence: /" in questions[-1]
    assert "to do: mend what keeps it from being known" in questions[-1]
    assert recover().answered(context(), answer(ACCEPT))["accepted"] == 0

    with pytest.raises(TaskDeferred) as deferred:
        recover().answered(context(), answer(AGAIN))
    assert tag_waited_for(deferred) == scope.tag("gen", 1)
    assert [unit.first_subrun for unit in scope.ledger.submission(scope.tag("gen", 1)).units] == [0, 1, 2]


def test_jobs_that_nobody_knows_are_put_to_a_person_after_one_more_wait(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    judged(scope, 0, SubrunState.UNKNOWN)
    pool.lose_queue(SCHEDD)
    with pytest.raises(TaskDeferred) as deferred:
        recover().execute(context())
    assert tag_waited_for(deferred) == scope.tag("gen", 0)
    with pytest.raises(TaskAwaitingInput):
        recover().resume(context(), {"over": True})
    assert "3 subruns are unknown" in questions[-1]


def test_a_check_leaves_jobs_that_still_run_to_the_recover_task(scope: Scope, pool: FakePool) -> None:
    judged(scope, 0, SubrunState.UNKNOWN)
    check = CheckOperator(task_id="check", stage="gen", slice_item=ITEM)
    assert check.execute(context())["accepted"] == 0
    with pytest.raises(TaskDeferred) as deferred:
        recover().execute(context())
    assert tag_waited_for(deferred) == scope.tag("gen", 0)
    assert pool.find_tag(scope.tag("gen", 0))


def test_check_and_recover_wait_for_a_schedd_that_is_silent(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED, since=1000.0, exit_code=9)
    judged(scope, 0, SubrunState.UNKNOWN)
    pool.set_schedd(SCHEDD, up=False)
    check = CheckOperator(task_id="check", stage="gen", slice_item=ITEM)
    over = {"tag": scope.tag("gen"), "over": True}
    assert recover().answered(context(), answer(ACCEPT))["accepted"] == 0
    again = {**over, "rounds": 4}
    for act, rounds in (
        (lambda: check.execute(context(last=True)), 0),
        (lambda: check.resume(context(last=True), again), 4),
        (lambda: recover().resume(context(last=True), again), 4),
        (lambda: recover().answered(context(last=True), answer(AGAIN)), 0),
    ):
        with pytest.raises(TaskDeferred) as deferred:
            act()
        assert deferred.value.method_name == "resume"
        assert deferred.value.trigger.serialize()[1] == {"tag": scope.tag("gen"), "rounds": rounds}
    pool.set_schedd(SCHEDD, up=True)
    assert check.resume(context(), over)["missing"] == 3
    assert questions == []


def test_a_stage_that_is_over_needs_no_schedd(scope: Scope, pool: FakePool) -> None:
    """What its jobs did is in the ledger."""
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED, since=1000.0, exit_code=9)
    check = CheckOperator(task_id="check", stage="gen", slice_item=ITEM)
    assert check.execute(context())["missing"] == 3
    assert scope.ledger.submission(scope.tag("gen")).state is SubmissionState.ENDED
    pool.set_schedd(SCHEDD, up=False)
    assert check.execute(context())["missing"] == 3


def test_nobody_is_asked_about_lost_jobs_while_others_of_the_stage_run(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    pool.lose_queue(SCHEDD)
    with pytest.raises(TaskDeferred):
        recover().execute(context())
    judged(scope, 0, SubrunState.UNKNOWN)
    second = scope.ledger.submission(scope.tag("gen", 1)).clusters[0][1]
    pool.set_status(SCHEDD, second, JobStatus.RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        recover().resume(context(), {"tag": scope.tag("gen"), "over": True})
    assert tag_waited_for(deferred) == scope.tag("gen", 1)
    assert questions == []


def test_a_stage_that_has_enough_waits_for_no_schedd(scope: Scope, pool: FakePool) -> None:
    states = [UnitState(process=n, state=SubrunState.ACCEPTED, held=False) for n in range(2)]
    states.append(UnitState(process=2, state=SubrunState.UNKNOWN, held=True))
    accept(scope.ledger, scope, "gen", 0, 1, states=states)
    pool.set_schedd(SCHEDD, up=False)
    assert recover().execute(context())["accepted"] == 2


def test_a_person_is_not_asked_at_once_when_a_schedd_answers_again(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    """Its jobs have left the queue, and are not in its history yet."""
    judged(scope, 0, SubrunState.UNKNOWN, held=True)
    pool.set_schedd(SCHEDD, up=False)
    with pytest.raises(TaskDeferred):
        recover().execute(context())
    pool.set_schedd(SCHEDD, up=True)
    pool.lose_queue(SCHEDD)
    with pytest.raises(StageUnknown):
        recover().resume(context(), {"tag": scope.tag("gen"), "over": True, "rounds": 1})
    assert questions == []
