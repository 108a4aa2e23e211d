"""What a running cluster's jobs are told to keep off, with a pool that counts how often it is opened."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FakePool
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.records import Exclusion
from include.campaign.states import ActionKind, JobStatus
from include.errors import ScheddUnreachable
from include.recovery.black_holes import LOOK_EVERY_S, Queued, QueueKeeper, exclude_while_running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.recovery.black_holes import News

AP1 = "ap1@fake"
NOW = 1_000_000.0
HOUR = 3600.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        opened.upgrade()
        yield opened


class Queue:
    """A schedd with clusters, and the keeper that looks after them."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.ledger, self.pool = ledger, FakePool(str(folder / "pool.json"))
        self.keeper = QueueKeeper(schedd=AP1)
        self.opened = 0
        self.clusters: dict[int, Queued] = {}

    def submit(self, jobs: int, *, at: float, own: tuple[str, ...] = (), sites: tuple[str, ...] = ()) -> int:
        """Submit with what the ledger excludes at that time, as the operators do."""
        active = self.ledger.exclusions(at)
        cluster = self.pool.submit(
            AP1,
            f"tag{len(self.clusters)}",
            jobs,
            machines={*own, *(each.name for each in active if each.kind == "node")},
            sites={*sites, *(each.name for each in active if each.kind == "site")},
        )
        self.clusters[cluster] = Queued(machines=own, sites=sites, intended_at=at, waiting=jobs)
        return cluster

    def look(self, now: float) -> tuple[News, ...]:
        counts = self.pool.counts(AP1, dict.fromkeys(self.clusters, 4), now=now)
        clusters = {
            cluster: Queued(
                machines=queued.machines,
                sites=queued.sites,
                intended_at=queued.intended_at,
                waiting=counts[cluster].idle + counts[cluster].held,
            )
            for cluster, queued in self.clusters.items()
        }
        return self.keeper.look(self.ledger, self.open_pool, clusters, now=now)

    @contextmanager
    def open_pool(self) -> Iterator[FakePool]:
        self.opened += 1
        yield self.pool

    def lists(self, cluster: int) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
        return set(self.pool.excluded(AP1, cluster).values())

    def edits(self) -> int:
        return sum(call.startswith("exclude") for call in self.pool.calls())


@pytest.fixture
def queue(tmp_path: Path, ledger: Ledger) -> Queue:
    return Queue(tmp_path, ledger)


def exclude(ledger: Ledger, name: str, *, at: float, kind: str = "node", hours: float = 24) -> None:
    ledger.exclude(
        Exclusion(kind=kind, name=name, since=at, until=at + hours * HOUR, by="alice", reason="broken")
    )


def test_a_recovery_keeps_its_own_lists_and_each_pair_of_lists_is_one_edit(
    queue: Queue, ledger: Ledger
) -> None:
    plain, other = queue.submit(4, at=NOW), queue.submit(2, at=NOW)
    recovery = queue.submit(3, at=NOW, own=("wn7",), sites=("SITE",))
    exclude(ledger, "wn2", at=NOW + 100)
    news = queue.look(NOW + 110)
    assert queue.lists(plain) == queue.lists(other) == {(("wn2",), ())}
    assert queue.lists(recovery) == {(("wn2", "wn7"), ("SITE",))}
    assert [each.text for each in news] == [
        "ap1@fake: 6 waiting jobs are kept off wn2",
        "ap1@fake: 3 waiting jobs are kept off wn2, wn7, SITE",
    ]
    assert (queue.edits(), queue.opened) == (2, 1)


def test_lift_and_expiry_reach_waiting_jobs_and_leave_the_recoverys_own(queue: Queue, ledger: Ledger) -> None:
    cluster = queue.submit(4, at=NOW)
    recovery = queue.submit(4, at=NOW, own=("wn7",))
    exclude(ledger, "wn2", at=NOW + 100)
    exclude(ledger, "SITE", at=NOW + 100, kind="site", hours=1)
    queue.look(NOW + 110)
    assert queue.lists(cluster) == {(("wn2",), ("SITE",))}
    ledger.lift("node", "wn2", "alice", NOW + 200)
    queue.look(NOW + 210)
    assert (queue.lists(cluster), queue.lists(recovery)) == ({((), ("SITE",))}, {(("wn7",), ("SITE",))})
    news = queue.look(NOW + 200 + HOUR)
    assert (queue.lists(cluster), queue.lists(recovery)) == ({((), ())}, {(("wn7",), ())})
    assert news[0].text == "ap1@fake: 4 waiting jobs are kept off no node any more"


def test_no_pool_is_opened_while_nothing_changes(queue: Queue, ledger: Ledger) -> None:
    exclude(ledger, "wn1", at=NOW - HOUR)
    first = queue.submit(4, at=NOW)
    for second in range(10):
        assert queue.look(NOW + second) == ()
    queue.submit(4, at=NOW + 10, own=("wn7",))
    assert queue.look(NOW + 10) == ()
    assert (queue.opened, queue.lists(first)) == (0, {(("wn1",), ())})
    exclude(ledger, "wn2", at=NOW + 20)
    for second in range(20, 30):
        queue.look(NOW + second)
    assert (queue.opened, queue.edits()) == (1, 2)


def test_a_cluster_that_was_sent_before_a_change_gets_it_when_it_is_seen_first(
    queue: Queue, ledger: Ledger
) -> None:
    cluster = queue.submit(4, at=NOW)
    exclude(ledger, "wn2", at=NOW + 100)
    ledger.lift("node", "wn2", "alice", NOW + 200)
    exclude(ledger, "wn3", at=NOW + 150)
    queue.look(NOW + 300)
    assert queue.lists(cluster) == {(("wn3",), ())}


def test_jobs_that_come_back_to_the_queue_are_told_too(queue: Queue, ledger: Ledger) -> None:
    cluster = queue.submit(4, at=NOW)
    queue.pool.set_status(AP1, cluster, JobStatus.RUNNING, processes=[0, 1])
    exclude(ledger, "wn2", at=NOW + 100)
    queue.look(NOW + 110)
    assert queue.pool.excluded(AP1, cluster)[0] == ((), ())
    queue.pool.set_status(AP1, cluster, JobStatus.IDLE, processes=[0])
    assert queue.look(NOW + 120) == (), "it was told already"
    assert queue.pool.excluded(AP1, cluster)[0] == (("wn2",), ())
    assert queue.look(NOW + 130) == ()
    assert queue.opened == 2


def test_no_pool_is_opened_for_a_cluster_in_which_nothing_waits(queue: Queue, ledger: Ledger) -> None:
    cluster = queue.submit(4, at=NOW)
    queue.pool.set_status(AP1, cluster, JobStatus.RUNNING)
    exclude(ledger, "wn2", at=NOW + 100)
    queue.look(NOW + 110)
    assert queue.opened == 0
    queue.pool.set_status(AP1, cluster, JobStatus.IDLE, processes=[3])
    queue.look(NOW + 120)
    assert queue.pool.excluded(AP1, cluster)[3] == (("wn2",), ())


def test_what_failed_is_tried_again(queue: Queue, ledger: Ledger) -> None:
    cluster = queue.submit(4, at=NOW)
    exclude(ledger, "wn2", at=NOW + 100)
    queue.look(NOW + 110)
    exclude(ledger, "wn3", at=NOW + 120)
    known = dict(queue.clusters)
    queue.pool.set_schedd(AP1, up=False)
    with pytest.raises(ScheddUnreachable):
        queue.keeper.look(ledger, queue.open_pool, known, now=NOW + 130)
    assert not queue.keeper.due(NOW + 131)
    assert queue.keeper.due(NOW + 130 + LOOK_EVERY_S)
    assert queue.keeper.due(NOW - 86_400), "the clock was set back"
    queue.pool.set_schedd(AP1, up=True)
    queue.look(NOW + 140)
    assert queue.lists(cluster) == {(("wn2", "wn3"), ())}


def test_a_node_that_eats_a_running_cluster_is_excluded_once(queue: Queue, ledger: Ledger) -> None:
    now = time.time()
    cluster = queue.pool.submit(AP1, "t", 20)
    for process in range(12):
        host = f"slot1@wn{1 + process % 3}"
        queue.pool.set_status(
            AP1, cluster, JobStatus.RUNNING, processes=[process], since=now - 600, host=host
        )
    eaten = [12, 13, 14, 15]
    queue.pool.set_status(
        AP1, cluster, JobStatus.COMPLETED, processes=eaten, exit_code=1, host="slot1@wn9", wall_s=2.0
    )
    polled = queue.pool.counts(AP1, {cluster: 20}, now=now)
    (news,) = exclude_while_running(ledger, polled, now=now)
    assert news.acted
    assert news.text.startswith("node wn9 is excluded until ")
    assert [each.name for each in ledger.exclusions(now)] == ["wn9"]
    assert exclude_while_running(ledger, polled, now=now + 1) == ()
    (action,) = ledger.actions("", "")
    assert (action.kind, action.detail.partition(":")[0]) == (ActionKind.EXCLUDE, "node wn9")


def test_a_poll_without_suspects_asks_the_ledger_for_nothing(queue: Queue, ledger: Ledger) -> None:
    cluster = queue.submit(3, at=NOW)
    polled = queue.pool.counts(AP1, {cluster: 3}, now=NOW)
    ledger.close()
    assert exclude_while_running(ledger, polled, now=NOW) == ()
