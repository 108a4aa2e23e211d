"""Counts of a schedd that gave a cluster's number out again: each tag's jobs count for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from include.batch.pool import Awaited, ClusterCounts
from include.campaign.states import JobStatus
from tests.unit.batch.schedd_of_rows import AP1, ScheddOfRows

if TYPE_CHECKING:
    from collections.abc import Sequence

X, Y = Awaited(5, "x"), Awaited(5, "y")


class Schedd(ScheddOfRows):
    """A schedd's queue as a list of rows too, and what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def _query(
        self, schedd: str, constraint: str, projection: Sequence[str], *, grouped: bool = False
    ) -> list[Any]:
        assert (schedd, grouped) == (AP1, False)
        self.asked.append(constraint)
        return [{name: row[name] for name in projection if name in row} for row in self.queue]


def row(process: int, tag: str | None, status: JobStatus = JobStatus.IDLE) -> dict[str, Any]:
    ad = {"ClusterId": 5, "ProcId": process, "JobStatus": int(status), "EnteredCurrentStatus": 100}
    ran = {"LastRemoteHost": "slot1@wn1", "ExitCode": 1, "ExitBySignal": False}
    return ad | ({} if tag is None else {"ProdsysTag": tag}) | ran


@pytest.fixture
def schedd() -> Schedd:
    return Schedd()


def test_queued_jobs_without_the_tag_do_not_count(schedd: Schedd) -> None:
    schedd.queue = [row(0, "x"), row(0, "y"), row(1, "y", JobStatus.HELD), row(2, None, JobStatus.RUNNING)]
    counts = schedd.counts(AP1, {X: 4, Y: 3}, now=100.0)
    assert counts == {
        X: ClusterCounts(total=4, idle=1, unknown=3),
        Y: ClusterCounts(total=3, idle=1, held=1, unknown=1),
    }
    assert schedd.asked == ["ClusterId == 5"], "one query for both"
    everything = schedd.counts(AP1, {5: 4}, now=100.0)[5]
    assert (everything.running, everything.held) == (1, 1)


def test_history_proves_nothing_about_jobs_of_another_tag(schedd: Schedd) -> None:
    schedd.past = [row(n, "x", JobStatus.COMPLETED) for n in range(2)]
    schedd.queue = [row(n, "y") for n in range(2)]
    for _ in range(2):
        counts = schedd.counts(AP1, {X: 2, Y: 2}, now=100.0)
        assert (counts[X].completed, counts[X].unknown) == (2, 0)
        assert (counts[Y].idle, counts[Y].completed) == (2, 0)
        assert (counts[X].failing_nodes, counts[Y].failing_nodes) == (1, 0)
    schedd.queue = []
    counts = schedd.counts(AP1, {Y: 2}, now=100.0)
    assert counts == {Y: ClusterCounts(total=2, unknown=2)}


def test_jobs_that_linger_after_their_end_are_told_apart_too(schedd: Schedd) -> None:
    schedd.queue = [row(0, "y", JobStatus.COMPLETED), row(1, "y", JobStatus.COMPLETED)]
    counts = schedd.counts(AP1, {X: 2, Y: 2}, now=100.0)
    assert (counts[X].unknown, counts[X].suspects) == (2, ())
    assert (counts[Y].completed, [each.machine for each in counts[Y].suspects]) == (2, ["wn1"])
    assert len(schedd.asked) == 2
