"""A person's wish for one more recovery: what it waits for, removes and makes, and when it ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput, TaskDeferred

from include.bookkeeping.records import UnitState
from include.campaign.states import ActionKind, JobStatus, SubmissionState, SubrunState
from include.errors import ScheddUnreachable
from include.recovery.past import wish_of
from prodsys_operators import recover as recover_module
from prodsys_operators.answers import AnswerTrigger
from prodsys_operators.check import CheckOperator
from prodsys_operators.holds import remove_held, still_alive
from prodsys_operators.recover import ACCEPT, AGAIN, STOP
from prodsys_operators.triggers import SubmissionTrigger
from tests.unit.operators.recovering import ITEM, SCHEDD, answer, context, judged, recover, tag_waited_for
from tests.unit.operators.stage_outputs import accept

if TYPE_CHECKING:
    from include.batch.fake import FakePool
    from prodsys_operators.scope import Scope

pytestmark = pytest.mark.usefixtures("first_failed")


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


def test_recover_again_asks_no_schedd_of_a_submission_that_is_over(scope: Scope, pool: FakePool) -> None:
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED, since=1000.0, exit_code=9)
    CheckOperator(task_id="check", stage="gen", slice_item=ITEM).execute(context())
    assert scope.ledger.submission(scope.tag("gen")).state is SubmissionState.ENDED
    pool.set_schedd(SCHEDD, up=False)
    assert still_alive(scope, "gen") == ""
    recover().note(scope, ActionKind.RECOVER_AGAIN, detail="", who="ann")
    wish = wish_of(scope.ledger, scope.slice, "gen")
    assert wish is not None
    assert remove_held(scope, "gen", wish, log=None) == ""


def test_recover_again_is_not_about_jobs_that_are_held_later(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    judged(scope, 0, SubrunState.UNKNOWN, held=True)
    pool.set_status(SCHEDD, 1, JobStatus.HELD, processes=[0])
    pool.set_status(SCHEDD, 1, JobStatus.HELD, processes=[1], since=time.time() + 60)
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED, processes=[2], since=1000.0, exit_code=9)
    with pytest.raises(TaskDeferred) as deferred:
        recover().answered(context(), answer(AGAIN))
    assert tag_waited_for(deferred) == scope.tag("gen")
    states = [ad.status for ad in sorted(pool.ads(SCHEDD, [1]), key=lambda ad: ad.process)]
    assert states == [JobStatus.REMOVED, JobStatus.HELD, JobStatus.COMPLETED]
    with pytest.raises(TaskDeferred) as deferred:
        recover().resume(context(), {"tag": scope.tag("gen"), "over": True})
    assert tag_waited_for(deferred) == scope.tag("gen", 1)
    assert [unit.first_subrun for unit in scope.ledger.submission(scope.tag("gen", 1)).units] == [0, 2]


@pytest.mark.parametrize("end", ["accepted", "stopped", "asked", "not needed"])
def test_a_wish_that_came_to_nothing_counts_for_nothing_later(
    scope: Scope, pool: FakePool, questions: list[str], end: str
) -> None:
    recover().note(scope, ActionKind.RECOVER_AGAIN, detail="", who="ann")
    assert wish_of(scope.ledger, scope.slice, "gen") is not None
    if end == "accepted":
        recover().answered(context(), answer(ACCEPT))
    elif end == "stopped":
        with pytest.raises(AirflowFailException):
            recover().answered(context(), answer(STOP))
    elif end == "asked":
        recover().note(scope, ActionKind.ASK, detail="its inputs are gone")
    else:
        states = [UnitState(process=n, state=SubrunState.ACCEPTED, held=False) for n in range(3)]
        accept(scope.ledger, scope, "gen", 0, 1, 2, states=states)
        assert recover().execute(context())["accepted"] == 3
        (over,) = [act for act in scope.ledger.actions("unit.three") if act.kind is ActionKind.ACCEPT]
        assert over.who == "prodsys"
        assert over.detail.startswith("Recover again by ann: nothing needs doing: 3 of 3 subruns accepted")
    assert wish_of(scope.ledger, scope.slice, "gen") is None


def test_recover_again_waits_where_a_schedd_tells_of_jobs_and_does_not_remove_them(
    scope: Scope, pool: FakePool, questions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(scope, 0, SubrunState.UNKNOWN, held=True)
    pool.set_status(SCHEDD, 1, JobStatus.HELD)

    def silent(*_: Any, **__: Any) -> int:
        raise ScheddUnreachable(f"{SCHEDD} did not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(pool, "remove_jobs", silent)
        with pytest.raises(TaskDeferred) as deferred:
            recover().answered(context(last=True), answer(AGAIN))
        assert isinstance(deferred.value.trigger, AnswerTrigger)
    with pytest.raises(TaskDeferred) as deferred:
        recover().resume(context(last=True), {"tag": scope.tag("gen"), "over": True, "rounds": 2})
    assert isinstance(deferred.value.trigger, SubmissionTrigger)
    assert {ad.status for ad in pool.ads(SCHEDD, [1])} == {JobStatus.REMOVED}


def test_recover_again_removes_held_jobs_also_of_subruns_that_are_unknown(
    scope: Scope, pool: FakePool, questions: list[str]
) -> None:
    """Nobody knows the first submission's jobs, and those of its recovery are held."""
    judged(scope, 0, SubrunState.UNKNOWN)
    pool.set_status(SCHEDD, 1, JobStatus.UNKNOWN)
    with pytest.raises(TaskDeferred):
        recover().execute(context())
    for _ in range(2):
        with pytest.raises(TaskAwaitingInput):
            recover().resume(context(), {"tag": scope.tag("gen"), "over": True})
        with pytest.raises(TaskDeferred) as deferred:
            recover().answered(context(), answer(AGAIN))
        assert tag_waited_for(deferred) == scope.tag("gen", 1)
        second = scope.ledger.submission(scope.tag("gen", 1)).clusters[0][1]
        if pool.ads(SCHEDD, [second])[0].status is not JobStatus.REMOVED:
            pool.set_status(SCHEDD, second, JobStatus.HELD, since=time.time() - 90_000)
    assert {ad.status for ad in pool.ads(SCHEDD, [second])} == {JobStatus.REMOVED}


def test_a_removal_is_recorded_once_whatever_happens_in_it(
    scope: Scope, pool: FakePool, questions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(scope, 0, SubrunState.UNKNOWN, held=True)
    pool.set_status(SCHEDD, 1, JobStatus.HELD, since=time.time() - 60)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pool, "remove_jobs", killed)
        with pytest.raises(KeyboardInterrupt):
            recover().answered(context(), answer(AGAIN))
        with pytest.raises(KeyboardInterrupt):
            recover().execute(context())
    with pytest.raises(TaskDeferred):
        recover().execute(context())
    (removal,) = [act for act in scope.ledger.actions("unit.three") if act.kind is ActionKind.REMOVE]
    assert (removal.who, len(removal.jobs)) == ("ann", 3)


@pytest.mark.parametrize("ahead_s", [-60, 60])
def test_what_was_decided_last_does_not_go_by_clocks(
    scope: Scope, pool: FakePool, questions: list[str], monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """The workers that ask, hear the answer and recover have clocks that differ."""
    real = time.time
    for recovery in (1, 2):
        with pytest.raises(TaskDeferred):
            recover().execute(context())
        judged(scope, recovery, SubrunState.MISSING)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + ahead_s)
        with pytest.raises(TaskAwaitingInput):
            recover().execute(context())
    with pytest.raises(TaskDeferred):
        recover().answered(context(), answer(AGAIN))
    assert wish_of(scope.ledger, scope.slice, "gen") is None, "its recovery is made"
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - ahead_s)
        recover().note(scope, ActionKind.RECOVER_AGAIN, detail="", who="ann")
        assert wish_of(scope.ledger, scope.slice, "gen") is not None
