"""Waiting for room: the submit and recover tasks, their trigger, and what gives room back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.triggers.base import TriggerEvent

from include.batch.fake import FakePool
from include.bookkeeping.admission import Limit
from include.bookkeeping.records import UnitState
from include.campaign.states import SubmissionState, SubrunState
from include.errors import LedgerError, LedgerUnavailable, ProdsysError, ScheddUnreachable
from prodsys_operators import admission
from prodsys_operators import settings as settings_module
from prodsys_operators.admission import AdmissionTrigger, Asker, Schedds, Telling, Waits
from prodsys_operators.cleanup import CleanupOperator
from prodsys_operators.recover import RecoverOperator
from prodsys_operators.report import ReportOperator
from prodsys_operators.settings import Settings
from prodsys_operators.submit import SubmitOperator
from tests.unit.operators.recovering import SCHEDD, Submitter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from include.bookkeeping.ledger import Ledger

NOW = 1_800_000_000.0


@pytest.fixture
def three(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The deployment, where an experiment may have three jobs in flight: one slice's."""
    monkeypatch.setenv("AIRFLOW__PRODSYS__MAX_JOBS_PER_EXPERIMENT", "3")
    monkeypatch.setenv("AIRFLOW__PRODSYS__POLL_INTERVAL", "0.05")
    settings_module.settings.cache_clear()
    return settings_module.settings()


@pytest.fixture
def ledger(three: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger, with three slices of unit.three reserved, and a pool that can be submitted to."""
    from prodsys_operators.campaign_dag import load_plan, spec_path

    pool = FakePool(str(tmp_path / "pool.json"), (SCHEDD,))
    monkeypatch.setattr(Settings, "open_pool", lambda _self: nullcontext(pool))
    monkeypatch.setattr(Settings, "open_submitter", lambda _self: Submitter(pool))
    monkeypatch.setattr(admission, "_schedds", Schedds())
    monkeypatch.setattr(admission, "asker", Asker())
    plan = load_plan(spec_path("unit/three.yaml"), specs=spec_path("."), area=three.area)
    with three.open_ledger() as opened:
        opened.reserve(plan, tranche="t", dag_run_id="t", slices=3, now=1.0)
        yield opened


def context(**more: Any) -> Any:
    dag_run = SimpleNamespace(dag_id="unit.three", run_id="t", run_type="manual", logical_date=None)
    return {"dag_run": dag_run, "ti": SimpleNamespace(id="ti"), **more}


def item(index: int) -> dict[str, int]:
    return {"index": index, "run": 10 + index}


def submit(index: int) -> SubmitOperator:
    return SubmitOperator(task_id="submit", stage="gen", slice_item=item(index))


def tag_of(index: int, recovery: int = 0) -> str:
    with settings_module.settings().open_ledger() as opened:
        name = opened.ledger_name("unit.three", "t")
    return f"unit.three/t/{10 + index:06d}/gen/recovery-{recovery}/{name}"


def judge(ledger: Ledger, tag: str, state: SubrunState) -> None:
    """Record what a check would, of jobs that have all ended."""
    states = [UnitState(process=n, state=state, held=False) for n in range(3)]
    ledger.settle(tag, verdicts=[], accept=[], reject=[], states=states, now=2.0)
    ledger.record_ended(tag, now=2.0)


def places(ledger: Ledger) -> list[str]:
    return [each.name for each in ledger.holders(Limit.SLICES, "unit.three", now=NOW)]


# The tasks


def test_submit_waits_in_the_triggerer_until_there_is_room(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit(0).execute(context())["jobs"] == 3
    for _ in range(2):
        with pytest.raises(TaskDeferred) as deferred:
            submit(1).execute(context())
        trigger = deferred.value.trigger
        assert (trigger.serialize()[1], deferred.value.method_name) == ({"tag": tag_of(1)}, "resume")
        assert deferred.value.timeout is not None
    assert (
        "3 of 3 jobs of experiment unit are in flight, it has 3 more; 1st in the" in capsys.readouterr().out
    )
    assert ledger.submission(tag_of(1)).state is SubmissionState.INTENDED
    assert places(ledger) == ["unit.three run 10"]
    assert submit(0).execute(context())["jobs"] == 3, "what was sent asks for nothing"
    judge(ledger, tag_of(0), SubrunState.MISSING)
    assert submit(1).resume(context(), {"tag": tag_of(1)})["tag"] == tag_of(1)
    assert len(ledger.submission(tag_of(1)).clusters) == 1


def test_a_recovery_waits_too_and_then_goes_on_where_it_was(ledger: Ledger) -> None:
    submit(0).execute(context())
    judge(ledger, tag_of(0), SubrunState.MISSING)
    submit(1).execute(context())
    recover = RecoverOperator(task_id="recover", stage="gen", slice_item=item(0))
    for _ in range(2):
        with pytest.raises(TaskDeferred) as deferred:
            recover.execute(context())
        assert (deferred.value.trigger.tag, deferred.value.method_name) == (tag_of(0, 1), "let_in")
    judge(ledger, tag_of(1), SubrunState.ACCEPTED)
    with pytest.raises(TaskDeferred):
        submit(2).execute(context())  # the recovery is before it
    with pytest.raises(TaskDeferred) as deferred:
        recover.let_in(context(), {"tag": tag_of(0, 1)})
    assert deferred.value.method_name == "resume", "sent, and waited for"
    assert len(ledger.submission(tag_of(0, 1)).clusters) == 1


def test_a_task_that_fails_for_good_gives_its_slices_place_back(ledger: Ledger) -> None:
    submit(0).execute(context())
    broken = SubmitOperator(task_id="submit", stage="reco", slice_item=item(0))
    with pytest.raises(AirflowFailException, match="no subrun has its inputs"):
        broken.execute(context())
    assert places(ledger) == ["unit.three run 10"], "its jobs run"
    judge(ledger, tag_of(0), SubrunState.MISSING)
    with pytest.raises(AirflowFailException):
        broken.execute(context())
    assert places(ledger) == []


def test_cleanup_and_report_give_back_what_is_held(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(0).execute(context())
    CleanupOperator(task_id="cleanup", slice_item=item(0)).execute(context())
    assert f"{tag_of(0)}: 3 jobs are not known to have ended" in capsys.readouterr().out
    assert (places(ledger), ledger.jobs_in_flight(now=NOW)) == ([], {})
    submit(1).execute(context())
    assert places(ledger) == ["unit.three run 11"]
    failed = {"task_id": "slice.gen.check", "map_index": 1, "state": "failed"}
    ti = SimpleNamespace(get_task_breadcrumbs=lambda *_: [failed])
    with pytest.raises(AirflowFailException, match="not complete"):
        ReportOperator(task_id="report").execute(context(ti=ti))
    assert (places(ledger), ledger.jobs_in_flight(now=NOW)) == ([], {})


# The trigger


class Lines(logging.Handler):
    """What a task log got."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def waiting(number: int) -> tuple[AdmissionTrigger, Lines]:
    trigger, lines = AdmissionTrigger(tag=tag_of(number)), Lines()
    trigger._log = logging.getLogger(f"{__name__}.{id(lines)}")
    trigger._log.setLevel(logging.INFO)
    trigger._log.addHandler(lines)
    return trigger, lines


async def first_event(trigger: AdmissionTrigger) -> Any:
    async with asyncio.timeout(20):
        async for event in trigger.run():
            return event
    raise AssertionError


def test_all_that_wait_ask_by_one_query_and_the_next_gets_in(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Sequence[str]] = []
    ask_for = admission.ask_for
    third = threading.Event()

    def counted(tags: Sequence[str]) -> Any:
        asked.append(tags)
        if len(asked) == 3:  # two answers were told by then
            third.set()
        return ask_for(tags)

    monkeypatch.setattr(admission, "ask_for", counted)
    submit(0).execute(context())
    for index in (1, 2):
        with pytest.raises(TaskDeferred):
            submit(index).execute(context())

    async def scene() -> tuple[Any, list[str], list[str]]:
        (first, told), (second, told_too) = waiting(1), waiting(2)
        events = [asyncio.create_task(first_event(each)) for each in (first, second)]
        assert await asyncio.to_thread(third.wait, 20)
        judge(ledger, tag_of(0), SubrunState.ACCEPTED)
        event = await events[0]
        events[1].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await events[1]
        assert not admission.asker._queues, "nobody is asked for who does not wait"
        return event, told.lines, told_too.lines

    event, told, told_too = asyncio.run(scene())
    assert isinstance(event, TriggerEvent)
    assert event.payload == {"tag": tag_of(1)}
    assert list(asked[0]) == [tag_of(1), tag_of(2)]
    assert len(told) == len(told_too) == 2, "figures once, and what holds the room"
    assert told[0].endswith("it has 3 more; 1st in the queue")
    assert told_too[0].endswith("it has 3 more; 2nd in the queue")
    assert told[1].startswith(f"held by {tag_of(0)}: 3 jobs, since")


def test_a_busy_ledger_is_asked_again_and_a_wrong_one_is_for_the_task_to_meet(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Exception] = [LedgerUnavailable("locked"), LedgerUnavailable("locked"), LedgerError("wrong")]

    def ask_for(_tags: Sequence[str]) -> dict[str, Any]:
        raise errors.pop(0)

    monkeypatch.setattr(admission, "ask_for", ask_for)
    trigger, told = waiting(1)
    event = asyncio.run(first_event(trigger))
    assert isinstance(event, TriggerEvent), "not TaskFailedEvent: that would fail all that wait at once"
    assert event.payload == {"tag": tag_of(1)}
    assert told.lines == ["asking again: locked", "wrong; the task asks once more itself"]
    errors.append(ZeroDivisionError("a mistake of ours"))
    with pytest.raises(ZeroDivisionError):
        asyncio.run(first_event(waiting(1)[0]))


def test_a_task_that_an_error_woke_waits_on_where_the_ledger_is_well_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(0).execute(context())
    with pytest.raises(TaskDeferred):
        submit(1).execute(context())

    def away(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(type(ledger), "ask", away)
        with pytest.raises(LedgerUnavailable):  # which Airflow tries again
            submit(1).resume(context(), {"tag": tag_of(1)})
    with pytest.raises(TaskDeferred) as deferred:
        submit(1).resume(context(), {"tag": tag_of(1)})
    assert deferred.value.method_name == "resume"
    judge(ledger, tag_of(0), SubrunState.MISSING)
    assert submit(1).resume(context(), {"tag": tag_of(1)})["jobs"] == 3


def test_a_tag_that_is_not_to_be_sent_any_more_goes_back_to_its_task(ledger: Ledger) -> None:
    assert isinstance(asyncio.run(first_event(waiting(1)[0])), TriggerEvent)


def test_the_figures_are_told_once_a_minute_however_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(admission.time, "monotonic", lambda: clock[0])
    lines = Lines()
    log = logging.getLogger(f"{__name__}.{id(lines)}")
    log.setLevel(logging.INFO)
    log.addHandler(lines)
    told = Telling(log)
    for second in range(1300):
        clock[0] = 1000.0 + second
        decision = SimpleNamespace(
            waiting=SimpleNamespace(jobs=5), limit=Limit.POOL, name="", in_flight=second, most=9, place=1
        )
        holders = ("held by x",) if second else ()  # those before the first second had just ended
        told.tell(Waits(decision=decision, holders=holders))  # type: ignore[arg-type]
    figures = [line for line in lines.lines if line.startswith("waits: ")]
    assert (len(figures), lines.lines.index("held by x"), lines.lines.count("held by x")) == (22, 1, 3)


# The deployment's limits


def test_without_an_answer_of_the_collector_nothing_is_admitted(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__PRODSYS__MAX_JOBS_PER_EXPERIMENT", "0")
    monkeypatch.setenv("AIRFLOW__PRODSYS__MAX_JOBS_PER_SCHEDD", "5")
    settings_module.settings.cache_clear()

    class Silent(FakePool):
        def schedds(self) -> tuple[str, ...]:
            raise ScheddUnreachable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Settings, "open_pool", lambda _self: nullcontext(Silent("/nowhere", (SCHEDD,))))
        with pytest.raises(TaskDeferred):
            submit(0).execute(context())
    said = capsys.readouterr().out
    assert "nobody knows how many schedds there are: no answer" in said
    assert "waits: no schedd is known" in said
    assert submit(0).execute(context())["jobs"] == 3
    with pytest.raises(TaskDeferred):
        submit(1).execute(context())
    assert "3 of 5 jobs of the pool are in flight, it has 3 more" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["-1", "many", "1.5", ""])
def test_a_limit_that_is_no_number_is_named(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("AIRFLOW__PRODSYS__MAX_JOBS_PER_SCHEDD", text)
    settings_module.settings.cache_clear()
    with pytest.raises(ProdsysError, match=r"max_jobs_per_schedd = '.*' is not a whole number"):
        settings_module.settings()
