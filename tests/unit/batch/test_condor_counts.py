"""How long a job is held, whatever is done to the schedd's clock."""

from __future__ import annotations

import pytest

from include.batch.condor_counts import Ended, count_cluster
from include.batch.condor_queue import QueueRows
from include.campaign.states import JobStatus

NOON = 1_800_000_000


def ad(process: int, *, since: int, clock: int, status: JobStatus = JobStatus.HELD) -> dict[str, int]:
    return {
        "ClusterId": 1,
        "ProcId": process,
        "JobStatus": int(status),
        "EnteredCurrentStatus": since,
        "ServerTime": clock,
    }


def ages(ended: Ended, *ads: dict[str, int], steady: float) -> tuple[int, int]:
    counts = count_cluster(2, QueueRows(rows=list(ads)), ended, 0.0, steady=steady)
    return counts.held_shortest_s, counts.held_longest_s


@pytest.mark.parametrize("jump", [86_400, -86_400])
def test_a_hold_ages_evenly_while_the_schedds_clock_is_set(jump: int) -> None:
    ended = Ended()
    assert ages(ended, ad(0, since=NOON, clock=NOON + 40), steady=100.0) == (40, 40)
    assert ages(ended, ad(0, since=NOON, clock=NOON + jump + 50), steady=110.0) == (50, 50)
    both = ad(0, since=NOON, clock=NOON + jump + 60), ad(1, since=NOON + jump + 55, clock=NOON + jump + 60)
    assert ages(ended, *both, steady=120.0) == (5, 60)


def test_another_hold_of_the_job_begins_anew() -> None:
    ended = Ended()
    assert ages(ended, ad(0, since=NOON, clock=NOON + 40), steady=100.0) == (40, 40)
    assert ages(ended, ad(0, since=NOON + 41, clock=NOON + 41), steady=101.0) == (0, 0)
    assert ages(ended, ad(0, since=NOON + 41, clock=NOON + 60, status=JobStatus.IDLE), steady=120.0) == (0, 0)
    assert not ended.holds


def test_a_hold_in_the_future_has_no_age() -> None:
    assert ages(Ended(), ad(0, since=NOON + 900, clock=NOON), steady=1.0) == (0, 0)
