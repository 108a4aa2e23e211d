"""Bars, rates and ends in a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.commands import status_bars
from include.progress.bars import PARTS, Bar
from include.progress.estimate import Estimate, Outlook
from include.progress.stages import StageLine

NOW = 1_000_000.0


def line(estimate: Estimate, **parts: int) -> StageLine:
    return StageLine(
        stage="gen", is_merge=False, bar=Bar(**parts), estimate=estimate, duplicates=0, duplicate_bytes=0,
        bytes=0, accepted_bytes=0, events=0,
    )  # fmt: skip


@given(st.lists(st.integers(0, 10**9), min_size=len(PARTS), max_size=len(PARTS)))
def test_a_bar_is_as_wide_as_it_should_be_and_shows_what_is_there(numbers: list[int]) -> None:
    widths = status_bars.widths(numbers)
    assert sum(widths) == (status_bars.WIDTH if any(numbers) else 0)
    assert [width > 0 for width in widths] == [number > 0 for number in numbers]


def test_a_bar_is_read_without_colours() -> None:
    assert list(status_bars.LOOKS) == list(PARTS)
    for place in (0, 1):
        characters = [look[place] for look in status_bars.LOOKS.values()]
        assert len(set(characters)) == len(PARTS)
        assert all(character.isascii() for character in characters) == bool(place)
    bar = Bar(accepted=10, held=1, waiting=19)
    assert status_bars.bar_text(bar, fancy=False).plain == "#" * 10 + "H" + "." * 19
    assert status_bars.counts_text(bar) == "10/30 accepted, 1 held, 19 waiting"


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (
            Estimate(
                outlook=Outlook.KNOWN, rate=12.4, end=NOW + 10_800, early=NOW + 7200, late=NOW + 259_200
            ),
            "12/h, done in 3.0 h (2.0 h to 3.0 d)",
        ),
        (Estimate(outlook=Outlook.EARLY), "too early for a rate"),
        (Estimate(outlook=Outlook.STALLED, rate=0.0), "stalled: no job has ended for hours"),
        (Estimate(outlook=Outlook.WAITING), "waits"),
        (Estimate(outlook=Outlook.INCOMPLETE), "some held or not judged"),
    ],
)
def test_rate_and_end_in_words(estimate: Estimate, words: str) -> None:
    assert status_bars.end_text(line(estimate, accepted=1, failed=1), now=NOW) == words


def test_a_stage_that_is_complete_says_no_more() -> None:
    assert status_bars.end_text(line(Estimate(outlook=Outlook.DONE), accepted=2), now=NOW) == ""
