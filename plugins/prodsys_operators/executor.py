"""LocalExecutor that holds a slot for each task it has handed to a worker.

Airflow 3.3.2's own never fills `running` (apache/airflow#71914): parallelism bounds nothing, and once the
64 KiB pipe to the workers is full the scheduler blocks in `put` and turns unhealthy (apache/airflow#70526).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.executors.local_executor import LocalExecutor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.executors.workloads import ExecutorWorkload


class SlotLocalExecutor(LocalExecutor):
    """Runs tasks in local processes, never more than `parallelism` at once, handed over or running."""

    def _read_results(self) -> None:
        while not self.result_queue.empty():
            key, state, error = self.result_queue.get()
            # "running" is a report as well: it must not free the slot.
            self.change_state(key, state, error, remove_running=str(state) != "running")

    def _process_workloads(self, workload_list: Sequence[ExecutorWorkload]) -> None:
        self._read_results()
        self.running.update(workload.key for workload in workload_list)
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]
