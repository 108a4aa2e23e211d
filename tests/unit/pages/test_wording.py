"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from include.progress.bars import Bar
from include.progress.estimate import Estimate, Outlook
from prodsys_operators.pages import wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (5400, "1 h 30 min"),
     (86400, "1 d"), (90000, "1 d 1 h"), (-5, "0 s"), (None, "")],
)  # fmt: skip
def test_spans(seconds: float | None, text: str) -> None:
    assert wording.span(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (123456, "123 kB"), (2e12, "2.0 TB"), (5e18, "5000 PB")],
)
def test_sizes(number: float, text: str) -> None:
    assert wording.size(number) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.01, "<1 %"), (99.99, "99 %"), (100, "100 %"), (42.4, "42 %")]
)
def test_percent_is_whole_only_when_all_is_done(share: float, text: str) -> None:
    assert wording.percent(share) == text


def test_ends() -> None:
    known = Estimate(outlook=Outlook.KNOWN, rate=9.5, end=7200.0, early=3600.0, late=10800.0)
    assert wording.end(known, 0.0) == "2 h (1 h to 3 h)"
    assert wording.rate(known) == "9.5/h"
    for outlook in set(Outlook) - {Outlook.KNOWN}:
        assert wording.end(Estimate(outlook=outlook), 0.0)
    assert wording.end(Estimate(outlook=Outlook.INCOMPLETE), 0.0) == "some held or not judged"


def test_a_small_part_of_a_bar_can_be_seen_and_no_bar_is_too_long() -> None:
    parts = wording.bar_parts(Bar(accepted=999_998, running=1, failed=1))
    assert [name for name, _, _ in parts] == ["accepted", "running", "failed"]
    assert all(start + width <= 1000.01 for _, start, width in parts)
    assert wording.bar_parts(Bar()) == []
    assert wording.bar_text(Bar(accepted=1, failed=1)) == "50 % of 2 subruns: 1 accepted, 1 failed"
