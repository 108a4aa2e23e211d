"""The DAG that compares: what it asks Airflow, and that it says which room came back."""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.utils.state import DagRunState

from include.batch.fake import FakePool
from include.campaign.naming import interval_tranche
from include.errors import AirflowUnreachable
from include.recovery import truth
from prodsys_operators.settings import Settings
from prodsys_operators.truth import CompareOperator, TaskRuns

if TYPE_CHECKING:
    from pathlib import Path


def airflow_says(monkeypatch: pytest.MonkeyPatch, *, count: int, states: Any = None) -> None:
    """Let Airflow have `count` such dag_runs, which have failed, and these states of tasks."""
    for name, answer in (
        ("get_dr_count", count),
        ("get_dagrun_state", DagRunState.FAILED),
        ("get_task_states", {"r": states or {}}),
    ):
        monkeypatch.setattr(RuntimeTaskInstance, name, staticmethod(lambda *_, a=answer, **__: a))


def test_a_dag_run_is_read_by_what_a_task_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {
        "slice.gen.wait_12": "failed",
        "slice.merge_1.plan": None,
        "report": "failed",
        "slice.a_1.b": "x",
    }
    airflow_says(monkeypatch, count=1, states=states)
    run = TaskRuns().dag_run("demo.z", "r", tranche="t")
    assert run.state == "failed"
    assert run.of_stage("gen", 12) == ["failed"]
    assert set(run.tasks) == {
        ("slice.gen.wait", 12), ("slice.merge_1.plan", -1), ("report", -1), ("slice.a_1.b", -1)
    }  # fmt: skip
    airflow_says(monkeypatch, count=0)
    assert TaskRuns().dag_run("demo.z", "r", tranche="t").state is None


def test_a_dag_run_that_is_gone_lives_on_in_one_of_its_interval_that_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)

    def count(**asked: Any) -> int:
        if "run_ids" in asked:
            return 0
        assert asked["states"] == ["queued", "running"]
        return int(asked["logical_dates"] == [start])

    monkeypatch.setattr(RuntimeTaskInstance, "get_dr_count", staticmethod(count))
    runs = TaskRuns()
    assert runs.dag_run("demo.z", "r", tranche=interval_tranche(start)).state == "queued"
    assert runs.dag_run("demo.z", "r", tranche=interval_tranche(start + dt.timedelta(1))).state is None
    assert runs.dag_run("demo.z", "r", tranche="manual__1").state is None


def test_an_airflow_that_does_not_answer_is_no_airflow_without_the_dag_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(**_: Any) -> int:
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))

    monkeypatch.setattr(RuntimeTaskInstance, "get_dr_count", staticmethod(fails))
    with pytest.raises(AirflowUnreachable, match=r"demo\.z r"):
        TaskRuns().dag_run("demo.z", "r", tranche="t")


def test_room_that_came_back_is_said_and_is_no_alarm(
    deployment: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = []

    def compare(*_: Any, runs: Any, **__: Any) -> truth.Comparison:
        asked.append(runs)
        return truth.Comparison(
            disagreements=(),
            submissions=1,
            files=0,
            accepted=0,
            no_answer=(),
            given_back=("x: 4 count no longer",),
        )

    monkeypatch.setattr(truth, "compare", compare)
    pool = FakePool(str(tmp_path / "pool.json"), ("ap1@fake",))
    monkeypatch.setattr(Settings, "open_pool", lambda _self: nullcontext(pool))
    assert CompareOperator(task_id="compare").execute({}) == {"submissions": 1, "files": 0}
    assert "room is given back: x: 4 count no longer" in capsys.readouterr().out
    assert isinstance(asked[0], TaskRuns)
