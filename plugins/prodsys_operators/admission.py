"""Ask the ledger before sending. Who has to wait does so in the triggerer, all by one query a poll."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from include.bookkeeping.admission import Limit
from include.bookkeeping.admission_story import by_schedd, held_by, waits_for
from include.campaign.states import SubmissionState
from include.crash_points import reached
from include.errors import LedgerUnavailable, PoolError, ProdsysError
from prodsys_operators.settings import Settings, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from include.bookkeeping.admission import Decision, DeploymentLimits
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import Submission
    from prodsys_operators.scope import Scope

log = logging.getLogger(__name__)

GATHER_S = 0.2
"""A wait that begins is asked for this soon, so that hundreds that begin together share the query."""
TELL_EVERY_S = 60.0
"""A task log gets the figures at most so often."""
HOLDERS_EVERY_S = 600.0
"""And what holds the room so often."""
SCHEDDS_EVERY_S = 300.0
"""The collector is asked so often how many schedds there are."""


def may_send(scope: Scope, intent: Submission, *, log: Any) -> bool:
    """Ask for room for what was intended; where there is none, the log says what it waits for."""
    from include.bookkeeping.ledger_admission import AdmissionRequest

    if intent.state in (SubmissionState.SUBMITTED, SubmissionState.ENDED):
        return True
    names = [stage.name for stage in scope.plan.stages]
    request = AdmissionRequest(
        tag=intent.tag,
        stage_number=names.index(intent.stage),
        jobs_limit=scope.plan.limits.max_jobs_in_flight,
        slices_limit=scope.plan.limits.max_slices_in_flight,
    )
    waits = scope.ledger.ask(request, limits=_schedds.limits(scope.settings, log=log), now=time.time())
    if waits is not None:
        log.info("%s; asking again in the triggerer", waits_for(waits))
        return False
    reached("submit.admitted")
    return True


class AdmissionTrigger(BaseTrigger):
    """Waits until the submission `tag` may be sent; the task then resumes, and asks once more itself."""

    def __init__(self, *, tag: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tag = tag

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"tag": self.tag}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask with all others, and tell what it waits for.

        An error that is not about the ledger being away is for the task: it asks once more itself, and fails
        or is tried again as any task, one by one. Failing here would fail all that wait, in all campaigns.
        """
        told = Telling(self.log)
        with asker.answers(self.tag) as answers:
            answer = await asker.next_of(answers)
            while isinstance(answer, Waits | LedgerUnavailable):
                if isinstance(answer, Waits):
                    told.tell(answer)
                else:
                    told.trouble(answer)
                answer = await asker.next_of(answers)
        if answer is not None:
            self.log.error("%s; the task asks once more itself", answer)
            await asyncio.sleep(settings().poll_interval)  # should asking fail here alone, nothing spins
        yield TriggerEvent({"tag": self.tag})  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Why one submission is not sent yet."""

    decision: Decision
    holders: tuple[str, ...]
    """What holds the room, one line each."""


Answer = Waits | ProdsysError | None
"""None: it may be sent, or is not to be sent any more; the task finds out which."""


class Telling:
    """Writes to one task's log, as often as is of use."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self._text, self._at, self._holders_at = "", -TELL_EVERY_S, -HOLDERS_EVERY_S

    def tell(self, waits: Waits) -> None:
        """Write what it waits for where that is news, and what holds the room now and then."""
        text, now = waits_for(waits.decision), time.monotonic()
        if text != self._text and now - self._at >= TELL_EVERY_S:
            self._text, self._at = text, now
            self.log.info("%s", text)
        if waits.holders and now - self._holders_at >= HOLDERS_EVERY_S:
            self._holders_at = now
            for line in waits.holders:
                self.log.info("%s", line)

    def trouble(self, error: ProdsysError) -> None:
        """Write that nobody answers, once."""
        if str(error) != self._text:
            self._text = str(error)
            self.log.warning("asking again: %s", error)


class Asker:
    """Asks for all that wait in this process, in one transaction a poll; belongs to one event loop."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Queue[Answer], str] = {}
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def answers(self, tag: str) -> Iterator[asyncio.Queue[Answer]]:
        """Have `tag` asked for as long as the block lasts; the queue gets an answer each time."""
        queue: asyncio.Queue[Answer] = asyncio.Queue()
        self._queues[queue] = tag
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="ask for admission")
        try:
            yield queue
        finally:
            del self._queues[queue]

    async def next_of(self, answers: asyncio.Queue[Answer]) -> Answer:
        """Return the next answer; an error of the asking itself is raised in all that wait."""
        following = asyncio.create_task(answers.get())
        asking = self._task
        try:
            await asyncio.wait(
                {following, *([asking] if asking else [])}, return_when=asyncio.FIRST_COMPLETED
            )
            if not following.done() and asking is not None:
                asking.result()
            return await following
        finally:
            following.cancel()

    async def _run(self) -> None:
        await asyncio.sleep(GATHER_S)
        while self._queues:
            tags = set(self._queues.values())
            try:
                found = await asyncio.to_thread(ask_for, sorted(tags))
            except ProdsysError as error:
                found = dict.fromkeys(tags, error)
            for queue, tag in self._queues.items():
                if tag in tags:
                    queue.put_nowait(found.get(tag))
            await asyncio.sleep(settings().poll_interval)


asker = Asker()


class Schedds:
    """How many schedds there are, as the collector said lately."""

    def __init__(self) -> None:
        self._number, self._until = 0, 0.0

    def limits(self, deployment: Settings, *, log: Any) -> DeploymentLimits:
        """Return the deployment's limits; without an answer of the collector there is room for nothing."""
        from include.bookkeeping.admission import DeploymentLimits

        if deployment.max_jobs_per_schedd and time.monotonic() >= self._until:
            try:
                with deployment.open_pool() as pool:
                    self._number = len(pool.schedds())
                self._until = time.monotonic() + SCHEDDS_EVERY_S
            except PoolError as error:
                log.warning("nobody knows how many schedds there are: %s", error)
        return DeploymentLimits(
            jobs_per_experiment=deployment.max_jobs_per_experiment or None,
            jobs_per_schedd=deployment.max_jobs_per_schedd or None,
            schedds=self._number,
        )


_schedds = Schedds()


def ask_for(tags: Sequence[str]) -> dict[str, Answer]:
    """Ask the ledger for `tags` at once; those that it leaves out are not to be sent any more."""
    deployment = settings()
    limits = _schedds.limits(deployment, log=log)
    with deployment.open_ledger() as ledger:
        decisions = ledger.ask_again(tags, limits=limits, now=time.time())
        return {
            tag: None if each is None else Waits(decision=each, holders=_holders.under(ledger, each))
            for tag, each in decisions.items()
        }


class Holders:
    """What holds room, looked up at most once a minute however many wait, or anew where nothing was found."""

    def __init__(self) -> None:
        self._known: dict[tuple[Limit, str], tuple[float, tuple[str, ...]]] = {}

    def under(self, ledger: Ledger, decision: Decision) -> tuple[str, ...]:
        """Return what holds the room that a submission waits for, one line each."""
        key = (decision.limit or Limit.POOL, decision.name)
        until, lines = self._known.get(key, (0.0, ()))
        if not lines or time.monotonic() >= until:
            lines = holders_of(ledger, *key)
            self._known[key] = (time.monotonic() + TELL_EVERY_S, lines)
        return lines


_holders = Holders()


def holders_of(ledger: Ledger, limit: Limit, name: str) -> tuple[str, ...]:
    """Return what holds room under a limit, one line each."""
    now = time.time()
    lines = [f"held by {held_by(each, now=now)}" for each in ledger.holders(limit, name, now=now)]
    if lines and limit is Limit.POOL:
        lines.append(by_schedd(ledger.jobs_by_schedd()))
    return tuple(lines)
