"""LocalExecutor that holds a slot for each task it has handed over, and whose workers have tasks' imports.

Airflow 3.3.2's own never fills `running` (apache/airflow#71914): parallelism bounds nothing, and once the
64 KiB pipe to the workers is full the scheduler blocks in `put` and turns unhealthy (apache/airflow#70526).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow.executors.local_executor import LocalExecutor

from prodsys_operators.preload import preload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.executors.workloads import ExecutorWorkload


class SlotLocalExecutor(LocalExecutor):
    """Runs tasks in local processes, never more than `parallelism` at once, handed over or running."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._handed: Counter[Any] = Counter()
        """Key → workers that have it."""

    def start(self) -> None:
        """Import what tasks need, then start the workers, from which each task is forked."""
        if self.is_mp_using_fork:
            for name, error in preload():
                self.log.warning("%s: not imported before tasks are forked: %s", name, error, exc_info=error)
        super().start()

    def _read_results(self) -> None:
        while not self.result_queue.empty():
            key, state, error = self.result_queue.get()
            if str(state) == "running":
                # A report as well: it must not free the slot.
                self.change_state(key, state, error, remove_running=False)
                continue
            self._handed[key] -= 1
            if self._handed[key] > 0:
                # A task that parked, and was woken before its first worker had gone, seconds after it parked:
                # the scheduler would take that worker's end for a death of the task.
                continue
            del self._handed[key]
            self.change_state(key, state, error)

    def _process_workloads(self, workload_list: Sequence[ExecutorWorkload]) -> None:
        self._read_results()
        self.running.update(workload.key for workload in workload_list)
        self._handed.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]
