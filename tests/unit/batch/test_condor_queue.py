"""What a poll asks of a queue, and what it counts where two answers are of two moments."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import classad2
import pytest

from include.batch import condor
from include.batch.condor_counts import Ended, count_cluster
from include.batch.condor_queue import FEW_JOBS, FRESH_PROJECTION, QueueRows, ask_queue
from include.batch.pool import Awaited, ClusterCounts
from include.campaign.states import JobStatus
from tests.unit.batch.schedd_of_rows import AP1, ScheddOfRows

if TYPE_CHECKING:
    from collections.abc import Sequence

IDLE, RUNNING, HELD = JobStatus.IDLE, JobStatus.RUNNING, JobStatus.HELD
COMPLETED, REMOVED = JobStatus.COMPLETED, JobStatus.REMOVED
FIVE, SIX = Awaited(5, "x"), Awaited(6, "y")
MANY = FEW_JOBS + 1


class Queue:
    """A queue of ads. Each query is noted; `then` has what happens after the first: place → attributes."""

    def __init__(self, *ads: dict[str, Any], then: dict[int, dict[str, Any]] | None = None) -> None:
        self.ads = [classad2.ClassAd(ad) for ad in ads]
        self.asked: list[tuple[tuple[str, ...], bool]] = []
        self.then = then or {}

    def ask(self, constraint: str, projection: Sequence[str], *, grouped: bool = False) -> list[Any]:
        expression = classad2.ExprTree(constraint)
        found = [ad for ad in self.ads if expression.eval(ad) is True]
        rows = [{name: ad[name] for name in projection if name in ad} for ad in found]
        self.asked.append((tuple(projection), grouped))
        for place, values in self.then.items():
            self.ads[place].update(values)
        self.then = {}
        if not grouped:
            return rows
        groups = Counter(tuple(sorted(row.items())) for row in rows)
        alike = [dict(values) | {"JobCount": n} for values, n in groups.items()]
        # The schedd tests these once more.
        return [row for row in alike if expression.eval(classad2.ClassAd(row)) is True]


class Schedd(ScheddOfRows):
    """A schedd with that queue."""

    def __init__(self, queue: Queue) -> None:
        super().__init__()
        self.queue = queue

    def _query(
        self, schedd: str, constraint: str, projection: Sequence[str], *, grouped: bool = False
    ) -> list[Any]:
        assert schedd == AP1
        return self.queue.ask(constraint, projection, grouped=grouped)


@pytest.fixture
def in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have even few jobs asked for in two queries."""
    monkeypatch.setattr("include.batch.condor_queue.FEW_JOBS", 0)
    monkeypatch.setattr(condor, "FEW_JOBS", 0)


def ad(
    process: int, status: JobStatus = IDLE, *, cluster: int = 5, tag: str = "x", starts: int | None = None
) -> dict[str, Any]:
    found = {"ClusterId": cluster, "ProcId": process, "ProdsysTag": tag, "JobStatus": int(status)}
    return found | ({} if starts is None else {"NumJobStarts": starts})


def counts(total: int, queued: QueueRows, ended: Ended | None = None) -> ClusterCounts:
    return count_cluster(total, queued, ended or Ended(), 0.0, steady=0.0)


def ended_so(*states: JobStatus) -> Ended:
    found = Ended()
    for process, status in enumerate(states):
        assert found.note(process, status) is status
    return found


def test_many_that_wait_are_a_number_and_the_others_a_row_each() -> None:
    queue = Queue(
        *(ad(process) for process in range(3)),
        ad(3, starts=0),
        ad(4, starts=1),
        ad(5, RUNNING, starts=1),
        ad(6, HELD),
        ad(7) | {"NumShadowStarts": 1},
        ad(8) | {"NumJobStarts": "many"},
        *(ad(process, cluster=6, tag="y") for process in range(2)),
        ad(2, cluster=6, tag="of somebody else"),
    )
    found = ask_queue([FIVE, SIX], MANY, queue.ask)
    assert [(grouped, projection == FRESH_PROJECTION) for projection, grouped in queue.asked] == [
        (True, True),
        (False, False),
    ]
    assert (found[FIVE].fresh, [row["ProcId"] for row in found[FIVE].rows]) == (4, [4, 5, 6, 7, 8])
    assert (found[SIX].fresh, found[SIX].rows, found[SIX].jobs) == (2, [], 2)
    assert counts(9, found[FIVE]) == ClusterCounts(total=9, idle=7, running=1, held=1)
    assert counts(3, found[SIX]) == ClusterCounts(total=3, idle=2, unknown=1)


def test_few_are_asked_for_one_by_one() -> None:
    queue = Queue(*(ad(process) for process in range(3)))
    found = ask_queue([FIVE], FEW_JOBS, queue.ask)
    assert (len(queue.asked), found[FIVE].fresh, len(found[FIVE].rows)) == (1, 0, 3)
    assert counts(3, found[FIVE]) == ClusterCounts(total=3, idle=3)


def test_a_job_that_starts_between_the_queries_counts_once_and_no_end_is_forgotten() -> None:
    started = {"JobStatus": int(RUNNING), "NumJobStarts": 1}
    queue = Queue(ad(2), ad(3), then={1: started})
    found = ask_queue([FIVE], MANY, queue.ask)[FIVE]
    assert (found.fresh, len(found.rows)) == (2, 1)
    ended = ended_so(COMPLETED, REMOVED)
    assert counts(4, found, ended) == ClusterCounts(total=4, idle=1, running=1, completed=1, removed=1)


def test_a_job_that_ends_between_the_queries_is_unknown_to_neither() -> None:
    queue = Queue(ad(0), ad(1), then={1: {"JobStatus": int(REMOVED)}})
    found = ask_queue([FIVE], MANY, queue.ask)[FIVE]
    assert counts(2, found) == ClusterCounts(total=2, idle=1, removed=1)


@pytest.mark.usefixtures("in_two")
@pytest.mark.parametrize("before", [HELD, RUNNING])
def test_one_that_is_put_back_between_the_queries_ends_no_wait(before: JobStatus) -> None:
    """Held before its first start and released, or its shadow died before it told of a start."""
    schedd = Schedd(Queue(ad(0, before), then={0: {"JobStatus": int(IDLE)}}))
    found = schedd.counts(AP1, {FIVE: 1}, now=0.0)[FIVE]
    assert found == ClusterCounts(total=1, idle=1)
    assert [grouped for _, grouped in schedd.queue.asked] == [True, False, True]


@pytest.mark.usefixtures("in_two")
def test_where_some_wait_or_run_two_queries_do() -> None:
    schedd = Schedd(Queue(ad(0), ad(0, RUNNING, cluster=6, tag="y")))
    found = schedd.counts(AP1, {FIVE: 1, SIX: 1}, now=0.0)
    assert found == {FIVE: ClusterCounts(total=1, idle=1), SIX: ClusterCounts(total=1, running=1)}
    assert len(schedd.queue.asked) == 2


@pytest.mark.usefixtures("in_two")
def test_what_a_rolled_back_queue_has_again_has_not_ended() -> None:
    schedd = Schedd(Queue())
    schedd.past = [ad(process, COMPLETED) for process in range(3)]
    assert schedd.counts(AP1, {FIVE: 3}, now=0.0)[FIVE].completed == 3
    schedd.queue = Queue(ad(0), ad(1))
    for _ in range(2):
        assert schedd.counts(AP1, {FIVE: 3}, now=0.0)[FIVE] == ClusterCounts(total=3, idle=2, completed=1)


def test_what_history_said_first_stays() -> None:
    ended = ended_so(COMPLETED, COMPLETED)
    assert ended.note(1, REMOVED) is COMPLETED
    assert counts(2, QueueRows(), ended) == ClusterCounts(total=2, completed=2)
    assert counts(2, QueueRows(rows=[ad(1, RUNNING)]), ended) == ClusterCounts(
        total=2, running=1, completed=1
    )


def test_more_than_were_submitted_are_all_told() -> None:
    rows = [ad(process, HELD) for process in range(5)]
    news = QueueRows(rows=rows, fresh=5, fresh_is_news=True)
    assert counts(3, news) == ClusterCounts(total=10, idle=5, held=5)
