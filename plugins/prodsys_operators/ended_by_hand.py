"""What becomes of jobs whose wait a person ends in Airflow's UI: by default nothing, and that is said."""

from __future__ import annotations

import asyncio
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from prodsys_operators.settings import settings

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import Submission

WHO = "prodsys"
ASK_S = 20.0
"""Airflow gives `on_kill` 30 s in all."""


class EndedBy(StrEnum):
    """What a person did to a task whose trigger was stopped, by the state that Airflow has for it since."""

    FAILED = "failed"
    """It was marked failed, or its dag_run was."""
    SUCCESS = "success"
    """It was marked as success."""
    GONE = "gone"
    """The task instance is not there any more: its dag_run was deleted."""
    WAITS = "waits"
    """It will run again, or waits in another triggerer: it was cleared, or nothing was done to it at all."""
    UNKNOWN = "unknown"
    """Airflow did not say."""


def ended_by(ti: Any, states: dict[str, dict[str, str | None]]) -> EndedBy:
    """Return what was done, by Airflow's states of the task: dag_run → task, with its map index → state."""
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    of_run = states.get(ti.run_id, {})
    if name not in of_run:
        return EndedBy.GONE
    state = of_run[name]
    return EndedBy(state) if state in (EndedBy.FAILED, EndedBy.SUCCESS) else EndedBy.WAITS


async def on_kill(tag: str, ti: Any, *, log: Any) -> None:
    """Say in the wait's log what becomes of its jobs; remove them only where the deployment wants that.

    Airflow calls this for a clearing, a marking and a deletion alike, so it is asked how the task stands now.
    """
    act = await ask(ti, log=log)
    removes = act is EndedBy.FAILED and settings().remove_when_failed
    for line in await asyncio.to_thread(left_behind, tag, act, removes=removes):
        log.warning("%s", line)


async def ask(ti: Any, *, log: Any) -> EndedBy:
    """Ask Airflow what was done to the task; UNKNOWN where it gives no answer."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    try:
        async with asyncio.timeout(ASK_S):
            states = await asyncio.to_thread(
                RuntimeTaskInstance.get_task_states,
                dag_id=ti.dag_id,
                map_index=ti.map_index,
                task_ids=[ti.task_id],
                run_ids=[ti.run_id],
            )
    except Exception as error:  # noqa: BLE001  whatever Airflow raises, nothing is known and nothing is removed
        log.warning("Airflow did not say what was done to this task: %s", error)
        return EndedBy.UNKNOWN
    return ended_by(ti, states)


def left_behind(tag: str, act: EndedBy, *, removes: bool) -> list[str]:
    """Return what to say of the jobs of `tag`; remove them first if that is wanted."""
    with settings().open_ledger() as ledger:
        submission = ledger.submission(tag)
        if submission is None or not submission.clusters:
            return []
        latest = ledger.last_progress([tag]).get(tag)
        if removes:
            return _remove(ledger, submission)
    names = ", ".join(f"{cluster}@{schedd}" for schedd, cluster, _ in submission.clusters)
    seen = "it was not polled yet"
    if latest is not None:
        live = f"{latest.idle} idle, {latest.running} running, {latest.held} held"
        seen = f"at the last poll {live}"
    return [f"{tag}: cluster {names} stays as it is; {seen}. {_NEXT[act]}"]


def _remove(ledger: Ledger, submission: Submission) -> list[str]:
    from include.batch.pool import ClusterId
    from include.errors import PoolError
    from include.recovery.orphans import remove_cluster

    said, why = [], "its wait was marked failed in Airflow, and [prodsys] remove_when_failed is set"
    with settings().open_pool() as pool:
        for schedd, number, _ in submission.clusters:
            cluster, tag = ClusterId(schedd=schedd, cluster=number), submission.tag
            try:
                done = remove_cluster(
                    ledger, pool, cluster, submission, tag=tag, why=why, who=WHO, now=time.time()
                )
            except PoolError as error:
                done = f"{tag}: cluster {cluster} was not removed, its jobs go on: {error}. {_LIST}"
            said.append(done)
    return said


_LIST = (
    "`prodsys orphans` lists it once nothing in Airflow waits for it, `prodsys orphans --remove` removes it"
)
_NEXT = {
    EndedBy.FAILED: f"This task was marked failed: its jobs run on. Clear it to wait again. {_LIST}.",
    EndedBy.SUCCESS: (
        "This task was marked as success while jobs may run: the check calls unknown what is not proven. "
        f"{_LIST}."
    ),
    EndedBy.GONE: f"Its dag_run is gone from Airflow: its jobs run on, and nobody waits for them. {_LIST}.",
    EndedBy.WAITS: "This task was cleared, or goes on in another triggerer: it looks at the same jobs again.",
    EndedBy.UNKNOWN: f"What was done to this task is not known. {_LIST}.",
}
