"""One watcher a schedd: all waits of a process share a poll."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from include.batch.pool import Awaited
from include.batch.pool_process import CONDOR, PoolProcess
from include.errors import PoolError, ScheddUnlisted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from include.batch.pool import ClusterCounts, Pool

    OnPoll = Callable[[str, Mapping[Awaited, ClusterCounts], float], None]

log = logging.getLogger(__name__)

MOST_BACKOFF_S = 60.0
BRISK_S = 1.0
MOST_BRISK_POLLS = 60
"""So many polls in a row may come after BRISK_S; then the interval counts until no node is suspected."""
FAILURES_TO_CLOSE = 3
"""After so many polls without an answer the pool is closed: a new helper reads the configuration anew."""
WARN_EVERY_S = 600.0
GATHER_S = 0.2
"""A new wait is polled for this soon, so that a thousand that begin together share the poll."""


def settled(counts: ClusterCounts, *, hold_limit_s: float, unknown_s: float, unknown_limit_s: float) -> bool:
    """Say whether waiting on can bring no more: each job ended, or held or unknown beyond its limit."""
    if counts.idle or counts.running:
        return False
    held_over = counts.held == 0 or counts.held_shortest_s >= hold_limit_s
    unknown_over = counts.unknown == 0 or unknown_s >= unknown_limit_s
    return held_over and unknown_over


def backoff_s(failures: int, *, interval_s: float, draw: float) -> float:
    """Return the pause after the n-th failed poll in a row: doubled, at most a minute, ±20 % by `draw`."""
    pause = min(MOST_BACKOFF_S, interval_s * 2.0 ** min(failures - 1, 16))
    return min(MOST_BACKOFF_S, pause * (0.8 + 0.4 * draw))


@dataclass(slots=True, eq=False)
class _Wait:
    """One waiter for one cluster."""

    awaited: Awaited
    jobs: int
    hold_limit_s: float
    unknown_limit_s: float
    done: asyncio.Future[ClusterCounts]
    hold_pause_s: float | None = None
    holds_known: int = 0
    held: int = 0
    """Held jobs at the last poll."""
    held_shortest_s: float = 0.0
    """How long the one of them was held that was held last."""
    unknown: int = 0
    """Unknown jobs at the last poll."""
    unknown_since: float | None = None
    """Since when their number is the same, steady seconds."""

    def see(self, counts: ClusterCounts, at: float) -> None:
        """Take one poll's counts, `at` in steady seconds; resolve the wait where they settle it."""
        if counts.unknown == 0:
            self.unknown_since = None
        elif self.unknown_since is None or counts.unknown != self.unknown:
            self.unknown_since = at
        self.unknown = counts.unknown
        unknown_s = 0.0 if self.unknown_since is None else at - self.unknown_since
        over = settled(
            counts, hold_limit_s=self.hold_limit_s, unknown_s=unknown_s, unknown_limit_s=self.unknown_limit_s
        )
        if (over or self._new_holds(counts)) and not self.done.done():
            self.done.set_result(counts)

    def _new_holds(self, counts: ClusterCounts) -> bool:
        """Say whether there are more held jobs than the waiter knows, one of them held for its pause."""
        if self.hold_pause_s is None:
            return False
        # Known ones that are held no more make room for new ones, which are held for less long.
        replaced = 0 < counts.held <= self.held and counts.held_shortest_s < self.held_shortest_s
        self.holds_known = min(self.holds_known, counts.held - replaced)
        self.held, self.held_shortest_s = counts.held, counts.held_shortest_s
        return counts.held > self.holds_known and counts.held_longest_s >= self.hold_pause_s


@dataclass(slots=True, eq=False)
class ScheddWatcher:
    """Polls one schedd for every cluster that somebody waits for; belongs to one event loop.

    The pool is asked in a thread, and must bound its own time: PoolProcess does both that and the GIL. A
    schedd that does not answer proves nothing: the waits go on, and so does the asking, ever more rarely.
    """

    schedd: str
    pool: Pool
    interval_s: float
    on_poll: OnPoll | None = None
    """Called in a thread after each answered poll, before waits resolve; what it raises is logged."""
    clock: Callable[[], float] = time.time
    """Dates what is recorded; no duration is taken from it, because somebody may set it."""
    steady: Callable[[], float] = time.monotonic
    close: Callable[[], None] = lambda: None
    """Called in a thread when nobody waits any more; the pool must answer again after it."""
    failures: int = field(default=0, init=False)
    """Polls in a row without an answer."""
    polls: int = field(default=0, init=False)
    poll_s: float = field(default=0.0, init=False)
    """How long the last answer took, seconds."""
    brisk_polls: int = field(default=0, init=False)
    """Polls in a row that showed a failing node."""
    _unlisted_since: float | None = field(default=None, init=False)
    """Since when the collector has listed no such schedd, steady seconds."""
    _warn_at: float = field(default=0.0, init=False)
    _waits: list[_Wait] = field(default_factory=list, init=False)
    _loop: asyncio.Task[None] | None = field(default=None, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def wait_for(
        self,
        cluster: int,
        jobs: int,
        *,
        hold_limit_s: float,
        unknown_limit_s: float,
        hold_pause_s: float | None = None,
        holds_known: int = 0,
        tag: str | None = None,
    ) -> ClusterCounts:
        """Return the cluster's counts once `settled`; `jobs` were submitted. Cancelling unsubscribes.

        With `tag`, only jobs that have it count: the cluster's number may have been given out again.
        With `hold_pause_s` also as soon as more than `holds_known` jobs are held and the one held longest has
        been so for `hold_pause_s` seconds: the caller acts on them and waits again.
        """
        done: asyncio.Future[ClusterCounts] = asyncio.get_running_loop().create_future()
        awaited = Awaited(cluster, tag)
        wait = _Wait(awaited, jobs, hold_limit_s, unknown_limit_s, done, hold_pause_s, holds_known)
        self._waits.append(wait)
        self._wake.set()
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._run(), name=f"watch {self.schedd}")
        try:
            return await wait.done
        finally:
            self._waits.remove(wait)
            self._wake.set()

    async def _run(self) -> None:
        """Poll while anybody waits, those included who begin while the pool is being closed."""
        while self._waits:
            try:
                while self._waits:
                    await self._poll()
                    await self._pause()
            except Exception as error:
                # A defect, not an unreachable schedd: nobody may be left waiting for ever.
                log.exception("%s: the watcher failed", self.schedd)
                for wait in self._waits:
                    if not wait.done.done():
                        wait.done.set_exception(error)
            finally:
                self.failures = 0  # nobody asks any more whether it is silent
                await asyncio.to_thread(self._close)

    def _close(self) -> None:
        """Close the pool; a failure must not end the loop while somebody waits."""
        try:
            self.close()
        except Exception:
            log.exception("%s: closing the pool failed", self.schedd)

    async def _pause(self) -> None:
        """Wait for the next poll: the interval, less where a wait begins or ends, more where none answers."""
        self._wake.clear()
        open_waits = any(not wait.done.done() for wait in self._waits)
        if self.failures:
            pause = backoff_s(self.failures, interval_s=self.interval_s, draw=random.random())  # noqa: S311
            end = time.monotonic() + pause  # as the event loop counts
            while self._waits and (left := end - time.monotonic()) > 0:
                await self._woken(left)
                self._wake.clear()
        elif not open_waits:
            await asyncio.sleep(0)  # lets the resolved waits unsubscribe
        elif await self._woken(self._interval()):
            await asyncio.sleep(min(GATHER_S, self.interval_s))

    def _interval(self) -> float:
        """Return the time to the next poll: short for a while where a node may be eating jobs."""
        brisk = 0 < self.brisk_polls <= MOST_BRISK_POLLS
        return min(self.interval_s, BRISK_S) if brisk else self.interval_s

    async def _woken(self, seconds: float) -> bool:
        """Wait for at most `seconds`; say whether a wait began or ended."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True

    async def _poll(self) -> None:
        """Ask once for all clusters and tell the waits."""
        clusters: dict[Awaited, int] = {}
        for wait in self._waits:
            clusters[wait.awaited] = max(wait.jobs, clusters.get(wait.awaited, 0))
        self.polls += 1
        began = time.monotonic()
        try:
            counts = await asyncio.to_thread(self.pool.counts, self.schedd, clusters, now=self.clock())
        except PoolError as error:
            await self._unanswered(error)
            return
        self.poll_s = time.monotonic() - began
        if self.failures:
            log.info("%s: answers again after %d polls without an answer", self.schedd, self.failures)
        self.failures, self._unlisted_since = 0, None
        failing = any(count.suspects or count.failing_nodes for count in counts.values())
        self.brisk_polls = self.brisk_polls + 1 if failing else 0
        at = self.steady()
        if self.on_poll is not None:
            try:
                await asyncio.to_thread(self.on_poll, self.schedd, counts, self.clock())
            except Exception:
                log.exception("%s: what follows a poll failed; the waits go on", self.schedd)
        for wait in self._waits:
            if wait.awaited in counts:
                wait.see(counts[wait.awaited], at)

    async def _unanswered(self, error: PoolError) -> None:
        """Note that a poll had no answer, once a change; the time of unknown jobs begins anew."""
        self.failures += 1
        if self.failures == 1:
            log.warning("%s: no answer; %d waits go on. %s", self.schedd, len(self._waits), error)
        for wait in self._waits:
            wait.unknown_since = None
        if isinstance(error, ScheddUnlisted):
            self._warn_of_unlisted()
        if self.failures % FAILURES_TO_CLOSE == 0:
            await asyncio.to_thread(self._close)

    def _warn_of_unlisted(self) -> None:
        """Tell people, now and then, of waits for a schedd that the collector has not listed for long."""
        now = self.steady()
        if self._unlisted_since is None:
            self._unlisted_since, self._warn_at = now, now
        absent_s = now - self._unlisted_since
        late = sorted({wait.awaited.cluster for wait in self._waits if absent_s >= wait.unknown_limit_s})
        if not late or now < self._warn_at:
            return
        self._warn_at = now + WARN_EVERY_S
        log.warning(
            "%s: the collector has listed no schedd of this name for %.0f s, and clusters %s are waited for. "
            "If it is down, bring it up: the waits go on by themselves. If its queue is lost, bring up a "
            "schedd of this name with an empty one: each wait then ends after its `unknown_limit`, the check "
            "looks at what is there, and the recover task asks a person about what stays unknown (Required "
            "Actions). See `condor_status -schedd`.",
            self.schedd,
            absent_s,
            ", ".join(map(str, late[:20])) + (" …" if len(late) > 20 else ""),
        )


_watchers: dict[tuple[str, str], tuple[asyncio.AbstractEventLoop, ScheddWatcher]] = {}


def watcher_for(
    schedd: str,
    *,
    interval_s: float,
    on_poll: OnPoll | None = None,
    factory: str = CONDOR,
    arguments: Mapping[str, object] | None = None,
    timeout_s: float = 120.0,
) -> ScheddWatcher:
    """Return the watcher of `schedd` in the running event loop; the first caller's settings count.

    `factory` names what builds the pool in the helper process, as `module:callable`, `arguments` its JSON
    arguments.
    """
    loop = asyncio.get_running_loop()
    key = (schedd, factory)
    if key in _watchers and _watchers[key][0] is loop:
        return _watchers[key][1]
    pool = PoolProcess(factory, arguments, timeout_s=timeout_s)
    watcher = ScheddWatcher(schedd, pool, interval_s, on_poll, close=pool.close)
    _watchers[key] = (loop, watcher)
    return watcher
