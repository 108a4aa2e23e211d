"""The recover task, killed and asked at odd moments; the pool and jobsub are the shipped fakes."""

from __future__ import annotations

import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput, TaskDeferred

from include.batch.fake import FakePool
from include.batch.pool import ClusterId, SubmitAnswer
from include.bookkeeping.records import UnitState
from include.campaign.states import ActionKind, JobStatus, SubmissionState, SubrunState
from prodsys_operators import recover as recover_module
from prodsys_operators.check import CheckOperator, StageUnknown
from prodsys_operators.holds import remove_held, still_alive
from prodsys_operators.recover import ACCEPT, AGAIN, STOP, RecoverOperator
from prodsys_operators.scope import Scope
from prodsys_operators.settings import Settings
from prodsys_operators.submit import SubmitOperator
from tests.unit.operators.stage_outputs import accept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from include.batch.pool import SubmitRequest

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


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePool:
    fake = FakePool(str(tmp_path / "pool.json"), (SCHEDD,))
    monkeypatch.setattr(Settings, "open_pool", lambda _self: nullcontext(fake))
    monkeypatch.setattr(Settings, "open_submitter", lambda _self: Submitter(fake))
    return fake


@pytest.fixture
def scope(deployment: Settings, pool: FakePool) -> Iterator[Scope]:
    """A slice whose first submission of gen has failed in all three subruns."""
    from prodsys_operators.campaign_dag import load_plan, spec_path

    plan = load_plan(spec_path("unit/three.yaml"), specs=spec_path("."), area=deployment.area)
    with deployment.open_ledger() as ledger:
        (first,) = ledger.reserve(plan, tranche="t", dag_run_id="t", slices=1, now=1.0)
        made = Scope(settings=deployment, ledger=ledger, plan=plan, slice=first)
        SubmitOperator(task_id="submit", stage="gen", slice_item=ITEM).execute(context())
        judged(made, 0, SubrunState.MISSING)
        yield made


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


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of what was asked."""
    asked: list[str] = []
    monkeypatch.setattr(recover_module, "upsert_hitl_detail", lambda **words: asked.append(words["body"]))
    return asked


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


def test_a_person_s_recovery_that_was_noted_but_not_intended_is_made(
    scope: Scope, pool: FakePool, questions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for recovery in (1, 2):
        with pytest.raises(TaskDeferred):
            recover().execute(context())
        judged(scope, recovery, SubrunState.MISSING)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recover_module, "intend", killed)
        with pytest.raises(KeyboardInterrupt):
            recover().answered(context(), answer(AGAIN))
    with pytest.raises(TaskDeferred) as deferred:
        recover().execute(context())
    assert tag_waited_for(deferred) == scope.tag("gen", 3)
    assert questions == []


def test_an_answer_about_held_jobs_goes_by_what_they_are_now(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    """Somebody released them, and they failed: nothing is held any more."""
    judged(scope, 0, SubrunState.UNKNOWN, held=True)
    cluster = scope.ledger.submission(scope.tag("gen")).clusters[0][1]
    pool.set_status(SCHEDD, cluster, JobStatus.HELD)
    with pytest.raises(TaskAwaitingInput):
        recover().execute(context())
    assert "held" in questions[-1]
    pool.set_status(SCHEDD, cluster, JobStatus.COMPLETED, since=1000.0, exit_code=9)
    with pytest.raises(TaskDeferred) as deferred:
        recover().answered(context(), answer(AGAIN))
    assert tag_waited_for(deferred) == scope.tag("gen", 1)


def test_recover_again_waits_for_jobs_that_were_released_since(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    judged(scope, 0, SubrunState.UNKNOWN, held=True)
    cluster = scope.ledger.submission(scope.tag("gen")).clusters[0][1]
    pool.set_status(SCHEDD, cluster, JobStatus.HELD)
    with pytest.raises(TaskAwaitingInput):
        recover().execute(context())
    pool.set_status(SCHEDD, cluster, JobStatus.RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        recover().answered(context(), answer(AGAIN))
    assert tag_waited_for(deferred) == scope.tag("gen"), "they are not made a second time while they run"
    pool.set_status(SCHEDD, cluster, JobStatus.COMPLETED, since=1000.0, exit_code=9)
    with pytest.raises(TaskDeferred) as deferred:
        recover().resume(context(), {"tag": scope.tag("gen"), "over": True})
    assert tag_waited_for(deferred) == scope.tag("gen", 1), (
        "what they did not make is recovered, as was asked"
    )


def test_recover_again_removes_what_is_still_held_first(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    judged(scope, 0, SubrunState.UNKNOWN, held=True)
    cluster = scope.ledger.submission(scope.tag("gen")).clusters[0][1]
    pool.set_status(SCHEDD, cluster, JobStatus.HELD)
    with pytest.raises(TaskAwaitingInput):
        recover().execute(context())
    with pytest.raises(TaskDeferred) as deferred:
        recover().answered(context(), answer(AGAIN))
    assert tag_waited_for(deferred) == scope.tag("gen")
    assert {ad.status for ad in pool.ads(SCHEDD, [cluster])} == {JobStatus.REMOVED}
    with pytest.raises(TaskDeferred) as deferred:
        recover().resume(context(), {"tag": scope.tag("gen"), "over": True})
    assert tag_waited_for(deferred) == scope.tag("gen", 1)


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


def test_recover_again_waits_for_all_submissions_that_were_released(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    with pytest.raises(TaskDeferred):
        recover().execute(context())
    for recovery in (0, 1):
        judged(scope, recovery, SubrunState.UNKNOWN, held=True)
        pool.set_status(SCHEDD, 1 + recovery, JobStatus.RUNNING)
    with pytest.raises(TaskDeferred) as deferred:
        recover().answered(context(), answer(AGAIN))
    assert tag_waited_for(deferred) == scope.tag("gen", 0)
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED, since=1000.0, exit_code=9)
    with pytest.raises(TaskDeferred) as deferred:
        recover().resume(context(), {"tag": scope.tag("gen"), "over": True})
    assert tag_waited_for(deferred) == scope.tag("gen", 1), "nothing is made while it runs"
    pool.set_status(SCHEDD, 2, JobStatus.COMPLETED, since=1000.0, exit_code=9)
    with pytest.raises(TaskDeferred) as deferred:
        recover().resume(context(), {"tag": scope.tag("gen", 1), "over": True})
    assert tag_waited_for(deferred) == scope.tag("gen", 2)
    assert questions == []


def test_recover_again_removes_held_jobs_once_their_schedd_answers(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    judged(scope, 0, SubrunState.UNKNOWN, held=True)
    pool.set_status(SCHEDD, 1, JobStatus.HELD)
    pool.set_schedd(SCHEDD, up=False)
    with pytest.raises(TaskDeferred):
        recover().answered(context(), answer(AGAIN))
    pool.set_schedd(SCHEDD, up=True)
    with pytest.raises(TaskDeferred) as deferred:
        recover().resume(context(), {"tag": scope.tag("gen"), "over": True, "rounds": 1})
    assert tag_waited_for(deferred) == scope.tag("gen")
    assert {ad.status for ad in pool.ads(SCHEDD, [1])} == {JobStatus.REMOVED}
    (removal,) = [act for act in scope.ledger.actions("unit.three") if act.kind is ActionKind.REMOVE]
    assert removal.who == "ann"
    assert questions == []


def test_a_stage_that_has_enough_waits_for_no_schedd(scope: Scope, pool: FakePool) -> None:
    states = [UnitState(process=n, state=SubrunState.ACCEPTED, held=False) for n in range(2)]
    states.append(UnitState(process=2, state=SubrunState.UNKNOWN, held=True))
    accept(scope.ledger, scope, "gen", 0, 1, states=states)
    pool.set_schedd(SCHEDD, up=False)
    assert recover().execute(context())["accepted"] == 2


def test_recover_again_asks_no_schedd_of_a_submission_that_is_over(scope: Scope, pool: FakePool) -> None:
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED, since=1000.0, exit_code=9)
    CheckOperator(task_id="check", stage="gen", slice_item=ITEM).execute(context())
    assert scope.ledger.submission(scope.tag("gen")).state is SubmissionState.ENDED
    pool.set_schedd(SCHEDD, up=False)
    assert still_alive(scope, "gen") == ""
    assert remove_held(scope, "gen", who="ann", log=None) == ""
