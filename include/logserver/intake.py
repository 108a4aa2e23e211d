"""How posts get into the store: each is looked at by itself, and all that wait are written together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.errors import LogsError, LogsUnavailable, PostRefused
from include.logserver.protocol import parse_post
from include.logserver.tokens import check_key, read_job_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from include.logserver.records import JobClaims, Policy, Post, Stored
    from include.logserver.store import LogStore

log = logging.getLogger(__name__)

AT_ONCE = 256
"""Posts in one transaction."""
LINGER_S = 0.01
"""How long the first post of a transaction waits for others: a transaction costs as much as ten posts."""
KEEP_EVERY_S = 30.0
EXPIRE_EVERY_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What the server puts up with."""

    posts_waiting: int = 1000
    """Posts that wait to be written; more are refused: 80 MB at most."""
    posts_per_s: float = 1.0
    """Of one execution, on average."""
    burst: float = 20.0
    """Posts that an execution may send faster than that."""
    body_s: float = 10.0
    """A post's body must be there after so long."""
    rates_known: int = 100_000
    """Executions whose rate is remembered."""
    tokens_known: int = 10_000


class Rates:
    """A token bucket for each name; those that were silent longest are forgotten first."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def take(self, name: tuple[str, str], now: float, *, jobs: int = 1) -> float:
        """Take one of what `jobs` jobs may have; return 0, or after how many seconds there will be one."""
        most, per_s = self._manners.burst * jobs, self._manners.posts_per_s * jobs
        left, at = self._buckets.pop(name, (most, now))
        left = min(most, left + (now - at) * per_s)
        wait = 0.0 if left >= 1 else (1 - left) / per_s
        self._buckets[name] = (left if wait else left - 1, now)
        if len(self._buckets) > self._manners.rates_known:
            self._buckets.popitem(last=False)
        return wait


class Intake:
    """One server process's way into the store; used from one event loop."""

    def __init__(
        self,
        store: LogStore,
        key: str,
        *,
        policy: Policy | None = None,
        manners: Manners | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store, self.key, self.policy = store, check_key(key), policy
        self.manners, self.clock = manners or Manners(), clock
        self.refused: Counter[str] = Counter()
        self._rates = Rates(self.manners)
        self._tokens: OrderedDict[str, tuple[JobClaims, float]] = OrderedDict()
        self._waiting: list[tuple[Post, asyncio.Future[Stored]]] = []
        self._come = asyncio.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="logs-writer")
        self._tasks: list[asyncio.Task[None]] = []

    # -- one post

    def claims(self, token: str) -> JobClaims:
        """Return what a token proves; PostRefused if it is forged or expired."""
        now = self.clock()
        known = self._tokens.get(token)
        if known is None or known[1] < now:
            known = read_job_token(self.key, token, now=now)
            self._tokens[token] = known
            if len(self._tokens) > self.manners.tokens_known:
                self._tokens.popitem(last=False)
        return known[0]

    async def take(self, claims: JobClaims, body: bytes) -> Stored:
        """Store a post; PostRefused or LogsError if it is not stored."""
        post = parse_post(body, claims, at=self.clock())
        now = time.monotonic()
        wait = self._rates.take((claims.tag, post.execution), now)
        # Nor by posting under ever new names.
        wait = wait or self._rates.take((claims.tag, ""), now, jobs=max(1, claims.jobs))
        if wait:
            raise PostRefused("too-often", f"this job posts too often; wait {wait:.0f} s", status=429)
        if len(self._waiting) >= self.manners.posts_waiting:
            raise PostRefused("busy", "too many posts wait to be written", status=503)
        self.start()
        written: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._waiting.append((post, written))
        self._come.set()
        stored = await written
        if stored.refused:
            raise PostRefused(stored.refused, "this submission's logs take no more", status=413)
        return stored

    def refuse(self, reason: str) -> None:
        """Count a post that was refused."""
        self.refused[reason] += 1

    # -- the tasks behind it

    def start(self) -> None:
        """Start writing and keeping house, if this was not done."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._write()), loop.create_task(self._keep())]

    async def stop(self) -> None:
        """Stop both; a post that was not answered was not taken."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.to_thread(self._writer.shutdown)
        self._flush()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._come.wait()
            await asyncio.sleep(LINGER_S)
            self._come.clear()
            while self._waiting:
                batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                posts = [post for post, _ in batch]
                results = await loop.run_in_executor(self._writer, self._append, posts)
                for (_, written), result in zip(batch, results, strict=True):
                    if written.done():  # its job has gone
                        continue
                    if isinstance(result, LogsError):
                        written.set_exception(result)
                    else:
                        written.set_result(result)

    def _append(self, posts: Sequence[Post]) -> Sequence[Stored | LogsError]:
        """Store posts together; if the database refuses, each by itself, so that one harms no other."""
        try:
            return self.store.append(posts)
        except LogsUnavailable as error:
            log.warning("%d posts were not stored: %s", len(posts), error)
            return [error] * len(posts)
        except LogsError as error:
            log.exception("%d posts were not stored together", len(posts))
            if len(posts) == 1:
                return [error]
            return [each for post in posts for each in self._append([post])]
        except Exception as error:  # one post's trouble must not stop all that come after
            log.exception("%d posts were not stored", len(posts))
            return [LogsError(repr(error))] * len(posts)

    async def _keep(self) -> None:
        """Tidy, write down what was refused, and now and then remove what is old."""
        expired_at = time.monotonic()
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            try:
                await asyncio.to_thread(self._flush)
                await asyncio.to_thread(self._tidy)
                if self.policy and time.monotonic() > expired_at + EXPIRE_EVERY_S:
                    expired_at = time.monotonic()
                    gone = await asyncio.to_thread(self.store.expire, self.policy, now=self.clock())
                    if gone.logs:
                        log.info("%d logs expired, %d bytes", gone.logs, gone.freed)
            except LogsError as error:
                log.warning("the logs could not be tidied: %s", error)

    def _tidy(self) -> None:
        while self.store.tidy(now=self.clock()):
            pass

    def _flush(self) -> None:
        """Add to the counts in the database; LogsError leaves them for the next time."""
        counts, self.refused = self.refused, Counter()
        if not counts:
            return
        try:
            self.store.count_refusals(f"{datetime.fromtimestamp(self.clock(), UTC):%Y-%m-%d}", counts)
        except LogsError:
            self.refused.update(counts)
            raise
