"""The trigger that waits for one submission; all waits of a triggerer share one watcher a schedd."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from include.crash_points import reached
from include.errors import LedgerUnavailable, ProdsysError
from prodsys_operators import watching
from prodsys_operators.count_words import alive, ending, in_numbers, in_words
from prodsys_operators.ended_by_hand import on_kill
from prodsys_operators.settings import settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from include.batch.pool import ClusterCounts
    from prodsys_operators.watching import Key, Watched

    Wait = asyncio.Task[ClusterCounts]

STALE_S = 60.0
"""Jobs that were held when the wait for their cluster ended so long ago may have been released since."""
LOG_EVERY_S = 60.0
"""A wait writes its counts when they change, and at least this often while its jobs run."""
SILENT_S = 300.0
"""How often a wait looks whether its schedds are silent, and says so."""


class SubmissionTrigger(BaseTrigger):
    """Waits until every job of the submission `tag` is accounted for, or held jobs need an act.

    `ends_task`: the task succeeds in the triggerer at the end; else it resumes with an event
    that says whether the wait is over.
    `known`: how many held jobs of each cluster (`CLUSTER@SCHEDD`) were looked at and left as they are;
    `again_s`: after how many seconds held ones of it are to be looked at again. `silent`: clusters whose
    schedd gave no answer, with the looks in a row that were made for them; the event has it, counted on.
    """

    def __init__(
        self,
        *,
        tag: str,
        ends_task: bool = True,
        known: dict[str, int] | None = None,
        again_s: dict[str, float] | None = None,
        silent: dict[str, int] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tag, self.ends_task = tag, ends_task
        self.known, self.again_s, self.silent = known or {}, again_s or {}, silent or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        arguments: dict[str, Any] = {"tag": self.tag, "ends_task": self.ends_task, "known": self.known}
        arguments |= {"again_s": self.again_s, "silent": self.silent}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch the submission's clusters; end or resume the task, or fail it with the reason."""
        try:
            watched = await self._look_up()
        except ProdsysError as error:
            self.log.error("%s", error)  # noqa: TRY400 - the text is for the operator, the traceback is not
            yield TaskFailedEvent()
            return
        for item in watched:
            self.log.info(
                "%s: waiting for %d jobs of cluster %d@%s", self.tag, item.jobs, item.cluster, item.schedd
            )
        story = asyncio.create_task(self._tell(watched))
        try:
            counts, settled, due = await self._counts(watched)
        finally:
            story.cancel()
        over = settled and not self._needs_a_look(watched, counts)
        for item, count in zip(watched, counts, strict=True):
            said = ending(count) if over else f"{in_words(count)}; looking at what is held"
            self.log.info("cluster %d@%s: %s", item.cluster, item.schedd, said)
        if over:
            await asyncio.to_thread(reached, "wait.over")
        if over and self.ends_task:
            yield TaskSuccessEvent(xcoms={"return_value": [in_numbers(count) for count in counts]})
        else:
            silent = {name: looks + (name in due) for name, looks in self.silent.items()}
            event = {"tag": self.tag, "over": over, "silent": silent}
            yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _look_up(self) -> tuple[Watched, ...]:
        """Return what is to be watched; a ledger that does not answer is asked until it does."""
        silent = False
        while True:
            try:
                return await asyncio.to_thread(watching.look_up, self.tag)
            except LedgerUnavailable as error:
                if not silent:
                    self.log.warning("%s; asking until it answers", error)
                silent = True
            await asyncio.sleep(settings().poll_interval)

    async def on_kill(self) -> None:
        """Say what becomes of the jobs when a person ends the wait (ended_by_hand)."""
        await on_kill(self.tag, self.task_instance, log=self.log)

    async def _counts(self, watched: tuple[Watched, ...]) -> tuple[list[ClusterCounts], bool, frozenset[str]]:
        """Wait for all clusters, or until held jobs need a look.

        Return counts, whether each is settled, and the clusters whose time for a look has come. The counts of
        a cluster that is not settled are its latest. A time that has come proves nothing by itself.
        """
        watching.remember(watched)
        waits = {item: self._wait(item) for item in watched}
        pending = set(waits.values())
        ended_at: dict[Wait, float] = {}
        again: Counter[Watched] = Counter()
        due = self._due(watched)
        come: list[str] = []
        try:
            while pending:
                left = max(0.0, min(due.values()) - time.monotonic()) if due else None
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                ended_at.update(dict.fromkeys(done, time.monotonic()))
                counts = [_counts_of(item, task) or watching.unseen(item) for item, task in waits.items()]
                new = any(
                    task in done and (alive(count) or self._is_new(item, count))
                    for (item, task), count in zip(waits.items(), counts, strict=True)
                )
                come = _come(due, waits)
                if new or come:
                    break
                if not pending:
                    pending = self._again(waits, ended_at, again)
            else:
                held = [item for item, count in zip(waits, counts, strict=True) if count.held]
                if times := [due[item] for item in held if item in due]:
                    await asyncio.sleep(max(0.0, min(times) - time.monotonic()))
                come = _come(due, waits)
            return counts, not pending and not any(alive(count) for count in counts), frozenset(come)
        finally:
            for task in waits.values():
                task.cancel()
            watching.forget(watched)

    def _due(self, watched: Sequence[Watched]) -> dict[Watched, float]:
        """Return when held jobs of a cluster are to be looked at again, in the steady clock's seconds."""
        now = time.monotonic()
        return {item: now + self.again_s[item.name] for item in watched if item.name in self.again_s}

    def _wait(self, item: Watched) -> Wait:
        """Begin to wait for one cluster."""
        return asyncio.create_task(watching.wait(item, holds_known=self.known.get(item.name, 0)))

    def _again(
        self, waits: dict[Watched, Wait], ended_at: Mapping[Wait, float], again: Counter[Watched]
    ) -> set[Wait]:
        """Wait again for clusters that had held or unknown jobs when their wait ended, long ago.

        Return these waits. Jobs that are still unknown have been so for long enough. `again` counts: each
        time twice as long must have passed, lest slow polls keep two clusters waiting for each other.
        """
        now = time.monotonic()
        begun: set[Wait] = set()
        for item, task in list(waits.items()):
            count = task.result()
            fresh = now - ended_at[task] < STALE_S * 2 ** min(again[item], 20)
            if fresh or not (count.held or count.unknown):
                continue
            again[item] += 1
            waits[item] = self._wait(replace(item, unknown_limit_s=0.0) if count.unknown else item)
            begun.add(waits[item])
        return begun

    def _is_new(self, item: Watched, count: ClusterCounts) -> bool:
        """Whether held jobs of a cluster are others than those that were looked at, as far as counts tell.

        Others than those known may be held where as many are: one that is not beyond its limit is not over.
        """
        recent = count.held > 0 and count.held_shortest_s < item.hold_limit_s
        return recent or count.held > self.known.get(item.name, 0)

    def _needs_a_look(self, watched: Sequence[Watched], counts: Sequence[ClusterCounts]) -> bool:
        """Whether held jobs are to be looked at: new ones, or some whose pause is over now."""
        return any(
            self._is_new(item, count) or (count.held > 0 and item.name in self.again_s)
            for item, count in zip(watched, counts, strict=True)
        )

    async def _tell(self, watched: tuple[Watched, ...]) -> None:
        """Write the counts as they change, after each poll of the first schedd, and who is silent."""
        told: dict[Key, tuple[str, float]] = {}
        news = watching.nodes.news.last
        schedds = {item.schedd for item in watched}
        silent_at = time.monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENT_S):
                    await watching.next_poll(watched[0].schedd)
            if time.monotonic() - silent_at >= SILENT_S:
                silent_at = time.monotonic()
                for said in watching.silence(schedds):
                    self.log.warning("%s", said)
            for line in watching.nodes.news.after(news, schedds):
                self.log.warning("%s", line.text)
                news = line.number
            for item in watched:
                key, now = item.key, time.monotonic()
                count = watching.latest(item)
                before, at = told.get(key, ("", 0.0))
                if count is not None and ((text := in_words(count)) != before or now - at >= LOG_EVERY_S):
                    self.log.info("cluster %d@%s: %s", item.cluster, item.schedd, text)
                    told[key] = (text, now)


def _counts_of(item: Watched, task: Wait) -> ClusterCounts | None:
    """Return what a wait found, or its cluster's latest counts; None where its schedd has not answered."""
    return task.result() if task.done() else watching.latest(item)


def _come(due: dict[Watched, float], waits: Mapping[Watched, Wait]) -> list[str]:
    """Return the clusters whose time in `due` has come and that have held jobs still.

    A time at which none is held any more is dropped: somebody has released them. One at which their schedd
    gives no answer comes again.
    """
    now, come = time.monotonic(), []
    for item in [item for item, at in due.items() if at <= now]:
        count = None if watching.is_silent(item.schedd) else _counts_of(item, waits[item])
        if count is None:
            due[item] = now + STALE_S
        elif count.held:
            come.append(item.name)
        else:
            del due[item]
    return come
