"""Room that no job takes any more comes back: after a removal, and where nobody waits for what has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FakePool
from include.bookkeeping.admission import DeploymentLimits, Limit
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.ledger_admission import IDLE_S, AdmissionRequest
from include.campaign.states import ActionKind, JobStatus, SubmissionState
from include.data.storage import PosixStorage
from include.recovery.orphans import AirflowRun, remove_cluster
from include.recovery.truth import LOOK_BACK_S, Topic, compare
from tests import ledger_records as records
from tests.ledger_records import NOW, TRANCHE
from tests.unit.recovery.records import ENDED, WAITING, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.recovery.truth import Comparison

AP1, AP2 = "ap1@fake", "ap2@fake"
LIMIT_S = 900.0
LATER = NOW + 10_000
GONE = AirflowRun(state=None)


@pytest.fixture
def pool(tmp_path: Path) -> FakePool:
    return FakePool(str(tmp_path / "pool.json"), (AP1, AP2))


@pytest.fixture
def ledger(tmp_path: Path, pool: FakePool) -> Iterator[Ledger]:
    """Two slices; the first one's gen was admitted and sent as two jobs on each schedd."""
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as opened:
        opened.upgrade()
        opened.reserve(records.campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=2, now=NOW)
        assert ask(opened, 1000, now=NOW) is None
        tag = records.tag_of("gen")
        for schedd, first in ((AP1, 0), (AP2, 2)):
            pool.submit(schedd, tag, 2, first_unit=first)
        opened.record_submitted(
            tag, clusters=[(AP1, 1, 2), (AP2, 1, 2)], message="", now=NOW + 1, first_units=[0, 2]
        )
        opened.record_progress([records.sample(tag, NOW + 60, running=4)])
        yield opened


def ask(ledger: Ledger, run: int, *, now: float) -> object:
    """Ask for a slice's gen where one slice may be in flight."""
    tag = records.intend(ledger, "gen", run=run, now=now)
    request = AdmissionRequest(tag=tag, stage_number=0, slices_limit=1)
    return ledger.ask(request, limits=DeploymentLimits(), now=now)


def jobs(ledger: Ledger) -> int:
    return ledger.jobs_in_flight(now=NOW).get("demo.z", 0)


def look(
    ledger: Ledger, pool: FakePool, runs: Runs | None, *, now: float = LATER, limit_s: float = LIMIT_S
) -> Comparison:
    return compare(ledger, pool, PosixStorage(), now=now, limit_s=limit_s, runs=runs)


def remove(ledger: Ledger, pool: FakePool, schedd: str, *, number: int = 1) -> str:
    submission = ledger.submission(records.tag_of("gen"))
    assert submission is not None
    (listed,) = [each for each in pool.tagged(schedd) if each.id.cluster == number]
    return remove_cluster(
        ledger, pool, listed.id, submission, tag=submission.tag, why="it is over", who="ana", now=NOW + 90
    )


def end_jobs(pool: FakePool) -> None:
    """End all jobs behind the ledger's back, as jobsub_rm does."""
    for schedd in (AP1, AP2):
        pool.set_status(schedd, 1, JobStatus.REMOVED)


# A removal


def test_a_removal_that_empties_all_clusters_of_a_tag_gives_its_room_back(
    ledger: Ledger, pool: FakePool
) -> None:
    assert remove(ledger, pool, AP1).endswith("was removed from the queue: it is over")
    assert jobs(ledger) == 4, "the other cluster's are in the queue"
    assert remove(ledger, pool, AP2).endswith("it is over; 4 jobs count as being in flight no longer")
    assert jobs(ledger) == 0
    submission = ledger.submission(records.tag_of("gen"))
    assert submission is not None
    assert submission.state is SubmissionState.SUBMITTED, "what became of the subruns is for the check to say"


def test_a_removal_proves_nothing_while_another_schedd_is_silent(ledger: Ledger, pool: FakePool) -> None:
    pool.set_schedd(AP2, up=False)
    remove(ledger, pool, AP1)
    assert jobs(ledger) == 4


def test_the_removal_of_a_double_leaves_the_room_of_the_real_one(ledger: Ledger, pool: FakePool) -> None:
    pool.submit(AP1, records.tag_of("gen"), 2)
    remove(ledger, pool, AP1, number=2)
    assert jobs(ledger) == 4


# The comparison


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (GONE, "its dag_run is not in Airflow any more"),
        (AirflowRun(state="failed", tasks=ENDED), "its dag_run has ended (failed)"),
        (AirflowRun(state="running", tasks=ENDED), "the tasks of gen for run 1000 have ended"),
    ],
)
def test_room_that_nobody_waits_for_is_given_back(
    ledger: Ledger, pool: FakePool, run: AirflowRun, words: str
) -> None:
    end_jobs(pool)
    runs = Runs(run)
    (line,) = look(ledger, pool, runs).given_back
    assert line.startswith(f"{records.tag_of('gen')}: 4 jobs counted as being in flight, the queues have 0, ")
    assert line.endswith(f"and {words}: 4 count no longer")
    assert (jobs(ledger), runs.asked) == (0, [f"demo.z r {TRANCHE}"])
    assert look(ledger, pool, runs).given_back == (), "said once"


def test_what_is_in_the_queue_goes_on_to_count(ledger: Ledger, pool: FakePool) -> None:
    pool.set_status(AP1, 1, JobStatus.COMPLETED)
    pool.set_status(AP2, 1, JobStatus.HELD, processes=[1])
    look(ledger, pool, Runs(GONE))
    assert jobs(ledger) == 2
    pool.set_status(AP2, 1, JobStatus.COMPLETED, processes=[0])
    look(ledger, pool, Runs(GONE))
    assert jobs(ledger) == 1
    pool.set_status(AP2, 1, JobStatus.RUNNING, processes=[0])
    assert look(ledger, pool, Runs(GONE)).given_back == ()
    assert jobs(ledger) == 1, "room is given back here, not taken"


def test_unknown_jobs_that_nobody_waits_for_count_no_longer(ledger: Ledger, pool: FakePool) -> None:
    end_jobs(pool)
    ledger.record_progress([records.sample(records.tag_of("gen"), NOW + 120, unknown=4)])
    assert jobs(ledger) == 4
    look(ledger, pool, Runs(GONE))
    assert jobs(ledger) == 0


@pytest.mark.parametrize(
    "run",
    [
        AirflowRun(state="running", tasks=WAITING),
        AirflowRun(state="failed", tasks=WAITING),
        AirflowRun(state="running", tasks={**ENDED, ("slice.gen.recover", 0): None}),
        AirflowRun(state="running", tasks={}),
        None,
    ],
)
def test_nothing_is_touched_where_something_may_wait(
    ledger: Ledger, pool: FakePool, run: AirflowRun | None
) -> None:
    end_jobs(pool)
    comparison = look(ledger, pool, Runs(run))
    assert (comparison.given_back, jobs(ledger)) == ((), 4)
    assert [each.topic for each in comparison.disagreements] == [Topic.COUNTS]
    assert look(ledger, pool, None).given_back == (), "nor where Airflow is not asked"
    assert jobs(ledger) == 4


def test_a_silent_schedd_is_not_an_empty_one(ledger: Ledger, pool: FakePool) -> None:
    end_jobs(pool)
    pool.set_schedd(AP2, up=False)
    comparison = look(ledger, pool, Runs(GONE))
    assert (comparison.given_back, jobs(ledger)) == ((), 4)
    assert [each.topic for each in comparison.disagreements] == [Topic.SILENT]


def test_what_was_polled_within_the_limit_is_left_alone(ledger: Ledger, pool: FakePool) -> None:
    end_jobs(pool)
    assert look(ledger, pool, Runs(GONE), now=NOW + 60 + LIMIT_S).given_back == ()
    assert look(ledger, pool, Runs(GONE), now=NOW + 200, limit_s=0.0).given_back == (), "whatever the limit"
    assert jobs(ledger) == 4
    assert len(look(ledger, pool, Runs(GONE), now=NOW + 61 + LIMIT_S).given_back) == 1


def test_a_poll_that_comes_in_between_counts(ledger: Ledger, pool: FakePool) -> None:
    end_jobs(pool)

    class Meanwhile(Runs):
        """The wait is cleared while Airflow is asked."""

        def dag_run(self, dag_id: str, run_id: str, *, tranche: str) -> AirflowRun:
            ledger.record_progress([records.sample(records.tag_of("gen"), LATER, running=3, removed=1)])
            return super().dag_run(dag_id, run_id, tranche=tranche)

    assert look(ledger, pool, Meanwhile(GONE)).given_back == ()
    assert jobs(ledger) == 3


def test_what_was_given_up_needs_no_answer_of_airflow_but_minds_one(ledger: Ledger, pool: FakePool) -> None:
    end_jobs(pool)
    tag = records.tag_of("gen")
    ledger.record_action(records.action(ActionKind.REMOVE, NOW + 70, tag=tag, jobs=(f"1@{AP1}",)))
    assert look(ledger, pool, Runs(AirflowRun(state="running", tasks=WAITING))).given_back == ()
    assert jobs(ledger) == 4
    comparison = look(ledger, pool, None)
    assert comparison.given_back[0].endswith("and its cluster was removed: 4 count no longer")
    assert (jobs(ledger), comparison.disagreements) == (0, ())


def test_a_submission_older_than_a_week_is_given_back_too(ledger: Ledger, pool: FakePool) -> None:
    end_jobs(pool)
    comparison = look(ledger, pool, Runs(GONE), now=NOW + LOOK_BACK_S + 100)
    assert (comparison.submissions, comparison.disagreements, jobs(ledger)) == (0, (), 0)


def test_the_alarm_goes_on_where_a_wait_can_be_cleared_and_ends_where_none_is(
    ledger: Ledger, pool: FakePool
) -> None:
    pool.set_status(AP1, 1, JobStatus.REMOVED)
    assert [each.topic for each in look(ledger, pool, Runs(GONE)).disagreements] == [Topic.COUNTS]
    end_jobs(pool)
    failed = Runs(AirflowRun(state="failed", tasks=ENDED))
    for _ in range(2):
        assert [each.topic for each in look(ledger, pool, failed).disagreements] == [Topic.COUNTS]
        assert look(ledger, pool, Runs(GONE)).disagreements == ()


def test_the_slices_place_comes_back_an_hour_after_the_last_that_went_on(
    ledger: Ledger, pool: FakePool
) -> None:
    end_jobs(pool)
    later = NOW + 1 + IDLE_S + 1
    assert ask(ledger, 1001, now=later) is not None, "its jobs keep the place"
    look(ledger, pool, Runs(GONE), now=later)
    assert ask(ledger, 1001, now=later) is None
    places = [each.name for each in ledger.holders(Limit.SLICES, "demo.z", now=later)]
    assert places == ["demo.z run 1001"]
