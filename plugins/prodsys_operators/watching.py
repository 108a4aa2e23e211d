"""What the waits of this process are for, and what the polls of their schedds say; one watcher a schedd."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from include.bookkeeping.records import ProgressSample
from include.crash_points import reached
from include.errors import ProdsysError
from prodsys_operators import metrics
from prodsys_operators.count_words import SAMPLED
from prodsys_operators.node_watch import NodeWatch, queued
from prodsys_operators.settings import settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from include.batch.pool import Awaited, ClusterCounts
    from include.batch.watcher import ScheddWatcher
    from include.bookkeeping.records import Submission
    from include.campaign.plan import StagePlan

    Key = tuple[str, int, str | None]  # schedd, cluster, tag

SAMPLE_EVERY_S = 60.0
"""Counts that do not change are recorded at most so often, so that others see that they are looked at."""


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

    @property
    def name(self) -> str:
        """Return the cluster as it is written."""
        return f"{self.cluster}@{self.schedd}"


_watched: dict[Key, Watched] = {}
"""What is waited for here. A schedd that lost its queue gives numbers out again: the tag tells."""
_waits: Counter[Key] = Counter()
"""How many wait for it: a triggerer may have two triggers of one tag."""
_watchers: dict[str, ScheddWatcher] = {}
"""Schedd → what polls it."""
_latest: dict[Key, ClusterCounts] = {}
_recorded: dict[str, ProgressSample] = {}
"""Tag → what the ledger has of it last: waits that last for days must not fill it with the same."""
_polled: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Event]] = {}
"""Schedd → what its next poll sets, and in which loop: no wait looks by the clock."""
nodes = NodeWatch()
"""Its news is for the logs of all waits of the schedd at that time."""


def silence(schedds: Iterable[str]) -> list[str]:
    """Return a line for each schedd that gave no answer to the last polls."""
    return [
        f"{schedd} gave no answer to the last {watcher.failures} polls: the counts above are as old. No job "
        f"is lost by that, and the wait goes on. See whether it is up: condor_status -schedd {schedd}"
        for schedd in sorted(schedds)
        if is_silent(schedd) and (watcher := _watchers[schedd])
    ]


def is_silent(schedd: str) -> bool:
    """Whether `schedd` gave no answer to its last poll."""
    return (watcher := _watchers.get(schedd)) is not None and watcher.failures > 0


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


def remember(watched: Sequence[Watched]) -> None:
    """Note what a wait is for, so that the polls of its schedds are kept; `forget` ends it."""
    for item in watched:
        _watched[item.key] = item
        _waits[item.key] += 1


def forget(watched: Sequence[Watched]) -> None:
    """Forget what a wait was for, unless another one is for it too."""
    for item in watched:
        _waits[item.key] -= 1
        if _waits[item.key] <= 0:
            for known in (_waits, _watched, _latest):
                known.pop(item.key, None)
            _recorded.pop(item.tag, None)


def latest(item: Watched) -> ClusterCounts | None:
    """Return a cluster's counts at its last poll; None before its schedd has answered."""
    return _latest.get(item.key)


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
    try:
        items = {each: item for each in polled if (item := _watched.get((schedd, *each))) is not None}
        if items:
            _keep(schedd, polled, items, at)
    finally:
        was_polled(schedd)


def _keep(
    schedd: str, polled: Mapping[Awaited, ClusterCounts], items: Mapping[Awaited, Watched], at: float
) -> None:
    for each, item in items.items():
        _latest[item.key] = polled[each]
    metrics.polled(schedd, (polled[each] for each in items))
    if (watcher := _watchers.get(schedd)) is not None:
        metrics.lasted(metrics.Name.POLL, watcher.poll_s, schedd=schedd)
    began = time.monotonic()
    with settings().open_ledger() as ledger:
        news = [each for each in samples({item.tag for item in items.values()}, at) if is_news(each)]
        ledger.record_progress(news)
        _recorded.update({each.tag: each for each in news})
        reached("wait.polled")
        # Of a number that was given out again, the jobs that may be queued are those intended last.
        order = sorted(items, key=lambda each: items[each].intended_at)
        counts = {each.cluster: polled[each] for each in order}
        clusters = {each.cluster: queued(items[each], polled[each]) for each in order}
        nodes.after_poll(ledger, settings().open_pool, schedd, counts, clusters, at=at)
    metrics.lasted(metrics.Name.POLL_RECORDED, time.monotonic() - began, schedd=schedd)


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
