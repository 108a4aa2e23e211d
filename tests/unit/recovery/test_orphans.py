"""Which clusters nothing waits for, by what ledger and Airflow say together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FakePool
from include.bookkeeping.ledger import Ledger
from include.campaign.states import ActionKind, JobStatus
from include.errors import PoolError
from include.recovery.orphans import AirflowRun, Why, find_orphans, given_up, remove_cluster
from tests import ledger_records as records
from tests.ledger_records import NOW, TRANCHE
from tests.unit.recovery.records import ENDED, WAITING, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.recovery.orphans import Orphan

SCHEDD = "ap1@fake"


@pytest.fixture
def pool(tmp_path: Path) -> FakePool:
    return FakePool(str(tmp_path / "pool.json"), (SCHEDD,))


@pytest.fixture
def ledger(tmp_path: Path, pool: FakePool) -> Iterator[Ledger]:
    """A slice whose gen was submitted as the pool's cluster 1."""
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as opened:
        opened.upgrade()
        opened.reserve(records.campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
        tag = records.intend(opened, "gen")
        cluster = pool.submit(SCHEDD, tag, 4)
        opened.record_submitted(tag, clusters=[(SCHEDD, cluster, 4)], message="", now=NOW + 1)
        yield opened


def found(ledger: Ledger, pool: FakePool, run: AirflowRun | None) -> list[Orphan]:
    return list(find_orphans(ledger, pool.tagged(SCHEDD), Runs(run)))


def act(kind: ActionKind, at: float) -> None:
    return records.action(kind, at, who="ana")


@pytest.mark.parametrize(
    ("run", "why", "words"),
    [
        (AirflowRun(state=None), Why.GONE, "its dag_run is not in Airflow any more"),
        (AirflowRun(state="failed", tasks=ENDED), Why.ENDED, "its dag_run has ended (failed)"),
        (None, Why.UNCLEAR, "refused"),
        (AirflowRun(state="running", tasks=ENDED), Why.LEFT, "the tasks of gen for run 1000 have ended"),
    ],
)
def test_a_cluster_that_nothing_waits_for_is_found_with_its_reason(
    ledger: Ledger, pool: FakePool, run: AirflowRun | None, why: Why, words: str
) -> None:
    (orphan,) = found(ledger, pool, run)
    assert (orphan.why, orphan.cluster.live) == (why, 4)
    assert words in orphan.reason


@pytest.mark.parametrize(
    "run",
    [
        AirflowRun(state="running", tasks=WAITING),
        AirflowRun(state="running", tasks={**ENDED, ("slice.gen.wait", 0): None}),
        AirflowRun(state="failed", tasks=WAITING),
        AirflowRun(state="running", tasks={}),
        AirflowRun(state="running", tasks=dict.fromkeys(WAITING, "success")),
    ],
)
def test_a_cluster_that_something_may_wait_for_is_no_orphan(
    ledger: Ledger, pool: FakePool, run: AirflowRun
) -> None:
    assert found(ledger, pool, run) == []


def test_a_stage_that_a_person_stopped_is_an_orphan_until_decided_otherwise(
    ledger: Ledger, pool: FakePool
) -> None:
    run = AirflowRun(state="running", tasks=ENDED)
    ledger.record_action(act(ActionKind.STOP, NOW + 5))
    (orphan,) = found(ledger, pool, run)
    assert (orphan.why, orphan.reason) == (Why.STOPPED, "ana stopped gen of run 1000")
    ledger.record_action(act(ActionKind.RECOVER_AGAIN, NOW + 6))
    assert [each.why for each in found(ledger, pool, run)] == [Why.LEFT]


def test_a_second_cluster_with_the_tag_is_named_and_never_removed_by_itself(
    ledger: Ledger, pool: FakePool
) -> None:
    pool.submit(SCHEDD, records.tag_of("gen"), 4)
    orphans = found(ledger, pool, AirflowRun(state="running", tasks=WAITING))
    assert [(each.cluster.id.cluster, each.why) for each in orphans] == [(2, Why.DOUBLE)]
    assert orphans[0].reason == f"the ledger has 1@{SCHEDD} for this tag"
    assert not orphans[0].why.removable


def test_what_was_intended_and_is_in_the_queue_twice_is_double(ledger: Ledger, pool: FakePool) -> None:
    tag = records.intend(ledger, "reco")
    for _ in range(2):
        pool.submit(SCHEDD, tag, 4)
    orphans = found(ledger, pool, AirflowRun(state="running", tasks=WAITING))
    assert [each.why for each in orphans] == [Why.DOUBLE, Why.DOUBLE]
    submitting = {**WAITING, ("slice.reco.submit", 0): "running"}
    assert found(ledger, pool, AirflowRun(state="running", tasks=submitting)) == []


def test_what_was_never_sent_and_is_in_the_queue_is_an_orphan_once_its_task_is_over(
    ledger: Ledger, pool: FakePool
) -> None:
    tag = records.intend(ledger, "reco")
    pool.submit(SCHEDD, tag, 4)
    tasks = {**WAITING, ("slice.reco.submit", 0): "failed"}
    (orphan,) = found(ledger, pool, AirflowRun(state="running", tasks=tasks))
    assert (orphan.why, orphan.cluster.tag) == (Why.NOT_SENT, tag)
    still = {**WAITING, ("slice.reco.submit", 0): "running"}
    assert found(ledger, pool, AirflowRun(state="running", tasks=still)) == []


def test_a_tag_that_the_ledger_does_not_have_is_left_alone(ledger: Ledger, pool: FakePool) -> None:
    pool.submit(SCHEDD, "other.campaign/t/000001/gen/recovery-0", 1)
    orphans = found(ledger, pool, AirflowRun(state="running", tasks=WAITING))
    assert [(each.why, each.why.removable) for each in orphans] == [(Why.UNKNOWN_TAG, False)]


def test_jobs_that_have_ended_are_no_orphans(ledger: Ledger, pool: FakePool) -> None:
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED, processes=[0, 1, 2])
    pool.set_status(SCHEDD, 1, JobStatus.HELD, processes=[3])
    (orphan,) = found(ledger, pool, AirflowRun(state=None))
    assert (orphan.cluster.held, orphan.cluster.live) == (1, 1)
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED)
    assert found(ledger, pool, AirflowRun(state=None)) == []


def test_airflow_is_asked_once_for_each_dag_run_and_by_its_own_id(ledger: Ledger, pool: FakePool) -> None:
    tag = records.intend(ledger, "reco")
    pool.submit(SCHEDD, tag, 4)
    runs = Runs(AirflowRun(state=None))
    assert len(find_orphans(ledger, pool.tagged(SCHEDD), runs)) == 2
    assert runs.asked == [f"demo.z r {TRANCHE}"]


def test_a_removal_is_recorded_before_it_is_done_and_not_where_nothing_can_be_done(
    ledger: Ledger, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (orphan,) = found(ledger, pool, AirflowRun(state=None))
    pool.set_schedd(SCHEDD, up=False)
    arguments = {"tag": orphan.cluster.tag, "why": orphan.reason, "who": "ana", "now": NOW + 9}
    with pytest.raises(PoolError, match=SCHEDD):
        remove_cluster(ledger, pool, orphan.cluster.id, orphan.facts, **arguments)
    assert ledger.actions("demo.z", TRANCHE) == [], "the jobs run on, and are not given up"

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    pool.set_schedd(SCHEDD, up=True)
    with monkeypatch.context() as patch:
        patch.setattr(pool, "remove", dies)
        with pytest.raises(KeyboardInterrupt):
            remove_cluster(ledger, pool, orphan.cluster.id, orphan.facts, **arguments)
    (action,) = ledger.actions("demo.z", TRANCHE)
    assert (action.kind, action.who, action.jobs) == (ActionKind.REMOVE, "ana", (f"1@{SCHEDD}",))
    assert given_up([action], [orphan.facts]) == {orphan.cluster.tag}
    remove_cluster(ledger, pool, orphan.cluster.id, orphan.facts, **arguments)
    assert pool.tagged(SCHEDD) == ()
    assert len(ledger.actions("demo.z", TRANCHE)) == 1, "the same act again is the same row"


def test_a_cluster_number_that_was_given_out_again_is_not_removed(ledger: Ledger, pool: FakePool) -> None:
    (orphan,) = found(ledger, pool, AirflowRun(state=None))
    pool.lose_queue(SCHEDD)
    assert pool.submit(SCHEDD, "demo.z/other/001000/gen/recovery-0", 4) == orphan.cluster.id.cluster
    told = remove_cluster(
        ledger, pool, orphan.cluster.id, orphan.facts, tag=orphan.cluster.tag, why="it is", who="ana", now=NOW
    )
    assert "not in the queue: nothing was removed" in told
    assert pool.tagged(SCHEDD)[0].live == 4
