"""Which run numbers are given out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.bookkeeping.ledger_slices import lowest_unused


@given(st.sets(st.integers(0, 40)), st.integers(0, 30), st.integers(0, 12), st.integers(1, 8))
def test_lowest_unused_are_free_in_range_and_leave_no_lower_one(used, first, width, count):
    last = first + width
    free = sorted(set(range(first, last + 1)) - used)
    found = lowest_unused(used, first=first, last=last, count=count)
    assert found == (free[:count] if len(free) >= count else None)


def test_a_huge_range_is_not_walked_to_its_end():
    assert lowest_unused([1, 2, 4], first=1, last=10**12, count=3) == [3, 5, 6]
