"""Waiting until a schedd that gave no answer about a submission's jobs is likely to give one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.triggers.base import BaseTrigger, TriggerEvent

from include.errors import ProdsysError
from prodsys_operators import triggers
from prodsys_operators.wait import LIMIT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from airflow.sdk import BaseOperator

    from include.errors import JobsUnreachable

PAUSE_S = 15.0
"""Before the first look again; twice as long before each further one."""
LONGEST_S = 600.0


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
        await asyncio.sleep(min(PAUSE_S * 2**self.rounds, LONGEST_S))
        try:
            watched = await asyncio.to_thread(triggers.look_up, self.tag)
        except ProdsysError as error:
            self.log.warning("%s", error)
            watched = ()
        await triggers.answers(watched)
        event = {"tag": self.tag, "over": True, "rounds": self.rounds + 1}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]


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
