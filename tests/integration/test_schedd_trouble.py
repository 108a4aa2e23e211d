"""A schedd that hangs, that dies with its queue, and a collector that is gone: what the waits make of it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embedded.pool import PersonalPool
from embedded.pool_config import Node, PoolSettings
from embedded.processes import end, has_mark, is_alive, pids
from include.batch.pool_process import CONDOR, PoolProcess
from include.batch.watcher import ScheddWatcher
from tests.integration.test_pool import condor as run_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.batch.pool import ClusterCounts

AP1, AP2 = "ap1.pool", "ap2.pool"
WAITS = 200
INTERVAL_S = 0.3
HANGS_S = 6.0
"""Who does not answer for so long is said not to; a helper process must start in less on a busy machine."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, pool: PersonalPool) -> Iterator[PersonalPool]:
    """A pool of its own with two schedds; a daemon that dies is started again after a second."""
    started = PersonalPool(
        PoolSettings(
            state=tmp_path_factory.mktemp("two"),
            binaries=pool.settings.binaries,
            port=0,
            nodes=(Node(name="wn1", cpus=1),),
            schedds=("ap1", "ap2"),
            extra="MASTER_BACKOFF_CONSTANT = 1\nMASTER_BACKOFF_FACTOR = 1",
        )
    )
    started.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CONDOR_CONFIG", str(started.config))
            yield started
    finally:
        started.stop()


def daemons(pool: PersonalPool, name: str, *, schedd: str = "") -> list[int]:
    """Return the daemons of the pool, of one schedd where it is named."""
    state = pool.settings.state.resolve()
    found = []
    for pid in pids():
        words = command(pid)
        named = bool(words) and words[0].endswith(name) and (not schedd or schedd in words)
        if named and is_alive(pid) and has_mark(pid, state):
            found.append(pid)
    return found


def command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


@contextmanager
def stopped(processes: list[int]) -> Iterator[None]:
    """Let processes hang while the block lasts."""
    assert processes
    end(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        end(processes, signal.SIGCONT)


def hold_clusters(pool: PersonalPool, folder: Path, schedd: str, *, tag: str, clusters: int) -> list[int]:
    """Submit clusters of one held job each; return their numbers."""
    text = "executable = /bin/true\ntransfer_executable = false\nhold = true\n"
    (folder / "held.sub").write_text(f'{text}My.ProdsysTag = "{tag}"\nqueue 1\n')
    words = ("condor_submit", "-name", schedd, str(folder / "held.sub"))
    told = [run_tool(pool, *words) for _ in range(clusters)]
    return [int(number) for each in told for number in re.findall(r"submitted to cluster (\d+)", each)]


class Watch:
    """Waits for clusters of one schedd, and what their watcher does."""

    def __init__(self, schedd: str, *, timeout_s: float = 30.0) -> None:
        self.pool = PoolProcess(CONDOR, timeout_s=timeout_s)
        self.asked: list[float] = []
        self.watcher = ScheddWatcher(schedd, self.pool, INTERVAL_S, self.polled, close=self.pool.close)
        self.waits: list[asyncio.Task[ClusterCounts]] = []

    def polled(self, *_: Any) -> None:
        self.asked.append(time.monotonic())

    def begin(self, clusters: list[int], *, unknown_limit_s: float = 600.0) -> None:
        for cluster in clusters:
            wait = self.watcher.wait_for(cluster, 1, hold_limit_s=600, unknown_limit_s=unknown_limit_s)
            self.waits.append(asyncio.create_task(wait))

    async def until(self, condition: Any, seconds: float = 240) -> None:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  the watcher tells nobody but its waits
                await asyncio.sleep(0.05)

    async def answered(self, more: int = 2) -> None:
        """Return after some answers."""
        target = len(self.asked) + more
        await self.until(lambda: len(self.asked) >= target)

    async def end(self) -> None:
        for wait in self.waits:
            wait.cancel()
        await asyncio.gather(*self.waits, return_exceptions=True)
        loop = self.watcher._loop
        if loop is not None:
            await asyncio.wait([loop], timeout=20)
        await asyncio.to_thread(self.pool.close)


def test_a_schedd_that_hangs_delays_its_waits_alone_and_is_not_stormed(
    two: PersonalPool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = hold_clusters(two, tmp_path, AP1, tag="demo.h/t/001000/gen/recovery-0", clusters=3)
    other = hold_clusters(two, tmp_path, AP2, tag="demo.h/t/001001/gen/recovery-0", clusters=1)

    async def scenario() -> None:
        hanging, fine = Watch(AP1, timeout_s=HANGS_S), Watch(AP2)
        try:
            hanging.begin([first[n % len(first)] for n in range(WAITS)])
            fine.begin(other)
            await hanging.answered()
            with stopped(daemons(two, "condor_schedd", schedd="ap1")):
                await hanging.until(lambda: hanging.watcher.failures >= 2)
                await fine.answered(3)
                assert not any(wait.done() for wait in hanging.waits)
                silent = len(hanging.asked)
            await hanging.answered(4)
            assert hanging.watcher.failures == 0
            gaps = [late - early for early, late in itertools.pairwise(hanging.asked[silent:])]
            assert min(gaps) >= INTERVAL_S, "those who waited share the polls, and the interval is kept"
            await asyncio.to_thread(run_tool, two, "condor_rm", "-name", AP1, *map(str, first))
            ended = await asyncio.wait_for(asyncio.gather(*hanging.waits), 60)
            assert {counts.removed for counts in ended} == {1}
        finally:
            await asyncio.gather(hanging.end(), fine.end())

    with caplog.at_level(logging.INFO, logger="include.batch.watcher"):
        asyncio.run(scenario())
    told = [text for text in caplog.messages if text.startswith(AP1)]
    assert f"no answer; {WAITS} waits go on" in told[0]
    assert "answers again after" in told[1], "said once, however often it was asked"


def test_a_collector_that_hangs_stops_nobody_who_knows_the_schedd(two: PersonalPool, tmp_path: Path) -> None:
    clusters = hold_clusters(two, tmp_path, AP1, tag="demo.c/t/001000/gen/recovery-0", clusters=1)

    async def scenario() -> None:
        known, new = Watch(AP1), Watch(AP1, timeout_s=HANGS_S)
        try:
            known.begin(clusters)
            await known.answered()
            with stopped(daemons(two, "condor_collector")):
                new.begin(clusters)
                await new.until(lambda: new.watcher.failures >= 2)
                await known.answered(2)
                assert not new.asked
                assert known.watcher.failures == 0
            await new.answered()
            assert not any(wait.done() for wait in (*known.waits, *new.waits))
        finally:
            await asyncio.gather(known.end(), new.end())

    asyncio.run(scenario())


def test_a_schedd_that_lost_its_queue_makes_jobs_unknown_and_nothing_else(
    two: PersonalPool, tmp_path: Path
) -> None:
    tag = "demo.l/t/001000/gen/recovery-0"
    clusters = hold_clusters(two, tmp_path, AP2, tag=tag, clusters=2)

    async def scenario() -> list[ClusterCounts]:
        patient, brief = Watch(AP2), Watch(AP2)
        try:
            patient.begin(clusters)
            await patient.answered()
            schedds = daemons(two, "condor_schedd", schedd="ap2")  # and children that answer queries
            with stopped(schedds):  # the master starts the next one at once, and it must find no queue
                for file in (two.settings.state / "spool" / "ap2").glob("job_queue.log*"):
                    file.unlink()
                end(schedds, signal.SIGKILL)
            await patient.answered()
            brief.begin(clusters, unknown_limit_s=1.0)
            lost = await asyncio.wait_for(asyncio.gather(*brief.waits), 60)
            assert not any(wait.done() for wait in patient.waits), "their limit is not over"
            return lost
        finally:
            await asyncio.gather(patient.end(), brief.end())

    assert [counts.unknown for counts in asyncio.run(scenario())] == [1, 1]
    with PoolProcess(CONDOR, timeout_s=20) as condor:
        assert condor.find_tag(tag) == ()
        again = hold_clusters(two, tmp_path, AP2, tag="demo.l/t/001001/gen/recovery-0", clusters=1)
        # The numbers begin again, so only the tag tells whose a cluster is.
        assert again[0] <= min(clusters)
        assert {ad.tag for ad in condor.ads(AP2, again)} == {"demo.l/t/001001/gen/recovery-0"}
