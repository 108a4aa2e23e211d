"""When a wait for several clusters comes back, by what the wait for each of them says."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from include.batch.pool import ClusterCounts
from prodsys_operators import answers, triggers

AP1, AP2 = "ap1@fake", "ap2@fake"
TAG = "unit.three/t/000010/gen/recovery-0"


class Waits:
    """What the waits for two clusters see, told by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        limits: dict[str, Any] = {"hold_limit_s": 3600.0, "hold_pause_s": 60.0, "unknown_limit_s": 60.0}
        self.watched = (
            triggers.Watched(tag=TAG, schedd=AP1, cluster=7, jobs=2, **limits),
            triggers.Watched(tag=TAG, schedd=AP2, cluster=7, jobs=1, **limits),
        )
        self.begun: list[tuple[triggers.Watched, asyncio.Future[ClusterCounts]]] = []
        monkeypatch.setattr(triggers, "wait", self.wait)

    async def wait(self, item: triggers.Watched, *, holds_known: int) -> ClusterCounts:
        assert holds_known >= 0
        told: asyncio.Future[ClusterCounts] = asyncio.get_running_loop().create_future()
        self.begun.append((item, told))
        return await told

    async def tell(self, number: int, **states: Any) -> None:
        """End the wait that began as this one."""
        while len(self.begun) <= number:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0)
        item, told = self.begun[number]
        told.set_result(ClusterCounts(total=item.jobs, **states))
        for _ in range(5):  # the wait takes note
            await asyncio.sleep(0)

    def counts(self, **known: Any) -> asyncio.Task[tuple[list[ClusterCounts], bool]]:
        trigger = triggers.SubmissionTrigger(tag=TAG, **known)
        return asyncio.create_task(trigger._counts(self.watched))


@pytest.mark.parametrize(
    ("known", "states", "early"),
    [
        (0, {"completed": 1, "held": 1, "held_shortest_s": 60}, True),
        # One that was held lately is not the one that was known.
        (1, {"completed": 1, "held": 1, "held_shortest_s": 60}, True),
        (1, {"completed": 1, "held": 1, "held_shortest_s": 10**6}, False),
        (0, {"completed": 2}, False),
    ],
)
def test_held_jobs_of_one_cluster_are_acted_on_while_another_runs(
    monkeypatch: pytest.MonkeyPatch, known: int, states: dict[str, int], early: bool
) -> None:
    waits = Waits(monkeypatch)

    async def scenario() -> None:
        waiting = waits.counts(holds_known=known)
        await waits.tell(0, **states)
        assert waiting.done() is early
        if not early:
            await waits.tell(1, completed=1)
        counts, settled = await waiting
        assert settled is not early
        assert counts[0].held == states.get("held", 0)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_release_after_a_clusters_wait_has_ended_is_seen_before_the_whole_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = Waits(monkeypatch)
    monkeypatch.setattr(triggers, "STALE_S", 0.0)

    async def scenario() -> None:
        waiting = waits.counts(holds_known=1)
        await waits.tell(0, completed=1, held=1, held_shortest_s=10**6)
        await waits.tell(1, completed=1)
        assert not waiting.done(), "what was held is looked at again"
        monkeypatch.setattr(triggers, "STALE_S", 60.0)
        await waits.tell(2, completed=2)
        counts, settled = await waiting
        assert settled
        assert [count.completed for count in counts] == [2, 1]
        assert [item.schedd for item, _ in waits.begun] == [AP1, AP2, AP1]

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_time_that_comes_while_a_schedd_is_silent_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be tried again then is not taken for done."""
    waits = Waits(monkeypatch)
    monkeypatch.setattr(triggers, "STALE_S", 0.01)

    async def scenario() -> None:
        waiting = waits.counts(holds_by={f"7@{AP1}": 1}, again_s=0.0)
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done(), "nobody knows yet what is held"
        first, second = waits.watched
        monkeypatch.setitem(triggers._latest, first.key, ClusterCounts(total=2, running=1, held=1))
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done(), "the other schedd has not answered"
        monkeypatch.setitem(triggers._latest, second.key, ClusterCounts(total=1, running=1))
        counts, settled = await waiting
        assert (counts[0].held, settled) == (1, False)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_look_again_waits_for_an_answer_of_each_schedd(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)
    monkeypatch.setattr(triggers, "look_up", lambda _tag: waits.watched)
    monkeypatch.setattr(triggers, "_polled", {})
    monkeypatch.setattr(answers, "PAUSE_S", 0.0)

    async def scenario() -> None:
        trigger = answers.AnswerTrigger(tag=TAG, rounds=2)
        resumed = asyncio.create_task(anext(trigger.run()))
        while set(triggers._polled) != {AP1, AP2}:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0)
        assert {item.key for item in waits.watched} == set(triggers._watched)
        triggers.was_polled(AP1)
        await asyncio.wait([resumed], timeout=0.1)
        assert not resumed.done()
        triggers.was_polled(AP2)
        assert (await resumed).payload == {"tag": TAG, "over": True, "rounds": 3}
        assert not triggers._watched

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_looks_that_come_to_nothing_are_further_and_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr(answers, "asyncio", SimpleNamespace(sleep=nap, to_thread=asyncio.to_thread))
    monkeypatch.setattr(triggers, "look_up", lambda _tag: ())
    for rounds in (0, 1, 2, 90):
        event = asyncio.run(anext(answers.AnswerTrigger(tag=TAG, rounds=rounds).run()))
        assert answers.rounds_of(event.payload) == rounds + 1
    assert naps == [15.0, 30.0, 60.0, 600.0]


def test_a_wait_says_in_its_own_log_that_its_schedd_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)
    trigger = triggers.SubmissionTrigger(tag=TAG)
    lines: asyncio.Queue[str] = asyncio.Queue()
    trigger._log = SimpleNamespace(warning=lambda _, line: lines.put_nowait(line))  # type: ignore[assignment]
    monkeypatch.setattr(triggers, "SILENT_S", 0.01)
    monkeypatch.setattr(triggers, "_polled", {})
    for schedd, failures in ((AP1, 12), (AP2, 0)):
        monkeypatch.setitem(triggers._watchers, schedd, SimpleNamespace(failures=failures))  # type: ignore[misc]

    async def hear() -> str:
        story = asyncio.create_task(trigger._tell(waits.watched))
        async with asyncio.timeout(20):
            heard = await lines.get()
        story.cancel()
        return heard

    said = asyncio.run(hear())
    assert said.startswith(f"{AP1} gave no answer to the last 12 polls: the counts above are as old.")
    assert said.endswith(f"condor_status -schedd {AP1}")
