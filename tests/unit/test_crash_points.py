"""Crash points: each one that is named is reached somewhere, and nothing else is."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from include import crash_points

if TYPE_CHECKING:
    import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def test_every_point_is_reached_at_one_place() -> None:
    found: Counter[str] = Counter()
    for folder in ("include", "plugins"):
        for file in (CHECKOUT / folder).rglob("*.py"):
            found.update(re.findall(r'\breached\b[(,]\s*"?([a-z.]+)"', file.read_text(encoding="utf-8")))
    assert found == Counter(dict.fromkeys(crash_points.POINTS, 1))


def test_without_a_hook_nothing_happens_and_with_one_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    crash_points.reached("submit.sent")
    told: list[str] = []
    monkeypatch.setattr(crash_points, "hook", told.append)
    crash_points.reached("submit.sent")
    assert told == ["submit.sent"]
