"""The trigger that waits for one submission; all waits of a triggerer share one watcher a schedd."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from include.bookkeeping.records import ProgressSample
from include.crash_points import reached
from include.errors import LedgerUnavailable, ProdsysError
from prodsys_operators import metrics
from prodsys_operators.count_words import SAMPLED, alive, ending, in_numbers, in_words
from prodsys_operators.ended_by_hand import on_kill
from prodsys_operators.node_watch import NodeWatch, queued
from prodsys_operators.settings import settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence

    from include.batch.pool import Awaited, ClusterCounts
    from include.batch.watcher import ScheddWatcher
    from include.bookkeeping.records import Submission
    from include.campaign.plan import StagePlan

    Key = tuple[str, int, str | None]  # schedd, cluster, tag
    Wait = asyncio.Task[ClusterCounts]

SAMPLE_EVERY_S = 60.0
"""Counts that do not change are recorded at most so often, so that others see that they are looked at."""
STALE_S = 60.0
"""Jobs that were held when the wait for their cluster ended so long ago may have been released since."""
LOG_EVERY_S = 60.0
"""A wait writes its counts when they change, and at least this often while its jobs run."""
SILENT_S = 300.0
"""How often a wait looks whether its schedds are silent, and says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One cluster that a wait of this process is for."""

    tag: str
    schedd: str
    cluster: int
    jobs: int
    hold_limit_s: float
    hold_pause_s: float
    unknown_limit_s: float
    machines: tuple[str, ...] = ()
    """Nodes that its own submission keeps off, beside those excluded for everybody."""
    sites: tuple[str, ...] = ()
    intended_at: float = 0.0
    """When its submission was intended, epoch seconds."""

    @property
    def key(self) -> Key:
        """What it is known by in this triggerer."""
        return self.schedd, self.cluster, self.tag


_watched: dict[Key, Watched] = {}
"""What waits, in this triggerer. A schedd that lost its queue gives numbers out again: the tag tells."""
_watchers: dict[str, ScheddWatcher] = {}
"""Schedd → what polls it."""
_latest: dict[Key, ClusterCounts] = {}
_recorded: dict[str, ProgressSample] = {}
"""Tag → what the ledger has of it last: waits that last for days must not fill it with the same."""
_polled: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Event]] = {}
"""Schedd → what its next poll sets, and in which loop: no wait looks by the clock."""
_nodes = NodeWatch()
"""Its news is for the logs of all waits of the schedd at that time."""


class SubmissionTrigger(BaseTrigger):
    """Waits until every job of the submission `tag` is accounted for, or held jobs need an act.

    `ends_task`: the task succeeds in the triggerer at the end; else it resumes with an event
    that says whether the wait is over.
    `holds_known` held jobs were looked at and left as they are, in each cluster (`CLUSTER@SCHEDD`) so many as
    `holds_by` says; `again_s` after its start some of them are to be looked at again.
    """

    def __init__(
        self,
        *,
        tag: str,
        ends_task: bool = True,
        holds_known: int = 0,
        again_s: float | None = None,
        holds_by: dict[str, int] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tag, self.ends_task = tag, ends_task
        self.holds_known, self.again_s, self.holds_by = holds_known, again_s, holds_by

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        arguments: dict[str, Any] = {
            "tag": self.tag,
            "ends_task": self.ends_task,
            "holds_known": self.holds_known,
        }
        arguments |= {"again_s": self.again_s, "holds_by": self.holds_by}
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
            counts, settled = await self._counts(watched)
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
            yield TriggerEvent({"tag": self.tag, "over": over})  # type: ignore[no-untyped-call]

    async def _look_up(self) -> tuple[Watched, ...]:
        """Return what is to be watched; a ledger that does not answer is asked until it does."""
        silent = False
        while True:
            try:
                return await asyncio.to_thread(look_up, self.tag)
            except LedgerUnavailable as error:
                if not silent:
                    self.log.warning("%s; asking until it answers", error)
                silent = True
            await asyncio.sleep(settings().poll_interval)

    async def on_kill(self) -> None:
        """Say what becomes of the jobs when a person ends the wait; they are not removed (ended_by_hand)."""
        await on_kill(self.tag, self.task_instance, log=self.log)

    async def _counts(self, watched: tuple[Watched, ...]) -> tuple[list[ClusterCounts], bool]:
        """Wait for all clusters, or until held jobs need a look; return counts, and whether each is settled.

        The counts of a cluster that is not are its latest. A time that has come proves nothing by itself.
        """
        _watched.update({item.key: item for item in watched})
        waits = {item: self._wait(item) for item in watched}
        pending = set(waits.values())
        ended_at: dict[Wait, float] = {}
        end = None if self.again_s is None else time.monotonic() + self.again_s
        try:
            while pending:
                left = None if end is None else max(0.0, end - time.monotonic())
                done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                ended_at.update(dict.fromkeys(done, time.monotonic()))
                counts = [
                    task.result() if task.done() else _latest.get(item.key, unseen(item))
                    for item, task in waits.items()
                ]
                if not done and not all(task.done() or item.key in _latest for item, task in waits.items()):
                    end = time.monotonic() + STALE_S  # a schedd has not answered since
                elif not done and not any(count.held for count in counts):
                    end = None  # somebody has released them
                elif not done or any(
                    task in done and (alive(count) or self._is_new(item, count))
                    for (item, task), count in zip(waits.items(), counts, strict=True)
                ):
                    break
                elif not pending:
                    pending = self._again(waits, ended_at)
            if end is not None and not pending and any(count.held for count in counts):
                await asyncio.sleep(max(0.0, end - time.monotonic()))
            return counts, not pending and not any(alive(count) for count in counts)
        finally:
            for task in waits.values():
                task.cancel()
            forget(watched)

    def _wait(self, item: Watched) -> Wait:
        """Begin to wait for one cluster."""
        return asyncio.create_task(wait(item, holds_known=self._known(item)))

    def _again(self, waits: dict[Watched, Wait], ended_at: Mapping[Wait, float]) -> set[Wait]:
        """Wait again for clusters that had held jobs when their wait ended, long ago; return these waits."""
        due = time.monotonic() - STALE_S
        old = [item for item, task in waits.items() if task.result().held and ended_at[task] <= due]
        waits.update({item: self._wait(item) for item in old})
        return {waits[item] for item in old}

    def _known(self, item: Watched) -> int:
        """Return how many held jobs of a cluster were looked at."""
        if self.holds_by is None:
            return self.holds_known
        return self.holds_by.get(f"{item.cluster}@{item.schedd}", 0)

    def _is_new(self, item: Watched, count: ClusterCounts) -> bool:
        """Whether held jobs of a cluster are others than those that were looked at, as far as counts tell.

        Others than those known may be held where as many are: one that is not beyond its limit is not over.
        """
        recent = count.held > 0 and count.held_shortest_s < item.hold_limit_s
        return recent or count.held > self._known(item)

    def _needs_a_look(self, watched: Sequence[Watched], counts: Sequence[ClusterCounts]) -> bool:
        """Whether held jobs are to be looked at: new ones, or some whose pause is over now."""
        new = any(self._is_new(item, count) for item, count in zip(watched, counts, strict=True))
        return new or (self.again_s is not None and any(count.held for count in counts))

    async def _tell(self, watched: tuple[Watched, ...]) -> None:
        """Write the counts as they change, after each poll of the first schedd, and who is silent."""
        told: dict[Key, tuple[str, float]] = {}
        news = _nodes.news.last
        schedds = {item.schedd for item in watched}
        silent_at = time.monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENT_S):
                    await next_poll(watched[0].schedd)
            if time.monotonic() - silent_at >= SILENT_S:
                silent_at = time.monotonic()
                for said in silence(schedds):
                    self.log.warning("%s", said)
            for line in _nodes.news.after(news, schedds):
                self.log.warning("%s", line.text)
                news = line.number
            for item in watched:
                key, now = item.key, time.monotonic()
                count = _latest.get(key)
                before, at = told.get(key, ("", 0.0))
                if count is not None and ((text := in_words(count)) != before or now - at >= LOG_EVERY_S):
                    self.log.info("cluster %d@%s: %s", item.cluster, item.schedd, text)
                    told[key] = (text, now)


def silence(schedds: Iterable[str]) -> list[str]:
    """Return a line for each schedd that gave no answer to the last polls."""
    return [
        f"{schedd} gave no answer to the last {watcher.failures} polls: the counts above are as old. No job "
        f"is lost by that, and the wait goes on. See whether it is up: condor_status -schedd {schedd}"
        for schedd in sorted(schedds)
        if (watcher := _watchers.get(schedd)) is not None and watcher.failures
    ]


async def next_poll(schedd: str) -> None:
    """Come back when the next poll of `schedd` was recorded."""
    loop = asyncio.get_running_loop()
    known, event = _polled.get(schedd, (None, None))
    if event is None or known is not loop:
        event = asyncio.Event()
        _polled[schedd] = (loop, event)
    await event.wait()


def was_polled(schedd: str) -> None:
    """Wake those who wait for the next poll of `schedd`; called from any thread."""
    loop, event = _polled.pop(schedd, (None, None))
    if loop is not None and event is not None:
        loop.call_soon_threadsafe(event.set)


async def answers(watched: Sequence[Watched]) -> None:
    """Come back when each schedd of these clusters has answered a poll."""
    waits = [asyncio.create_task(wait(item, holds_known=item.jobs)) for item in watched]
    _watched.update({item.key: item for item in watched})
    try:
        await asyncio.gather(*(next_poll(schedd) for schedd in {item.schedd for item in watched}))
    finally:
        for task in waits:
            task.cancel()
        forget(watched)


async def wait(item: Watched, *, holds_known: int) -> ClusterCounts:
    """Wait for one cluster with the watcher of its schedd; comes back early where held jobs need an act."""
    from include.batch.watcher import watcher_for

    watcher = watcher_for(item.schedd, interval_s=settings().poll_interval, on_poll=record)
    _watchers[item.schedd] = watcher
    return await watcher.wait_for(
        item.cluster,
        item.jobs,
        hold_limit_s=item.hold_limit_s,
        unknown_limit_s=item.unknown_limit_s,
        hold_pause_s=item.hold_pause_s,
        holds_known=holds_known,
        tag=item.tag,
    )


def forget(watched: Sequence[Watched]) -> None:
    """Forget what a wait was for, unless another wait for it has begun since."""
    for item in watched:
        if _watched.get(item.key) is item:
            del _watched[item.key]
            _latest.pop(item.key, None)
            _recorded.pop(item.tag, None)


def look_up(tag: str) -> tuple[Watched, ...]:
    """Return what the ledger says there is to watch; ProdsysError if the tag was never submitted."""
    with settings().open_ledger() as ledger:
        submission = ledger.submission(tag)
        if submission is None or not submission.clusters:
            raise ProdsysError(f"{tag!r} was never submitted; clear the submit task before this one")
        stage = ledger.plan_of(submission.dag_id, submission.tranche).stage(submission.stage)
        return watched_of(submission, stage)


def watched_of(submission: Submission, stage: StagePlan) -> tuple[Watched, ...]:
    """Return one item a cluster of the submission."""
    return tuple(
        Watched(
            tag=submission.tag,
            schedd=schedd,
            cluster=cluster,
            jobs=jobs,
            hold_limit_s=stage.hold_limit_s,
            hold_pause_s=stage.hold_pause_s,
            unknown_limit_s=stage.unknown_limit_s,
            machines=submission.changes.machines,
            sites=submission.changes.sites,
            intended_at=submission.intended_at,
        )
        for schedd, cluster, jobs in submission.clusters
    )


def record(schedd: str, polled: Mapping[Awaited, ClusterCounts], at: float) -> None:
    """Keep one poll's counts as progress samples, in one statement; then look after the nodes."""
    items = {each: item for each in polled if (item := _watched.get((schedd, *each))) is not None}
    if not items:
        return
    for each, item in items.items():
        _latest[item.key] = polled[each]
    metrics.polled(schedd, (polled[each] for each in items))
    if (watcher := _watchers.get(schedd)) is not None:
        metrics.lasted(metrics.Name.POLL, watcher.poll_s, schedd=schedd)
    began = time.monotonic()
    try:
        with settings().open_ledger() as ledger:
            news = [each for each in samples({item.tag for item in items.values()}, at) if is_news(each)]
            ledger.record_progress(news)
            _recorded.update({each.tag: each for each in news})
            reached("wait.polled")
            # Of a number that was given out again, the jobs that may be queued are those intended last.
            order = sorted(items, key=lambda each: items[each].intended_at)
            counts = {each.cluster: polled[each] for each in order}
            clusters = {each.cluster: queued(items[each], polled[each]) for each in order}
            _nodes.after_poll(ledger, settings().open_pool, schedd, counts, clusters, at=at)
        metrics.lasted(metrics.Name.POLL_RECORDED, time.monotonic() - began, schedd=schedd)
    finally:
        was_polled(schedd)


def is_news(new: ProgressSample) -> bool:
    """Whether the ledger is to have a sample: its counts are others than the last ones, or those are old."""
    last = _recorded.get(new.tag)
    return last is None or replace(last, at=new.at) != new or new.at - last.at >= SAMPLE_EVERY_S


def samples(tags: Collection[str], at: float) -> list[ProgressSample]:
    """Return the latest counts of each tag, over all its clusters; jobs not polled yet are unknown."""
    found: dict[str, dict[str, int]] = {tag: dict.fromkeys(SAMPLED, 0) for tag in tags}
    for key, item in list(_watched.items()):
        if item.tag in found:
            count = _latest.get(key, unseen(item))
            for name in SAMPLED:
                found[item.tag][name] += getattr(count, name)
    return [ProgressSample(tag=tag, at=at, **counts) for tag, counts in found.items()]


def unseen(item: Watched) -> ClusterCounts:
    """Return the counts of a cluster before its first poll."""
    from include.batch.pool import ClusterCounts

    return ClusterCounts(total=item.jobs, unknown=item.jobs)
