"""The executor holds a slot for what it has handed over; Airflow's own does not."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.executors.local_executor import LocalExecutor
from airflow.executors.workloads.base import BundleInfo
from airflow.executors.workloads.task import ExecuteTask, TaskInstanceDTO
from airflow.utils.state import TaskInstanceState

from prodsys_operators.executor import SlotLocalExecutor

if TYPE_CHECKING:
    from multiprocessing import SimpleQueue

PARALLELISM = 2


def workload(number: int) -> ExecuteTask:
    ti = TaskInstanceDTO(
        id=uuid.uuid4(),
        dag_version_id=uuid.uuid4(),
        task_id=f"t{number}",
        dag_id="d",
        run_id="r",
        try_number=1,
        map_index=-1,
        pool_slots=1,
        priority_weight=1,
        queue="default",
        hostname=None,
        context_carrier=None,
    )
    return ExecuteTask(
        ti=ti,
        dag_rel_path=Path("d.py"),
        token="",
        log_path=None,
        bundle_info=BundleInfo(name="b", version=None),
    )


def without_workers(kind: type[LocalExecutor]) -> Any:
    """Make an executor whose queue nobody reads, so that what it hands over can be counted."""

    class Unstaffed(kind):  # type: ignore[valid-type,misc]
        def _spawn_workers_with_gc_freeze(self, spawn_number: int) -> None: ...

        def _spawn_worker(self) -> None: ...

    executor = Unstaffed(parallelism=PARALLELISM)
    executor.start()
    return executor


def drain(queue: SimpleQueue[Any]) -> list[Any]:
    items = []
    while not queue.empty():
        items.append(queue.get())
    return items


def offer(executor: Any, number: int) -> list[ExecuteTask]:
    offered = [workload(index) for index in range(number)]
    for item in offered:
        executor.queued_tasks[item.key] = item
    return offered


def test_hands_over_no_more_than_parallelism() -> None:
    executor = without_workers(SlotLocalExecutor)
    offer(executor, 60)
    for _ in range(5):
        executor.heartbeat()
    handed = drain(executor.activity_queue)
    assert len(handed) == PARALLELISM
    assert executor.slots_available < 0


def test_a_task_that_reports_running_keeps_its_slot_and_one_that_ended_frees_it() -> None:
    executor = without_workers(SlotLocalExecutor)
    offer(executor, 10)
    executor.heartbeat()
    first, second = drain(executor.activity_queue)
    executor.result_queue.put((first.key, TaskInstanceState.RUNNING, None))
    executor.heartbeat()
    executor.heartbeat()
    assert drain(executor.activity_queue) == []
    executor.result_queue.put((second.key, TaskInstanceState.SUCCESS, None))
    executor.heartbeat()
    executor.heartbeat()
    assert len(drain(executor.activity_queue)) == 1
    assert len(executor.running) == PARALLELISM


def test_the_end_of_a_worker_whose_task_was_woken_meanwhile_is_not_the_tasks_end() -> None:
    executor = without_workers(SlotLocalExecutor)
    (parked,) = offer(executor, 1)
    executor.heartbeat()
    executor.queued_tasks[parked.key] = parked  # its question was answered at once
    executor.heartbeat()
    assert len(drain(executor.activity_queue)) == 2
    executor.result_queue.put((parked.key, TaskInstanceState.SUCCESS, None))
    executor.sync()
    assert parked.key in executor.running
    assert parked.key not in executor.event_buffer
    executor.result_queue.put((parked.key, TaskInstanceState.SUCCESS, None))
    executor.sync()
    assert parked.key not in executor.running
    assert executor.event_buffer[parked.key][0] == TaskInstanceState.SUCCESS


def test_a_result_keeps_its_error() -> None:
    executor = without_workers(SlotLocalExecutor)
    (item,) = offer(executor, 1)
    executor.heartbeat()
    error = ValueError("broken")
    executor.result_queue.put((item.key, TaskInstanceState.FAILED, error))
    executor.sync()
    state, info = executor.event_buffer[item.key]
    assert state == TaskInstanceState.FAILED
    assert str(info) == "broken"


def test_airflows_own_executor_still_needs_the_cure() -> None:
    """When this fails, Airflow holds slots itself: delete SlotLocalExecutor and use LocalExecutor."""
    executor = without_workers(LocalExecutor)
    offer(executor, 20)
    for _ in range(5):
        executor.heartbeat()
    assert len(drain(executor.activity_queue)) > PARALLELISM


@pytest.fixture(autouse=True)
def airflow_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
