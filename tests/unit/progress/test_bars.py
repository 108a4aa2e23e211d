"""Bars: the parts add up, and what the ledger knows comes before what the queue shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.bookkeeping.overview_records import OpenSubmission, StageCount
from include.campaign.states import SubmissionState
from include.progress.bars import PARTS, Bar, bar_of, total

COUNT = StageCount(
    dag_id="d", tranche="t", run=None, stage="gen", number=0, is_merge=False, subruns=100, accepted=0,
    missing=0, held=0, sent=100, duplicates=0, duplicate_bytes=0, bytes=0, accepted_bytes=0, events=0,
)  # fmt: skip
OPEN = OpenSubmission(
    tag="x", dag_id="d", tranche="t", run=1, stage="gen", state=SubmissionState.SUBMITTED, jobs_open=100,
    rest=100, is_merge=False, at=1.0, idle=0, running=0, held=0, completed=0, removed=0, unknown=0,
)  # fmt: skip


def test_the_queue_is_shown_until_the_check_has_spoken() -> None:
    seen = OPEN._replace(idle=30, running=50, held=5, completed=15)
    assert bar_of(COUNT, [seen]) == Bar(running=50, idle=30, held=5, unknown=15)


def test_what_is_not_sent_waits_and_so_does_what_has_no_room() -> None:
    assert bar_of(COUNT._replace(sent=40), []) == Bar(unknown=40, waiting=60)
    asked = OPEN._replace(state=SubmissionState.INTENDED)
    assert bar_of(COUNT, [asked]) == Bar(waiting=100)


def test_accepted_outputs_count_before_a_stale_queue() -> None:
    done = COUNT._replace(accepted=95, missing=2)
    assert bar_of(done, [OPEN._replace(running=50)]) == Bar(accepted=95, failed=2, running=3)


def test_a_merges_job_stands_for_what_it_merges() -> None:
    merge = COUNT._replace(is_merge=True)
    seen = OPEN._replace(is_merge=True, jobs_open=4, running=3, idle=1)
    assert bar_of(merge, [seen]) == Bar(running=75, idle=25)


def test_held_is_not_counted_twice() -> None:
    assert bar_of(COUNT._replace(held=7), [OPEN._replace(held=5)]).held == 7


@given(
    numbers=st.tuples(*[st.integers(0, 120)] * 4),
    seen=st.lists(st.tuples(*[st.integers(0, 80)] * 3), max_size=3),
    merge=st.booleans(),
)
def test_the_parts_are_all_of_the_subruns(
    numbers: tuple[int, ...], seen: list[tuple[int, ...]], merge: bool
) -> None:
    accepted = min(numbers[0], 100)
    missing = min(numbers[1], 100 - accepted)
    count = COUNT._replace(
        accepted=accepted, missing=missing, held=numbers[2], sent=min(numbers[3], 100), is_merge=merge
    )
    submissions = [
        OPEN._replace(idle=idle, running=running, held=held, is_merge=merge, jobs_open=idle + running + held)
        for idle, running, held in seen
    ]
    bar = bar_of(count, submissions)
    assert bar.subruns == 100
    assert all(getattr(bar, part) >= 0 for part in PARTS)
    assert (bar.accepted, bar.failed) == (accepted, missing)


def test_sums_and_percent() -> None:
    both = total([Bar(accepted=1, running=1), Bar(waiting=2)])
    assert (both.subruns, both.percent, both.in_queue, both.to_end) == (4, 25.0, 1, 3)
    assert Bar().percent == pytest.approx(0.0)
