"""Check family: run time and memory of the good jobs, each against all of the submission's."""

from __future__ import annotations

from statistics import quantiles
from typing import TYPE_CHECKING

from include.checks.case import passed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from include.checks.verdict import Verdict

USAGE = "usage"
FACTOR = 5.0
"""Times the median that are worth a note, where the spec does not say."""
FEWEST = 10
"""Good jobs that make a distribution."""
_FENCE = 3.0
"""Interquartile ranges above the upper quartile within which nothing is worth a note."""
_MUCH_LESS = 20
"""A run time of less than one such part of the median is worth a note."""
_FEW = 0.1
"""Where more of the jobs than this took so little, it is usual."""


def judge_usage(
    wall_s: Sequence[float | None], memory_mb: Sequence[float | None], settings: Mapping[str, float | str]
) -> dict[int, Verdict]:
    """Run time and memory are like those of the submission's other good jobs; an outlier passes, with a note.

    Takes the good jobs' values in one order, and returns the verdicts on the outliers by their place in it.
    """
    notes: dict[int, list[str]] = {}
    for values, what, unit, factor in (
        (wall_s, "run time", "s", float(settings.get("wall_factor", FACTOR))),
        (memory_mb, "memory", "MB", float(settings.get("memory_factor", FACTOR))),
    ):
        for place, note in _outliers(values, factor=factor, what=what, unit=unit):
            notes.setdefault(place, []).append(note)
    return {place: passed(USAGE, "; ".join(found)) for place, found in notes.items()}


def _outliers(
    values: Sequence[float | None], *, factor: float, what: str, unit: str
) -> list[tuple[int, str]]:
    """Return (place, note) of the values far from the others."""
    known = [value for value in values if value is not None and value >= 0]
    if len(known) < FEWEST:
        return []
    lower, middle, upper = quantiles(known, n=4)
    if middle <= 0:
        return []
    high = max(factor * middle, upper + _FENCE * (upper - lower))
    low = middle / _MUCH_LESS
    # Memory that is small harms nobody; a job that took no time may have done nothing.
    if unit != "s" or sum(value < low for value in known) > _FEW * len(known):
        low = 0.0
    return [
        (
            place,
            f"unusual {what}: {value:g} {unit}, the median of {len(known)} good jobs is {middle:g} {unit}",
        )
        for place, value in enumerate(values)
        if value is not None and (value > high or 0 <= value < low)
    ]
