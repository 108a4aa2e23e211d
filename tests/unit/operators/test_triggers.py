"""What follows a poll in the triggerer: progress, exclusions and the news of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import pytest

from include.batch.fake import FakePool
from include.batch.pool import Awaited, ClusterCounts
from include.batch.watcher import ScheddWatcher
from include.bookkeeping.records import Exclusion, RequestChanges, Unit
from include.campaign.states import JobStatus
from include.errors import LedgerUnavailable
from include.recovery.black_holes import LOOK_EVERY_S, News
from prodsys_operators import triggers, watching
from prodsys_operators.node_watch import MOST_NEWS, SAY_AGAIN_S, NodeNews, NodeWatch
from prodsys_operators.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AP1 = "ap1@fake"
AP2 = "ap2@fake"
NOW = 1_000_000.0


class Deployment:
    """One submission of three jobs that a wait of this process is for."""

    def __init__(self, settings: Settings, pool: FakePool) -> None:
        from prodsys_operators.campaign_dag import load_plan, spec_path

        self.settings, self.pool, self.opened = settings, pool, 0
        self.plan = load_plan(spec_path("unit/three.yaml"), specs=spec_path("."), area=settings.area)
        with settings.open_ledger() as ledger:
            ledger.reserve(self.plan, tranche="t", dag_run_id="t", slices=1, now=NOW)

    def submit(self, recovery: int, changes: RequestChanges) -> int:
        """Submit the stage gen and wait for it."""
        tag = f"unit.three/t/000010/gen/recovery-{recovery}"
        with self.settings.open_ledger() as ledger:
            ledger.intend(
                tag=tag, dag_id="unit.three", tranche="t", run=10, stage="gen", recovery=recovery,
                units=tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(3)),
                work_dir="/w", now=NOW + recovery, changes=changes,
            )  # fmt: skip
            cluster = self.pool.submit(AP1, tag, 3, machines=changes.machines, sites=changes.sites)
            ledger.record_submitted(tag, clusters=((AP1, cluster, 3),), message="", now=NOW)
        watching.remember(watching.look_up(tag))
        return cluster

    def open_pool(self) -> FakePool:
        self.opened += 1
        return self.pool

    def poll(self, at: float) -> None:
        """Do what a watcher does."""
        clusters = {Awaited(item.cluster, item.tag): item.jobs for item in watching._watched.values()}
        watching.record(AP1, self.pool.counts(AP1, clusters, now=at), at)

    def lists(self, cluster: int) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
        return set(self.pool.excluded(AP1, cluster).values())


class ClosingPool(FakePool):
    """A pool that a `with` block may close, as PoolProcess is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


@pytest.fixture
def world(deployment: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    made = Deployment(deployment, ClosingPool(str(tmp_path / "pool.json"), schedds=(AP1, AP2)))
    monkeypatch.setattr(Settings, "open_pool", lambda _: made.open_pool())
    monkeypatch.setattr(watching, "nodes", NodeWatch())
    yield made
    for known in (watching._watched, watching._waits, watching._latest, watching._recorded, watching._polled):
        known.clear()


def exclude(world: Deployment, name: str, at: float) -> None:
    with world.settings.open_ledger() as ledger:
        ledger.exclude(Exclusion(kind="node", name=name, since=at, until=at + 3600, by="alice", reason="x"))


def test_exclusions_by_others_reach_waiting_jobs_beside_their_recoverys_own(world: Deployment) -> None:
    first = world.submit(0, RequestChanges())
    again = world.submit(1, RequestChanges(machines=("wn7",), sites=("SITE",)))
    world.poll(NOW + 100)
    exclude(world, "wn2", NOW + 101)
    world.poll(NOW + 102)
    assert world.lists(first) == {((), ())}, "the ledger was asked just before"
    world.poll(NOW + 100 + LOOK_EVERY_S)
    assert (world.lists(first), world.lists(again)) == (
        {(("wn2",), ())},
        {(("wn2", "wn7"), ("SITE",))},
    )
    with world.settings.open_ledger() as ledger:
        ledger.lift("node", "wn2", "alice", NOW + 115)
    for second in range(120, 160):
        world.poll(NOW + second)
    assert (world.lists(first), world.lists(again)) == ({((), ())}, {(("wn7",), ("SITE",))})
    assert world.opened == 2, "one process a change, not one a poll"


def test_suspects_in_each_poll_open_one_pool_and_are_told_once(world: Deployment) -> None:
    cluster = world.submit(0, RequestChanges())
    pool = world.pool
    (item,) = watching.look_up("unit.three/t/000010/gen/recovery-0")
    busy = pool.submit(AP1, item.tag, 20)
    watching.remember([replace(item, cluster=busy, jobs=20)])
    for process in range(12):
        host = f"slot1@wn{1 + process % 3}"
        pool.set_status(AP1, busy, JobStatus.RUNNING, processes=[process], since=NOW - 600, host=host)
    pool.set_status(
        AP1, busy, JobStatus.COMPLETED, processes=[12, 13, 14, 15], exit_code=1, host="s@wn9", wall_s=2.0
    )
    for second in range(100, 130):
        world.poll(NOW + second)
    assert world.lists(cluster) == {(("wn9",), ())}
    assert world.opened == 1
    told = [line.text for line in watching.nodes.news.after(0, {AP1})]
    assert len(told) == 2
    assert told[0].startswith("node wn9 is excluded until ")
    assert told[1] == f"{AP1}: 7 waiting jobs are kept off wn9"


def test_a_schedd_that_does_not_answer_is_told_once_and_asked_again(world: Deployment) -> None:
    cluster = world.submit(0, RequestChanges())
    (awaited,) = (Awaited(item.cluster, item.tag) for item in watching._watched.values())
    polled = world.pool.counts(AP1, {awaited: 3}, now=NOW)
    exclude(world, "wn2", NOW)
    world.pool.set_schedd(AP1, up=False)
    for second in (0, 10, 20):
        watching.record(AP1, polled, NOW + second)
    (line,) = watching.nodes.news.after(0, {AP1})
    assert "tried again soon: ap1@fake did not answer" in line.text
    assert world.opened == 3
    world.pool.set_schedd(AP1, up=True)
    world.poll(NOW + 30)
    assert world.lists(cluster) == {(("wn2",), ())}


def test_a_poll_is_kept_as_progress(world: Deployment) -> None:
    cluster = world.submit(0, RequestChanges())
    world.pool.set_status(AP1, cluster, JobStatus.RUNNING, processes=[1])
    world.poll(NOW)
    count = watching._latest[AP1, cluster, "unit.three/t/000010/gen/recovery-0"]
    assert (count.idle, count.running, world.opened) == (2, 1, 0)


def samples_of(world: Deployment) -> list[tuple[float, int, int]]:
    with world.settings.open_ledger() as ledger:
        found = ledger.progress("unit.three/t/000010/gen/recovery-0")
    return [(each.at - NOW, each.idle, each.running) for each in found]


def test_counts_that_stay_the_same_are_recorded_once_a_minute(world: Deployment) -> None:
    cluster = world.submit(0, RequestChanges())
    for second in range(0, 130, 10):
        world.poll(NOW + second)
    assert samples_of(world) == [(0, 3, 0), (60, 3, 0), (120, 3, 0)]
    world.pool.set_status(AP1, cluster, JobStatus.RUNNING, processes=[1])
    world.poll(NOW + 130)
    assert samples_of(world)[-1] == (130, 2, 1)


def test_a_submission_of_two_clusters_has_one_sample_a_poll_with_both(world: Deployment) -> None:
    cluster = world.submit(0, RequestChanges())
    (first,) = watching._watched.values()
    other = world.pool.submit(AP1, first.tag, 2)
    world.pool.set_status(AP1, other, JobStatus.RUNNING)
    second = replace(first, cluster=other, jobs=2)
    watching.remember([first, second])
    world.poll(NOW)
    assert samples_of(world) == [(0, 3, 2)]
    watching.forget([first])
    assert (AP1, cluster, first.tag) in watching._watched, "another wait's"
    watching.forget([first, second])
    assert not watching._watched


def test_waits_of_one_submission_in_two_triggerers_agree_and_one_may_be_taken_away(
    world: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a triggerer that was thought dead goes on beside the one that took over its triggers."""
    cluster = world.submit(0, RequestChanges())
    tag = "unit.three/t/000010/gen/recovery-0"
    watching.forget(watching.look_up(tag))
    (item,) = watching.look_up(tag)
    watchers = [ScheddWatcher(AP1, world.pool, 0.02, on_poll=watching.record) for _ in range(3)]
    mine = iter(watchers)
    monkeypatch.setattr("include.batch.watcher.watcher_for", lambda *_, **__: next(mine))

    async def scenario() -> list[ClusterCounts]:
        trigger = triggers.SubmissionTrigger(tag=tag)
        taken, *waits = [asyncio.create_task(trigger._counts((replace(item),))) for _ in watchers]
        async with asyncio.timeout(20):
            while min(each.polls for each in watchers) < 2:  # noqa: ASYNC110  a watcher tells only its waits
                await asyncio.sleep(0.01)
            taken.cancel()
            await asyncio.wait([taken])
            assert watching._watched, "those that go on are still recorded"
            world.pool.set_status(AP1, cluster, JobStatus.COMPLETED)
            ended = await asyncio.gather(*waits)
            await asyncio.gather(*(each._loop for each in watchers if each._loop is not None))
        return [counts for (counts,), _, _ in ended]

    assert [counts.completed for counts in asyncio.run(scenario())] == [3, 3]
    with world.settings.open_ledger() as ledger:
        samples = ledger.progress(tag)
    assert {each.idle + each.completed for each in samples} == {3}
    assert max(each.completed for each in samples) == 3
    assert not watching._watched


def two_clusters(world: Deployment) -> tuple[str, tuple[int, int]]:
    """Submit the stage gen in two clusters, on two schedds."""
    tag = "unit.three/t/000010/gen/recovery-0"
    units = tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(3))
    first, second = world.pool.submit(AP1, tag, 2), world.pool.submit(AP2, tag, 1, first_unit=2)
    with world.settings.open_ledger() as ledger:
        ledger.intend(
            tag=tag, dag_id="unit.three", tranche="t", run=10, stage="gen", recovery=0,
            units=units, work_dir="/w", now=NOW,
        )  # fmt: skip
        clusters = ((AP2, second, 1), (AP1, first, 2))
        ledger.record_submitted(tag, clusters=clusters, message="", now=NOW, first_units=(2, 0))
        assert ledger.submission(tag).clusters == clusters[::-1]  # type: ignore[union-attr]
        assert ledger.submission(tag).first_units == (0, 2)  # type: ignore[union-attr]
    return tag, (first, second)


def test_a_submission_in_several_clusters_has_one_progress(world: Deployment) -> None:
    tag, (first, second) = two_clusters(world)
    items = watching.look_up(tag)
    watching.remember(items)
    with world.settings.open_ledger() as ledger:
        assert ledger.jobs_by_schedd() == {AP1: 2, AP2: 1}
    told = []
    for at, schedd, cluster, jobs in ((NOW, AP1, first, 2), (NOW + 1, AP2, second, 1)):
        world.pool.set_status(schedd, cluster, JobStatus.COMPLETED, processes=[0], exit_code=0)
        watching.record(schedd, world.pool.counts(schedd, {Awaited(cluster, tag): jobs}, now=at), at)
        with world.settings.open_ledger() as ledger:
            sample = ledger.progress(tag)[-1]
            in_flight = sum(ledger.jobs_in_flight(now=at).values())
            told.append((sample.idle, sample.completed, sample.unknown, in_flight))
    assert told == [(1, 1, 1, 2), (1, 2, 0, 1)]


def test_a_number_that_is_given_out_again_is_two_submissions_to_all_that_follows_a_poll(
    world: Deployment,
) -> None:
    """The schedd lost its queue: what waits for the jobs that are gone sees none of the others' there."""
    first = world.submit(0, RequestChanges())
    world.pool.lose_queue(AP1)
    again = world.submit(1, RequestChanges(machines=("wn7",)))
    assert first == again
    world.poll(NOW)
    seen = {item.tag[-1]: (count.idle, count.unknown) for item, count in latest()}
    assert seen == {"0": (0, 3), "1": (3, 0)}
    assert samples_of(world) == [(0, 0, 0)]
    exclude(world, "wn2", NOW + 1)
    world.poll(NOW + LOOK_EVERY_S)
    assert world.lists(again) == {(("wn2", "wn7"), ())}, "those of the submission whose jobs they are"


def latest() -> list[tuple[watching.Watched, ClusterCounts]]:
    return [(item, watching._latest[key]) for key, item in watching._watched.items()]


def test_a_look_is_due_by_each_clusters_own_held_jobs(world: Deployment) -> None:
    tag, (first, _) = two_clusters(world)
    watched = watching.look_up(tag)
    known = triggers.SubmissionTrigger(tag=tag, known={f"{first}@{AP1}": 1})
    none = ClusterCounts(total=2, idle=2)
    held = ClusterCounts(total=2, held=1, idle=1, held_shortest_s=round(watched[0].hold_limit_s))
    assert not known._needs_a_look(watched, [held, none])
    assert known._needs_a_look(watched, [none, held])
    another = replace(held, held_shortest_s=60)  # in the place of the one that was known
    assert known._needs_a_look(watched, [another, none])
    again = triggers.SubmissionTrigger(**{**known.serialize()[1], "again_s": {f"{first}@{AP1}": 60.0}})
    assert again._needs_a_look(watched, [held, none]), "its time has come"
    assert not again._needs_a_look(watched, [none, none])


def test_a_ledger_that_does_not_answer_fails_no_wait(
    world: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag, _ = two_clusters(world)
    answers = [LedgerUnavailable("the ledger does not answer"), LedgerUnavailable("still not")]

    def look_up(wanted: str) -> Any:
        if answers:
            raise answers.pop()
        return found(wanted)

    found = watching.look_up
    monkeypatch.setattr(watching, "look_up", look_up)
    monkeypatch.setattr(triggers, "settings", lambda: replace(world.settings, poll_interval=0))
    watched = asyncio.run(triggers.SubmissionTrigger(tag=tag)._look_up())
    assert [item.jobs for item in watched] == [2, 1]
    assert not answers


class Lines(logging.Handler):
    """A log whose lines can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.queue.put_nowait(record.getMessage())


def test_the_log_of_a_wait_has_the_news_from_after_its_start(world: Deployment) -> None:
    world.submit(0, RequestChanges())
    trigger = triggers.SubmissionTrigger(tag="unit.three/t/000010/gen/recovery-0")
    lines, news = Lines(), watching.nodes.news
    trigger._log = logging.getLogger(str(world.pool._path))
    trigger._log.addHandler(lines)
    news.tell(AP1, act("before"), at=NOW)

    async def hear() -> list[str]:
        story = asyncio.create_task(trigger._tell(watching.look_up(trigger.tag)))
        await asyncio.sleep(0)  # it begins
        news.tell("ap2@fake", act("far"), at=NOW)
        news.tell(AP1, act("new"), at=NOW)
        news.tell(AP1, act("newer"), at=NOW)
        watching.was_polled(AP1)
        async with asyncio.timeout(20):
            heard = [await lines.queue.get(), await lines.queue.get()]
        story.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await story
        return heard

    assert asyncio.run(hear()) == [act("new").text, act("newer").text]


def act(*names: str, schedd: str = AP1) -> News:
    return News(about=(schedd, *names), text=f"{schedd} {names}", acted=True)


def test_every_act_is_told_also_a_later_one_on_the_same_schedd() -> None:
    news = NodeNews()
    for each in (act("wn1"), act("wn1", "wn2"), act("wn1")):
        news.tell(AP1, each, at=NOW)
    assert [line.about for line in news.after(0, {AP1})] == [
        (AP1, "wn1"),
        (AP1, "wn1", "wn2"),
        (AP1, "wn1"),
    ]


def test_what_is_not_done_is_told_once_an_hour() -> None:
    news = NodeNews()
    spared = News(about=("wn1", "spared"), text="node wn1 is suspected", acted=False)
    for at in (NOW, NOW + 1, NOW + SAY_AGAIN_S - 1):
        news.tell(AP1, spared, at=at)
    assert news.last == 1
    news.tell("ap2@fake", spared, at=NOW)
    news.tell(AP1, spared, at=NOW + SAY_AGAIN_S)
    assert [line.number for line in news.after(0, {AP1})] == [1, 3]


def test_a_wait_hears_only_of_its_schedds_and_only_what_came_after_its_start() -> None:
    news = NodeNews()
    news.tell(AP1, act("old"), at=NOW)
    start = news.last
    news.tell("ap2@fake", act("far", schedd="ap2@fake"), at=NOW)
    news.tell(AP1, act("new"), at=NOW)
    assert [line.about for line in news.after(start, {AP1})] == [(AP1, "new")]


def test_news_are_bounded_and_a_wait_misses_none_that_are_kept() -> None:
    news = NodeNews()
    for number in range(3 * MOST_NEWS):
        news.tell(AP1, act(f"wn{number}"), at=NOW)
    assert len(news.after(0, {AP1})) == MOST_NEWS
    assert [line.about[1] for line in news.after(3 * MOST_NEWS - 1, {AP1})] == [f"wn{3 * MOST_NEWS - 1}"]
