"""Merge groups: contiguous, in order, nothing lost, whatever the arrival order."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.bookkeeping.records import OutputRecord
from include.campaign.states import OutputState
from include.errors import LedgerError
from include.merge.planner import plan_groups

RUN = 1000


def record(first: int, last: int | None = None, *, size: int = 10) -> OutputRecord:
    """Return an accepted output of some subruns."""
    return OutputRecord(
        execution=f"1.{first}.1-00000000",
        stage="reco",
        name="default",
        run=RUN,
        first_subrun=first,
        last_subrun=first if last is None else last,
        path=f"/out/{first}.root",
        size=size,
        sha256="0" * 64,
        adler32="0" * 8,
        events=1,
        state=OutputState.ACCEPTED,
    )


def spans(outputs: list[OutputRecord], *, target: int, last: int = 10_000) -> list[tuple[int, int]]:
    groups = plan_groups(outputs, expected_first=0, expected_last=last, target_bytes=target)
    return [(group.first_subrun, group.last_subrun) for group in groups]


def test_target_closes_a_group_before_it_is_exceeded():
    assert spans([record(n) for n in range(5)], target=20) == [(0, 1), (2, 3), (4, 4)]
    assert spans([record(n) for n in range(5)], target=29) == [(0, 1), (2, 3), (4, 4)]
    assert spans([record(n) for n in range(5)], target=50) == [(0, 4)]


def test_one_subrun_larger_than_the_target_is_alone():
    assert spans([record(0), record(1, size=99), record(2)], target=20) == [(0, 0), (1, 1), (2, 2)]


def test_a_hole_ends_a_group():
    assert spans([record(n) for n in (0, 1, 3, 4)], target=1000) == [(0, 1), (3, 4)]


def test_files_of_several_subruns_are_not_split():
    assert spans([record(0, 3), record(4, 4), record(5, 9)], target=20) == [(0, 4), (5, 9)]


def test_nothing_to_merge():
    assert spans([], target=1) == []


def test_group_has_paths_in_order_and_bytes():
    (group,) = plan_groups([record(1), record(0)], expected_first=0, expected_last=1, target_bytes=99)
    assert (group.process, group.inputs, group.bytes) == (0, ("/out/0.root", "/out/1.root"), 20)


@pytest.mark.parametrize(
    ("outputs", "target", "said"),
    [
        ([record(0), replace(record(0), execution="2.0.1-0", path="/b")], 9, "share subruns: only one of"),
        ([record(0, 3), record(3)], 9, "run 1000 subruns 0..3 and run 1000 subruns 3..3 share"),
        ([record(0), replace(record(1), run=1001)], 9, "cannot merge reco.default of run 1000 with"),
        ([record(0), replace(record(1), stage="gen")], 9, "plan each by itself"),
        ([record(0), replace(record(1), name="hits")], 9, "plan each by itself"),
        ([record(8)], 9, "its slice has subruns 0..7: /out/8.root"),
        ([replace(record(5), last_subrun=4)], 9, "its slice has subruns 0..7"),
        ([replace(record(0), state=OutputState.DUPLICATE)], 9, "is duplicate, not accepted"),
        ([record(0)], 0, "target size is 0 bytes"),
        ([record(0, size=-1)], 9, "a size of -1 bytes"),
    ],
)
def test_contradictions_are_refused(outputs, target, said):
    with pytest.raises(LedgerError, match=said):
        spans(outputs, target=target, last=7)


@st.composite
def arrivals(draw):
    """Return outputs with holes, of one or several subruns each, in order, and the same shuffled."""
    outputs, subrun = [], 0
    for hole, length, size in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 60)), max_size=40)
    ):
        subrun += hole
        outputs.append(record(subrun, subrun + length - 1, size=size))
        subrun += length
    return outputs, draw(st.permutations(outputs))


@given(arrivals(), st.integers(1, 200))
def test_any_arrival_order_gives_the_same_sound_groups(both, target):
    ordered, shuffled = both
    groups = plan_groups(shuffled, expected_first=0, expected_last=10_000, target_bytes=target)
    assert groups == plan_groups(ordered, expected_first=0, expected_last=10_000, target_bytes=target)
    by_path = {output.path: output for output in ordered}
    # Nothing lost, nothing twice, all in order.
    assert [path for group in groups for path in group.inputs] == [output.path for output in ordered]
    assert [group.process for group in groups] == list(range(len(groups)))
    for group in groups:
        members = [by_path[path] for path in group.inputs]
        held = [n for member in members for n in range(member.first_subrun, member.last_subrun + 1)]
        assert held == list(range(group.first_subrun, group.last_subrun + 1))
        assert group.bytes == sum(member.size for member in members)
        assert group.bytes <= target or len(members) == 1
    # No group is closed too early.
    for before, after in pairwise(groups):
        following = by_path[after.inputs[0]]
        assert following.first_subrun > before.last_subrun + 1 or before.bytes + following.size > target
