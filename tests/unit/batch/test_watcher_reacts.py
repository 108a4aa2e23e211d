"""What a watcher does about holds, failing nodes and a schedd that is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from include.batch.watcher import MOST_BRISK_POLLS, ScheddWatcher
from include.campaign.states import JobStatus
from include.errors import ScheddUnlisted
from tests.unit.batch.watching import AP1, DONE, polls, until, watch

if TYPE_CHECKING:
    import pytest

    from include.batch.fake import FakePool


def test_new_holds_end_a_wait_that_asks_for_it(fake: FakePool) -> None:
    async def scenario() -> None:
        now = time.time()
        cluster = fake.submit(AP1, "a", 3)
        fake.set_status(AP1, cluster, JobStatus.HELD, processes=[0], since=now - 100)
        watcher = watch(fake, clock=lambda: now)
        limits = {"hold_limit_s": 1000, "unknown_limit_s": 60}
        plain = asyncio.create_task(watcher.wait_for(cluster, 3, **limits))
        patient = asyncio.create_task(watcher.wait_for(cluster, 3, **limits, hold_pause_s=101))
        knowing = asyncio.create_task(watcher.wait_for(cluster, 3, **limits, hold_pause_s=60, holds_known=1))
        acting = asyncio.create_task(watcher.wait_for(cluster, 3, **limits, hold_pause_s=60))
        assert (await acting).held == 1
        await polls(watcher, 2)
        assert not any(wait.done() for wait in (plain, patient, knowing))
        fake.set_status(AP1, cluster, JobStatus.HELD, processes=[1], since=now)
        assert (await knowing).held == 2
        await polls(watcher, 2)
        assert not plain.done()
        assert not patient.done()
        for wait in (plain, patient):
            wait.cancel()
        await asyncio.wait([plain, patient])

    asyncio.run(scenario())


def test_a_hold_in_the_place_of_a_known_one_is_told(fake: FakePool) -> None:
    async def scenario() -> None:
        now = time.time()
        cluster = fake.submit(AP1, "a", 3)
        fake.set_status(AP1, cluster, JobStatus.HELD, processes=[0], since=now - 100)
        watcher = watch(fake, clock=lambda: now)
        wait = asyncio.create_task(
            watcher.wait_for(cluster, 3, hold_limit_s=1000, unknown_limit_s=60, hold_pause_s=0, holds_known=1)
        )
        await polls(watcher, 2)
        assert not wait.done()
        fake.set_status(AP1, cluster, JobStatus.RUNNING, processes=[0])
        fake.set_status(AP1, cluster, JobStatus.HELD, processes=[1], since=now - 5)
        counts = await wait
        assert (counts.held, counts.running) == (1, 1)

    asyncio.run(scenario())


def test_a_schedd_that_nobody_polls_is_not_called_silent(fake: FakePool) -> None:
    async def scenario() -> None:
        cluster = fake.submit(AP1, "a", 1)
        watcher = watch(fake)
        fake.set_schedd(AP1, up=False)
        wait = asyncio.create_task(watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=60))
        await until(lambda: watcher.failures > 0)
        wait.cancel()
        await asyncio.wait([wait])
        loop = watcher._loop
        assert loop is not None
        await loop
        assert watcher.failures == 0

    asyncio.run(scenario())


def test_polls_come_faster_while_a_node_fails_and_not_for_ever(fake: FakePool) -> None:
    async def scenario() -> None:
        cluster = fake.submit(AP1, "a", 4)
        watcher = ScheddWatcher(AP1, fake, 30.0)
        wait = asyncio.create_task(watcher.wait_for(cluster, 4, hold_limit_s=60, unknown_limit_s=60))
        await until(lambda: watcher.poll_s > 0)  # that poll is over
        assert watcher._interval() == 30
        fake.set_status(AP1, cluster, DONE, processes=[0], exit_code=1, host="slot1@wn1", wall_s=1.0)
        await watcher._poll()
        assert watcher._interval() == 1
        for _ in range(MOST_BRISK_POLLS):
            await watcher._poll()
        assert watcher._interval() == 30
        fake.set_status(AP1, cluster, DONE, processes=[1], exit_code=0, host="slot1@wn1", wall_s=9.0)
        await watcher._poll()
        assert watcher._interval() == 30
        fake.set_status(AP1, cluster, DONE, processes=[2, 3], exit_code=1, host="slot1@wn1", wall_s=1.0)
        await watcher._poll()
        assert watcher._interval() == 1, "a suspect, although a job ended well there"
        watcher._wake.set()
        assert [node.machine for node in (await wait).suspects] == ["wn1"]

    asyncio.run(scenario())


def test_pool_is_closed_after_some_failures_so_that_its_configuration_is_read_anew(fake: FakePool) -> None:
    closed_at: list[int] = []

    async def scenario() -> None:
        cluster = fake.submit(AP1, "a", 1)
        fake.set_status(AP1, cluster, DONE)
        fake.set_schedd(AP1, up=False)
        watcher = watch(fake, close=lambda: closed_at.append(watcher.failures))
        wait = asyncio.create_task(watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=60))
        await until(lambda: watcher.failures >= 4)
        fake.set_schedd(AP1, up=True)
        await wait
        loop = watcher._loop
        assert loop is not None
        await asyncio.wait([loop], timeout=10)

    asyncio.run(scenario())
    assert closed_at == [3, 0]


def test_a_schedd_that_is_not_listed_is_told_now_and_then(
    fake: FakePool, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [1000.0]

    async def scenario() -> None:
        cluster = fake.submit(AP1, "a", 1)
        watcher = watch(fake, steady=lambda: clock[0])
        wait = asyncio.create_task(watcher.wait_for(cluster, 1, hold_limit_s=60, unknown_limit_s=300))
        await polls(watcher, 1)
        for at in (1000, 1299, 1301, 1302, 1900, 1902):
            clock[0] = at
            await watcher._unanswered(ScheddUnlisted("the collector lists no schedd ap1@fake"))
        assert not wait.done()
        fake.set_status(AP1, cluster, DONE)
        await wait

    with caplog.at_level(logging.WARNING, logger="include.batch.watcher"):
        asyncio.run(scenario())
    told = [text for text in caplog.messages if "listed no schedd" in text]
    assert len(told) == 2
    assert (
        "ap1@fake: the collector has listed no schedd of this name for 301 s, and clusters 1 are" in told[0]
    )
    assert "each wait then ends after its `unknown_limit`" in told[0]
    assert "Required Actions" in told[0]
    assert "failed" not in told[0], "a wait that is marked so leads nowhere"
