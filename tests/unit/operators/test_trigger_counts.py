"""When a wait for several clusters comes back, by what the wait for each of them says."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from include.batch.pool import ClusterCounts
from prodsys_operators import answers, triggers, watching

AP1, AP2 = "ap1@fake", "ap2@fake"
TAG = "unit.three/t/000010/gen/recovery-0"


class Waits:
    """What the waits for two clusters see, told by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        limits: dict[str, Any] = {"hold_limit_s": 3600.0, "hold_pause_s": 60.0, "unknown_limit_s": 60.0}
        self.watched = (
            watching.Watched(tag=TAG, schedd=AP1, cluster=7, jobs=2, **limits),
            watching.Watched(tag=TAG, schedd=AP2, cluster=7, jobs=1, **limits),
        )
        self.begun: list[tuple[watching.Watched, asyncio.Future[ClusterCounts]]] = []
        monkeypatch.setattr(watching, "wait", self.wait)

    async def wait(self, item: watching.Watched, *, holds_known: int) -> ClusterCounts:
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

    def counts(self, **looked: Any) -> asyncio.Task[tuple[list[ClusterCounts], bool, frozenset[str]]]:
        trigger = triggers.SubmissionTrigger(tag=TAG, **looked)
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
        waiting = waits.counts(known={f"7@{AP1}": known})
        await waits.tell(0, **states)
        assert waiting.done() is early
        if not early:
            await waits.tell(1, completed=1)
        counts, settled, _ = await waiting
        assert settled is not early
        assert counts[0].held == states.get("held", 0)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_release_after_a_clusters_wait_has_ended_is_seen_before_the_whole_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = Waits(monkeypatch)
    monkeypatch.setattr(triggers, "STALE_S", 0.0)

    async def scenario() -> None:
        waiting = waits.counts(known={f"7@{AP1}": 1})
        await waits.tell(0, completed=1, held=1, held_shortest_s=10**6)
        await waits.tell(1, completed=1)
        assert not waiting.done(), "what was held is looked at again"
        monkeypatch.setattr(triggers, "STALE_S", 60.0)
        await waits.tell(2, completed=2)
        counts, settled, _ = await waiting
        assert settled
        assert [count.completed for count in counts] == [2, 1]
        assert [item.schedd for item, _ in waits.begun] == [AP1, AP2, AP1]

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_time_that_comes_while_a_schedd_is_silent_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be tried again then is not taken for done."""
    waits = Waits(monkeypatch)
    monkeypatch.setattr(triggers, "STALE_S", 0.01)

    async def scenario() -> None:
        waiting = waits.counts(known={f"7@{AP1}": 1, f"7@{AP2}": 1}, again_s={f"7@{AP1}": 0.0})
        first, second = waits.watched
        monkeypatch.setitem(watching._latest, second.key, ClusterCounts(total=1, held=1))
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done(), "nobody knows yet what is held on the schedd that was silent"
        monkeypatch.setitem(watching._latest, first.key, ClusterCounts(total=2, running=1, held=1))
        counts, settled, due = await waiting
        assert ([count.held for count in counts], settled, due) == ([1, 1], False, {f"7@{AP1}"})

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_what_is_due_on_one_schedd_does_not_wait_for_another_that_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = Waits(monkeypatch)

    async def scenario() -> None:
        waiting = waits.counts(
            known={f"7@{AP1}": 1, f"7@{AP2}": 1}, again_s={f"7@{AP1}": 0.05, f"7@{AP2}": 0.0}
        )
        first, _ = waits.watched
        monkeypatch.setitem(watching._latest, first.key, ClusterCounts(total=2, running=1, held=1))
        counts, settled, due = await waiting
        assert (counts[0].held, counts[1].unknown, settled, due) == (1, 1, False, {f"7@{AP1}"})

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_time_at_which_nothing_is_held_any_more_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)
    first, second = waits.watched

    async def scenario() -> None:
        told = {item: asyncio.create_task(watching.wait(item, holds_known=0)) for item in waits.watched}
        due = {first: 0.0, second: 0.0}
        monkeypatch.setitem(watching._latest, first.key, ClusterCounts(total=2, running=2))
        assert triggers._come(due, told) == []
        assert set(due) == {second}, "the other schedd has not answered"
        assert due[second] > time.monotonic()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_what_is_left_of_a_pause_is_waited_for_once_all_else_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)

    async def scenario() -> None:
        began = time.monotonic()
        waiting = waits.counts(known={f"7@{AP1}": 1}, again_s={f"7@{AP1}": 0.2})
        await waits.tell(0, completed=1, held=1, held_shortest_s=10**6)
        await waits.tell(1, completed=1)
        counts, settled, due = await waiting
        assert (counts[0].held, settled, due) == (1, True, {f"7@{AP1}"})
        assert time.monotonic() - began >= 0.2

    asyncio.run(asyncio.wait_for(scenario(), 20))


@pytest.mark.parametrize(("due", "looks"), [(AP2, 3), (AP1, 2)])
def test_looks_are_counted_for_a_silent_schedd_where_they_were_made_for_it(
    monkeypatch: pytest.MonkeyPatch, due: str, looks: int
) -> None:
    waits = Waits(monkeypatch)
    monkeypatch.setattr(watching, "look_up", lambda _tag: waits.watched)
    monkeypatch.setattr(watching, "_polled", {})

    async def scenario() -> Any:
        trigger = triggers.SubmissionTrigger(
            tag=TAG, known={f"7@{AP1}": 1, f"7@{AP2}": 1}, again_s={f"7@{due}": 0.0}, silent={f"7@{AP2}": 2}
        )
        for item in waits.watched:
            monkeypatch.setitem(watching._latest, item.key, ClusterCounts(total=item.jobs, held=item.jobs))
        return (await anext(trigger.run())).payload

    event = asyncio.run(asyncio.wait_for(scenario(), 20))
    assert event == {"tag": TAG, "over": False, "silent": {f"7@{AP2}": looks}}


def test_new_holds_are_looked_at_at_once_also_where_known_ones_wait_for_their_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = Waits(monkeypatch)

    async def scenario() -> None:
        waiting = waits.counts(known={f"7@{AP1}": 1}, again_s={f"7@{AP1}": 3600.0})
        await waits.tell(0, completed=1, held=1, held_shortest_s=10**6)
        await waits.tell(1, held=1, held_shortest_s=10)
        assert (await waiting)[1], "no other job can change anything"

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_look_again_waits_for_an_answer_of_each_schedd(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)
    monkeypatch.setattr(watching, "look_up", lambda _tag: waits.watched)
    monkeypatch.setattr(watching, "_polled", {})
    monkeypatch.setattr(answers, "PAUSE_S", 0.0)

    async def scenario() -> None:
        trigger = answers.AnswerTrigger(tag=TAG, rounds=2)
        resumed = asyncio.create_task(anext(trigger.run()))
        while set(watching._polled) != {AP1, AP2}:  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0)
        assert {item.key for item in waits.watched} == set(watching._watched)
        watching.was_polled(AP1)
        await asyncio.wait([resumed], timeout=0.1)
        assert not resumed.done()
        await waits.tell(1, completed=1)  # jobs that are over: their watcher polls no more
        assert (await resumed).payload == {"tag": TAG, "over": True, "rounds": 3}
        assert not watching._watched

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_look_again_says_who_is_silent_and_takes_nothing_from_another_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = Waits(monkeypatch)
    said: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(watching, "look_up", lambda _tag: waits.watched)
    monkeypatch.setattr(watching, "_polled", {})
    monkeypatch.setattr(answers, "PAUSE_S", 0.0)
    monkeypatch.setattr(answers, "SAY_S", 0.01)
    monkeypatch.setitem(watching._watchers, AP2, SimpleNamespace(failures=3))  # type: ignore[misc]

    async def scenario() -> None:
        waiting = waits.counts()  # a wait for the same tag, as of a task that was cleared
        trigger = answers.AnswerTrigger(tag=TAG)
        trigger._log = SimpleNamespace(warning=lambda _, line: said.put_nowait(line))  # type: ignore[assignment]
        resumed = asyncio.create_task(anext(trigger.run()))
        assert (await said.get()).startswith(f"{AP2} gave no answer to the last 3 polls")
        watching.was_polled(AP1)
        watching.was_polled(AP2)
        await resumed
        assert {item.key for item in waits.watched} == set(watching._watched), "the other's"
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not watching._watched

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_poll_of_what_nobody_waits_for_any_more_wakes_who_looks_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "_polled", {})

    async def scenario() -> None:
        looking = asyncio.create_task(watching.next_poll(AP1))
        await asyncio.sleep(0)
        await asyncio.to_thread(watching.record, AP1, {}, 1.0)
        await looking

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_looks_that_come_to_nothing_are_further_and_further_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    real = {"to_thread": asyncio.to_thread, "gather": asyncio.gather}
    monkeypatch.setattr(answers, "asyncio", SimpleNamespace(sleep=nap, **real))
    monkeypatch.setattr(watching, "look_up", lambda _tag: ())
    for rounds in (0, 1, 2, 5_000):
        event = asyncio.run(anext(answers.AnswerTrigger(tag=TAG, rounds=rounds).run()))
        assert answers.rounds_of(event.payload) == rounds + 1
    assert naps == [15.0, 30.0, 60.0, 600.0]


def test_a_wait_says_in_its_own_log_that_its_schedd_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)
    trigger = triggers.SubmissionTrigger(tag=TAG)
    lines: asyncio.Queue[str] = asyncio.Queue()
    trigger._log = SimpleNamespace(warning=lambda _, line: lines.put_nowait(line))  # type: ignore[assignment]
    monkeypatch.setattr(triggers, "SILENT_S", 0.01)
    monkeypatch.setattr(watching, "_polled", {})
    for schedd, failures in ((AP1, 12), (AP2, 0)):
        monkeypatch.setitem(watching._watchers, schedd, SimpleNamespace(failures=failures))  # type: ignore[misc]

    async def hear() -> str:
        story = asyncio.create_task(trigger._tell(waits.watched))
        async with asyncio.timeout(20):
            heard = await lines.get()
        story.cancel()
        return heard

    said = asyncio.run(hear())
    assert said.startswith(f"{AP1} gave no answer to the last 12 polls: the counts above are as old.")
    assert said.endswith(f"condor_status -schedd {AP1}")


def test_unknown_jobs_that_are_back_since_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)
    monkeypatch.setattr(triggers, "STALE_S", 0.0)

    async def scenario() -> None:
        waiting = waits.counts()
        await waits.tell(0, unknown=2)
        await waits.tell(1, completed=1)
        assert not waiting.done(), "what was unknown then is looked at again"
        assert waits.begun[2][0].unknown_limit_s == 0, "at once: it was so for long enough"
        monkeypatch.setattr(triggers, "STALE_S", 60.0)
        await waits.tell(2, completed=2)
        counts, settled, _ = await waiting
        assert settled
        assert counts[0].completed == 2

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_counts_from_before_a_silence_drop_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another wait for the same tag keeps them."""
    waits = Waits(monkeypatch)
    first, _ = waits.watched
    monkeypatch.setitem(watching._watchers, AP1, SimpleNamespace(failures=3))  # type: ignore[misc]

    async def scenario() -> None:
        told = {item: asyncio.create_task(watching.wait(item, holds_known=0)) for item in waits.watched}
        monkeypatch.setitem(watching._latest, first.key, ClusterCounts(total=2, running=2))
        due = {first: 0.0}
        assert triggers._come(due, told) == []
        assert set(due) == {first}

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_clusters_whose_waits_take_long_do_not_wait_for_each_other_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = Waits(monkeypatch)
    monkeypatch.setattr(triggers, "STALE_S", 0.02)

    async def slow(item: watching.Watched, *, holds_known: int) -> ClusterCounts:
        waits.begun.append((item, asyncio.get_running_loop().create_future()))
        await asyncio.sleep(0.03 + 0.03 * (item.schedd == AP2) + 0 * holds_known)
        return ClusterCounts(total=item.jobs, unknown=item.jobs)

    monkeypatch.setattr(watching, "wait", slow)

    async def scenario() -> None:
        assert (await waits.counts())[1]

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert 2 < len(waits.begun) < 20
    limits = {item.unknown_limit_s for item, _ in waits.begun[2:]}
    assert limits == {0.0}
