"""Waiting until a schedd that gave no answer about a submission's jobs is likely to give one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.triggers.base import BaseTrigger, TriggerEvent

from include.errors import ProdsysError
from prodsys_operators import watching
from prodsys_operators.ended_by_hand import on_kill
from prodsys_operators.wait import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from airflow.sdk import BaseOperator

    from include.errors import JobsUnreachable
    from prodsys_operators.watching import Watched

PAUSE_S = 15.0
"""Before the first look again; longer before each further one."""
SAY_S = 300.0
"""How often the log says who is silent."""


class AnswerTrigger(BaseTrigger):
    """Resumes the task once all schedds of the submission `tag` have answered a poll, after a pause.

    `rounds` are the looks in a row that came to nothing. A schedd may answer polls and not what the task
    asks, so the pause grows with them.
    """

    def __init__(self, *, tag: str, rounds: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tag, self.rounds = tag, rounds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"tag": self.tag, "rounds": self.rounds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Pause, then wait for a poll of each schedd; errors of the ledger are for the task to meet."""
        from include.recovery.review import patience_s

        await asyncio.sleep(patience_s(PAUSE_S, self.rounds))
        try:
            watched = await asyncio.to_thread(watching.look_up, self.tag)
        except ProdsysError as error:
            self.log.warning("%s", error)
            watched = ()
        by_schedd: dict[str, list[Watched]] = {}
        for item in watched:
            by_schedd.setdefault(item.schedd, []).append(item)
        watching.remember(watched)
        try:
            await asyncio.gather(*(self._answer(*each) for each in by_schedd.items()))
        finally:
            watching.forget(watched)
        event = {"tag": self.tag, "over": True, "rounds": self.rounds + 1}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Say what becomes of the jobs when a person ends the wait (ended_by_hand)."""
        await on_kill(self.tag, self.task_instance, log=self.log)

    async def _answer(self, schedd: str, items: Sequence[Watched]) -> None:
        """Come back when `schedd` was polled, or a wait for a cluster of it ended, which says the same."""
        waits = [watching.wait(item, holds_known=item.jobs) for item in items]
        tasks = [asyncio.ensure_future(each) for each in (watching.next_poll(schedd), *waits)]
        try:
            while not (await asyncio.wait(tasks, timeout=SAY_S, return_when=asyncio.FIRST_COMPLETED))[0]:
                for said in watching.silence([schedd]):
                    self.log.warning("%s", said)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def rounds_of(event: Any) -> int:
    """Return how many looks in a row have come to nothing when a task is resumed with `event`."""
    return int(event.get("rounds", 0)) if isinstance(event, dict) else 0


def wait_for_answer(task: BaseOperator, error: JobsUnreachable, event: Mapping[str, Any] | None) -> NoReturn:
    """Wait in the triggerer until the schedds of a submission answer, however long; then `task.resume` runs.

    `event` is what the task was resumed with. Tries that count would be over long before a schedd is mended.
    """
    rounds = rounds_of(event)
    again = f"; look {rounds + 1} of that" if rounds else ""
    task.log.warning("%s Nothing is decided without it: waiting until it answers%s", error, again)
    trigger = AnswerTrigger(tag=error.tag, rounds=rounds)
    task.defer(trigger=trigger, method_name="resume", timeout=LIMIT)
    raise AssertionError
