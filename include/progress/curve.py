"""Percent complete against time, stage by stage."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.overview_records import AcceptedMark, EndedJobs, StageCount


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """How far a stage was, over time."""

    stage: str
    points: tuple[tuple[float, float], ...]
    """(epoch seconds, percent of all subruns), in order of time; the same moments for every stage."""


def curves(
    counts: Sequence[StageCount],
    marks: Sequence[AcceptedMark],
    ended: Sequence[EndedJobs],
    *,
    since: float,
    until: float,
) -> list[Curve]:
    """Return a curve a stage: accepted subruns, and until a slice's first check the jobs that have completed.

    Of merges only what is accepted counts, because one of their jobs stands for many subruns.
    """
    stages = {count.stage: count for count in sorted(counts, key=lambda count: count.number)}
    expected: dict[str, int] = defaultdict(int)
    for count in counts:
        expected[count.stage] += count.subruns
    # Not when checks were: what had completed until then is not known again at just these moments.
    moments = sorted({since, until, *(each.at for each in ended)})
    accepted = _accepted(marks, moments)
    found = []
    for name, count in stages.items():
        running = {} if count.is_merge else {each.at: each.jobs for each in ended if each.stage == name}
        seen, points = 0, []
        for at in moments:
            seen = running.get(at, seen)
            done = min(accepted[name].get(at, 0) + seen, expected[name])
            points.append((at, 100.0 * done / expected[name] if expected[name] else 0.0))
        found.append(Curve(stage=name, points=tuple(points)))
    return found


def _accepted(marks: Sequence[AcceptedMark], moments: Sequence[float]) -> dict[str, dict[float, int]]:
    """Return stage → moment → subruns accepted by then."""
    found: dict[str, dict[float, int]] = defaultdict(dict)
    latest: dict[tuple[str, int], int] = {}
    totals: dict[str, int] = defaultdict(int)
    waiting = sorted(marks, key=lambda mark: mark.at)
    place = 0
    for at in moments:
        while place < len(waiting) and waiting[place].at <= at:
            mark = waiting[place]
            totals[mark.stage] += mark.accepted - latest.get((mark.stage, mark.run), 0)
            latest[mark.stage, mark.run] = mark.accepted
            place += 1
        for stage, number in totals.items():
            found[stage][at] = number
    return found
