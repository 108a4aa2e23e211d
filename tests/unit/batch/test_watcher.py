"""One watcher for many waits."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FACTORY, FakePool
from include.batch.pool import Awaited, ClusterCounts
from include.batch.pool_process import PoolProcess
from include.batch.watcher import ScheddWatcher, backoff_s, settled, watcher_for
from include.campaign.states import JobStatus
from tests.unit.batch.watching import AP1, DONE, polls, until, watch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.mark.parametrize(
    ("counts", "over"),
    [
        ({"completed": 4}, True),
        ({"completed": 2, "removed": 2}, True),
        ({"completed": 3, "idle": 1}, False),
        ({"completed": 3, "running": 1}, False),
        ({"completed": 3, "held": 1, "held_shortest_s": 59, "held_longest_s": 500}, False),
        ({"completed": 2, "held": 2, "held_shortest_s": 60, "held_longest_s": 500}, True),
        ({"completed": 3, "unknown": 1}, False),
    ],
)
def test_settled(counts: dict[str, int], over: bool) -> None:
    assert (
        settled(ClusterCounts(total=4, **counts), hold_limit_s=60, unknown_s=29, unknown_limit_s=30) is over
    )


def test_settled_after_the_unknown_limit() -> None:
    assert settled(ClusterCounts(total=1, unknown=1), hold_limit_s=60, unknown_s=30, unknown_limit_s=30)


def test_backoff_grows_to_a_minute() -> None:
    pauses = [backoff_s(n, interval_s=5, draw=0.5) for n in range(1, 8)]
    assert pauses == [5, 10, 20, 40, 60, 60, 60]
    assert backoff_s(500, interval_s=5, draw=1.0) == 60
    assert backoff_s(1, interval_s=5, draw=0.0) == 4


def test_completed_and_removed_resolve(fake: FakePool) -> None:
    async def scenario() -> None:
        first, second = fake.submit(AP1, "a", 2), fake.submit(AP1, "b", 1)
        watcher = watch(fake)
        waits = [
            asyncio.create_task(watcher.wait_for(cluster, jobs, hold_limit_s=60, unknown_limit_s=60))
            for cluster, jobs in ((first, 2), (second, 1))
        ]
        await polls(watcher, 2)
        assert not any(wait.done() for wait in waits)
        fake.set_status(AP1, first, DONE, processes=[0])
        fake.set_status(AP1, second, JobStatus.REMOVED)
        assert (await waits[1]).removed == 1
        assert not waits[0].done()
        fake.set_status(AP1, first, DONE)
        assert (await waits[0]).completed == 2

    asyncio.run(scenario())


def test_a_thousand_waits_share_each_query(fake: FakePool) -> None:
    async def scenario() -> None:
        clusters = [fake.submit(AP1, str(n), 1) for n in range(50)]
        watcher = watch(fake)
        waits = [
            asyncio.create_task(watcher.wait_for(clusters[n % 50], 1, hold_limit_s=60, unknown_limit_s=60))
            for n in range(1000)
        ]
        await polls(watcher, 3)
        for cluster in clusters:
            fake.set_status(AP1, cluster, DONE)
        await asyncio.gather(*waits)
        queries = fake.calls()
        assert len(queries) == watcher.polls < 100
        assert set(queries) <= {f"counts {n}" for n in range(51)}
        assert "counts 50" in queries

    asyncio.run(scenario())


def test_jobs_that_have_the_number_now_end_no_wait_for_those_that_had_it(
    fake: FakePool, tmp_path: Path
) -> None:
    async def scenario() -> None:
        clock = [1000.0]
        cluster = fake.submit(AP1, "x", 2)
        pool = PoolProcess(FACTORY, {"path": str(tmp_path / "pool.json")})
        watcher = ScheddWatcher(AP1, pool, 0.02, steady=lambda: clock[0], close=pool.close)
        limits = {"hold_limit_s": 60, "unknown_limit_s": 300}
        old = asyncio.create_task(watcher.wait_for(cluster, 2, **limits, tag="x"))
        await polls(watcher, 1)
        fake.lose_queue(AP1)
        assert fake.submit(AP1, "y", 2) == cluster
        new = asyncio.create_task(watcher.wait_for(cluster, 2, **limits, tag="y"))
        fake.set_status(AP1, cluster, DONE)
        assert (await new).completed == 2
        await polls(watcher, 2)
        assert not old.done()
        clock[0] += 301
        assert await old == ClusterCounts(total=2, unknown=2)
        assert watcher.polls == len(fake.calls()), "one question a poll for both"
        loop = watcher._loop
        assert loop is not None
        await asyncio.wait([loop], timeout=10)

    asyncio.run(scenario())


def test_held_resolves_after_its_limit_and_not_before(fake: FakePool) -> None:
    async def scenario() -> None:
        now = time.time()
        clock = [now]
        cluster = fake.submit(AP1, "a", 2)
        fake.set_status(AP1, cluster, DONE, processes=[0])
        fake.set_status(AP1, cluster, JobStatus.HELD, processes=[1], since=now)
        watcher = watch(fake, clock=lambda: clock[0])
        wait = asyncio.create_task(watcher.wait_for(cluster, 2, hold_limit_s=600, unknown_limit_s=60))
        clock[0] = now + 599
        await polls(watcher, 2)
        assert not wait.done()
        clock[0] = now + 601
        assert (await wait).held == 1

    asyncio.run(scenario())


def test_unknown_resolves_only_after_answers_for_its_whole_limit(fake: FakePool) -> None:
    async def scenario() -> None:
        clock = [1000.0]
        cluster = fake.submit(AP1, "a", 2)
        fake.set_status(AP1, cluster, JobStatus.UNKNOWN)
        watcher = watch(fake, steady=lambda: clock[0])
        wait = asyncio.create_task(watcher.wait_for(cluster, 2, hold_limit_s=60, unknown_limit_s=300))
        await polls(watcher, 2)
        fake.set_status(AP1, cluster, DONE, processes=[0])
        clock[0] += 299
        await polls(watcher, 2)
        clock[0] += 299
        await polls(watcher, 2)
        assert not wait.done(), "one of the jobs was found again, so the limit began anew"
        fake.set_schedd(AP1, up=False)
        await until(lambda: watcher.failures)
        clock[0] += 10_000
        fake.set_schedd(AP1, up=True)
        await until(lambda: not watcher.failures)
        await polls(watcher, 2)
        assert not wait.done(), "a silent schedd proves nothing about its jobs"
        clock[0] += 301
        assert (await wait).unknown == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("jump_s", [1e6, -1e6])
def test_a_clock_that_is_set_ends_no_wait_and_delays_none(fake: FakePool, jump_s: float) -> None:
    async def scenario() -> None:
        clock, steady, dates = [1e9], [5.0], list[float]()
        cluster = fake.submit(AP1, "a", 1, status=JobStatus.UNKNOWN)
        watcher = watch(fake, clock=lambda: clock[0], steady=lambda: steady[0])
        watcher.on_poll = lambda _, __, at: dates.append(at)
        wait = asyncio.create_task(watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=300))
        await polls(watcher, 2)
        clock[0] += jump_s
        await polls(watcher, 3)
        assert not wait.done()
        steady[0] += 300
        assert (await wait).unknown == 1
        assert {1e9, 1e9 + jump_s} == set(dates), "samples are dated by the clock as it is"

    asyncio.run(scenario())


def test_unreachable_is_said_once_and_waited_out(fake: FakePool, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        cluster = fake.submit(AP1, "a", 1)
        fake.set_status(AP1, cluster, DONE)
        fake.set_schedd(AP1, up=False)
        watcher = watch(fake)
        wait = asyncio.create_task(watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=0))
        await polls(watcher, 4)
        assert not wait.done()
        fake.set_schedd(AP1, up=True)
        assert (await wait).completed == 1

    with caplog.at_level(logging.INFO, logger="include.batch.watcher"):
        asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "no answer; 1 waits go on" in caplog.messages[0]


def test_cancelled_waits_unsubscribe_and_the_loop_ends(fake: FakePool) -> None:
    closed: list[bool] = []

    async def scenario() -> None:
        clusters = [fake.submit(AP1, str(n), 1) for n in range(2)]
        watcher = watch(fake, close=lambda: closed.append(True))
        waits = [
            asyncio.create_task(watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=60))
            for cluster in clusters
        ]
        await polls(watcher, 2)
        waits[0].cancel()
        await asyncio.wait([waits[0]])
        await polls(watcher, 2)
        assert fake.calls()[-1] == "counts 1"
        waits[1].cancel()
        await asyncio.wait([waits[1]])
        loop = watcher._loop
        assert loop is not None
        await asyncio.wait([loop], timeout=10)
        assert loop.done()
        assert closed == [True]
        again = asyncio.create_task(watcher.wait_for(clusters[0], 1, hold_limit_s=60, unknown_limit_s=60))
        fake.set_status(AP1, clusters[0], DONE)
        assert (await again).completed == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [False, True])
def test_wait_that_begins_while_the_pool_is_closed_is_polled_for(fake: FakePool, fails: bool) -> None:
    closing, go_on, closed = threading.Event(), threading.Event(), []

    def close() -> None:
        closing.set()
        assert go_on.wait(20)
        closed.append(True)
        if fails:
            raise OSError("no such process")

    async def scenario() -> None:
        first, second = fake.submit(AP1, "a", 1), fake.submit(AP1, "b", 1)
        fake.set_status(AP1, first, DONE)
        watcher = watch(fake, close=close)
        await watcher.wait_for(first, 1, hold_limit_s=60, unknown_limit_s=60)
        await until(closing.is_set)
        late = asyncio.create_task(watcher.wait_for(second, 1, hold_limit_s=60, unknown_limit_s=60))
        await asyncio.sleep(0.05)
        go_on.set()
        fake.set_status(AP1, second, DONE)
        async with asyncio.timeout(10):
            assert (await late).completed == 1
        loop = watcher._loop
        assert loop is not None
        await asyncio.wait([loop], timeout=10)
        assert closed == [True, True], "the pool is closed after the late wait too"
        assert loop.exception() is None

    asyncio.run(scenario())


def test_wait_that_begins_while_a_failed_watcher_closes_is_polled_for(fake: FakePool, tmp_path: Path) -> None:
    closing, go_on = threading.Event(), threading.Event()

    def close() -> None:
        closing.set()
        assert go_on.wait(20)

    async def scenario() -> None:
        cluster = fake.submit(AP1, "a", 1)
        fake.set_status(AP1, cluster, DONE)
        good = (tmp_path / "pool.json").read_text()
        (tmp_path / "pool.json").write_text("{}")
        watcher = watch(fake, close=close)
        with pytest.raises(KeyError):
            await watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=60)
        await until(closing.is_set)
        (tmp_path / "pool.json").write_text(good)
        late = asyncio.create_task(watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=60))
        await asyncio.sleep(0.05)
        go_on.set()
        async with asyncio.timeout(10):
            assert (await late).completed == 1

    asyncio.run(scenario())


def test_helper_process_answers_again_after_it_was_closed(fake: FakePool, tmp_path: Path) -> None:
    async def scenario() -> None:
        arguments = {"path": str(tmp_path / "pool.json")}
        watcher = watcher_for(AP1, interval_s=0.02, factory=FACTORY, arguments=arguments)
        cluster = fake.submit(AP1, "a", 1)
        fake.set_status(AP1, cluster, DONE)
        for _ in range(3):
            async with asyncio.timeout(20):
                counts = await watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=60)
            assert counts.completed == 1
        loop = watcher._loop
        assert loop is not None
        await asyncio.wait([loop], timeout=10)
        again = await watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=60)
        assert again.completed == 1
        # asyncio.run cancels what still runs, and could so keep the watcher from ending the helper process.
        await asyncio.wait([watcher._loop], timeout=10)

    asyncio.run(scenario())


def test_on_poll_sees_every_answer_and_may_fail(fake: FakePool) -> None:
    seen: list[tuple[str, Mapping[Awaited, ClusterCounts], float]] = []

    def on_poll(schedd: str, counts: Mapping[Awaited, ClusterCounts], at: float) -> None:
        seen.append((schedd, counts, at))
        raise OSError("the ledger's disk is full")

    async def scenario() -> None:
        cluster = fake.submit(AP1, "a", 2)
        watcher = watch(fake, on_poll=on_poll, clock=lambda: 5.0)
        wait = asyncio.create_task(watcher.wait_for(cluster, 2, hold_limit_s=60, unknown_limit_s=60))
        await polls(watcher, 2)
        fake.set_status(AP1, cluster, DONE)
        await wait
        assert seen[0] == (AP1, {Awaited(cluster): ClusterCounts(total=2, idle=2)}, 5.0)
        assert seen[-1][1][Awaited(cluster)].completed == 2

    asyncio.run(scenario())


def test_defect_ends_the_waits(fake: FakePool, tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "pool.json").write_text("{}")
        with pytest.raises(KeyError):
            await watch(fake).wait_for(1, 1, hold_limit_s=60, unknown_limit_s=60)

    asyncio.run(scenario())


def test_watcher_for_is_one_a_schedd_and_asks_another_process(fake: FakePool, tmp_path: Path) -> None:
    async def scenario() -> ScheddWatcher:
        arguments = {"path": str(tmp_path / "pool.json")}
        watcher = watcher_for(AP1, interval_s=0.02, factory=FACTORY, arguments=arguments)
        assert watcher_for(AP1, interval_s=9, factory=FACTORY) is watcher
        assert watcher_for("ap2@fake", interval_s=9, factory=FACTORY) is not watcher
        cluster = fake.submit(AP1, "a", 1)
        wait = asyncio.create_task(watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=60))
        await polls(watcher, 2)
        fake.set_status(AP1, cluster, DONE)
        assert (await wait).completed == 1
        loop = watcher._loop
        assert loop is not None
        await asyncio.wait([loop], timeout=10)
        return watcher

    first = asyncio.run(scenario())
    assert asyncio.run(scenario()) is not first, "an event loop of its own has a watcher of its own"
