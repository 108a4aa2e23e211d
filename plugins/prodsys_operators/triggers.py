"""The trigger that waits for one submission; all waits of a triggerer share one watcher a schedd."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent

from include.bookkeeping.records import ProgressSample
from include.errors import ProdsysError
from prodsys_operators.settings import settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from airflow.triggers.base import TriggerEvent

    from include.batch.pool import ClusterCounts
    from include.bookkeeping.records import Submission
    from include.campaign.plan import StagePlan

log = logging.getLogger(__name__)

LOG_EVERY_S = 60.0
"""A wait writes its counts when they change, and at least this often while its jobs run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One cluster that a wait of this process is for."""

    tag: str
    schedd: str
    cluster: int
    jobs: int
    hold_limit_s: float
    unknown_limit_s: float


_watched: dict[tuple[str, int], Watched] = {}
"""(schedd, cluster) → what waits for it, in this triggerer."""
_latest: dict[tuple[str, int], ClusterCounts] = {}


class SubmissionTrigger(BaseTrigger):
    """Waits until every job of the submission `tag` is accounted for; yields its counts."""

    def __init__(self, *, tag: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tag = tag

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"tag": self.tag}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch the submission's clusters; end the task with their counts, or fail it with the reason."""
        try:
            watched = await asyncio.to_thread(look_up, self.tag)
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
            counts = await asyncio.gather(*(wait(item) for item in watched))
        finally:
            story.cancel()
        for item, count in zip(watched, counts, strict=True):
            self.log.info("cluster %d@%s: %s", item.cluster, item.schedd, ending(count))
        yield TaskSuccessEvent(xcoms={"return_value": [asdict(count) for count in counts]})

    async def _tell(self, watched: tuple[Watched, ...]) -> None:
        """Write the counts as they change."""
        told: dict[tuple[str, int], ClusterCounts] = {}
        quiet_s = 0.0
        while True:
            await asyncio.sleep(1)
            quiet_s += 1
            for item in watched:
                key = (item.schedd, item.cluster)
                count = _latest.get(key)
                if count is not None and (count != told.get(key) or quiet_s >= LOG_EVERY_S):
                    self.log.info("cluster %d@%s: %s", item.cluster, item.schedd, in_words(count))
                    told[key], quiet_s = count, 0.0


async def wait(item: Watched) -> ClusterCounts:
    """Wait for one cluster with the watcher of its schedd."""
    from include.batch.watcher import watcher_for

    watcher = watcher_for(item.schedd, interval_s=settings().poll_interval, on_poll=record)
    key = (item.schedd, item.cluster)
    _watched[key] = item
    try:
        return await watcher.wait_for(
            item.cluster, item.jobs, hold_limit_s=item.hold_limit_s, unknown_limit_s=item.unknown_limit_s
        )
    finally:
        _watched.pop(key, None)
        _latest.pop(key, None)


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
            unknown_limit_s=stage.unknown_limit_s,
        )
        for schedd, cluster, jobs in submission.clusters
    )


def record(schedd: str, polled: Mapping[int, ClusterCounts], at: float) -> None:
    """Keep one poll's counts as progress samples, in one statement."""
    samples = []
    for cluster, count in polled.items():
        item = _watched.get((schedd, cluster))
        if item is None:
            continue
        _latest[schedd, cluster] = count
        samples.append(
            ProgressSample(
                tag=item.tag,
                at=at,
                idle=count.idle,
                running=count.running,
                held=count.held,
                completed=count.completed,
                removed=count.removed,
                unknown=count.unknown,
            )
        )
    if samples:
        with settings().open_ledger() as ledger:
            ledger.record_progress(samples)


def in_words(count: ClusterCounts) -> str:
    """Return counts as a phrase, leaving out what is zero."""
    names = ("idle", "running", "held", "completed", "removed", "unknown")
    parts = [f"{number} {name}" for name in names if (number := getattr(count, name))]
    return f"{', '.join(parts) or 'nothing seen yet'} of {count.total}"


def ending(count: ClusterCounts) -> str:
    """Say why the wait is over."""
    if count.ended == count.total:
        return f"every job has ended: {in_words(count)}; the check says how well"
    return (
        f"{in_words(count)}; held or unknown jobs are beyond their limit (hold_limit, unknown_limit), "
        "the check says what is known of them"
    )
