"""When work will be done: the rate that it goes at, and the end that follows from it, with an error band."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BINS = 8
"""Parts that the time looked at is divided into, to see how uneven the rate is."""
MIN_DONE = 4
"""Fewer ends of jobs say nothing about a rate."""
BAND = 1.64
"""Standard errors of the rate on each side: about nine ends in ten fall into the band."""
LEAST_BELOW = 0.1
"""The low end of the rate is at least this share of it, so that the late end stays a number."""
HORIZON_S = 3 * 3600.0
"""Time looked back at, seconds; less where the work is younger."""
FARTHEST_S = 10 * 366 * 86_400.0
"""An end farther away is none: what has gone so slowly until now says nothing of it."""

Point = tuple[float, float]
"""(epoch seconds, jobs done by then); never falling."""


class Outlook(StrEnum):
    """Whether an end can be told, and why not."""

    DONE = "done"
    """Nothing remains."""
    OVER = "over"
    """All that remains is proven to have failed: nothing more comes unless it is recovered."""
    KNOWN = "known"
    """The rate tells the end."""
    EARLY = "early"
    """Too few jobs have ended to tell a rate, or to come to an end within FARTHEST_S."""
    STALLED = "stalled"
    """Jobs have ended before, none within the time looked at."""
    WAITING = "waiting"
    """Nothing was sent yet."""
    INCOMPLETE = "incomplete"
    """What remains has no job that goes on, and some of it is held or was not judged."""


ENDED = frozenset({Outlook.DONE, Outlook.OVER})
"""Outlooks of what nobody waits for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The rate of some work, and when it will be done."""

    outlook: Outlook
    rate: float | None = None
    """Jobs an hour; None where it cannot be told."""
    end: float | None = None
    """Epoch seconds; so are the next two."""
    early: float | None = None
    """The end is before this in one case of twenty."""
    late: float | None = None
    """The end is after this in one case of twenty."""


def estimate(points: Sequence[Point], remaining: float, *, now: float) -> Estimate:
    """Return the rate of `points` and the end of `remaining` more jobs.

    The rate is the mean over the time that the points span, up to `now`. Its error is how much the parts of
    that time differ, and never less than that of so many independent ends: bursts give a wide band.
    """
    if remaining <= 0:
        return Estimate(outlook=Outlook.DONE)
    if not points:
        return Estimate(outlook=Outlook.WAITING)
    known = [point for point in sorted(points) if point[0] <= now]
    if not known or known[0][0] >= now:
        return Estimate(outlook=Outlook.EARLY)
    start, span = known[0][0], now - known[0][0]
    parts = _ended_by_part(known, start=start, span=span)
    done = sum(parts)
    if done <= 0 and known[-1][1] > 0:
        return Estimate(outlook=Outlook.STALLED, rate=0.0)
    if done < min(MIN_DONE, remaining) or remaining * span / done > FARTHEST_S:
        return Estimate(outlook=Outlook.EARLY)
    rate, error = done / span, _error(parts, span=span)
    low = max(rate - BAND * error, LEAST_BELOW * rate)
    return Estimate(
        outlook=Outlook.KNOWN,
        rate=3600.0 * rate,
        end=now + remaining / rate,
        early=now + remaining / (rate + BAND * error),
        late=now + remaining / low,
    )


def _ended_by_part(points: Sequence[Point], *, start: float, span: float) -> list[float]:
    edges = [start + span * number / BINS for number in range(BINS + 1)]
    there = [value_at(points, edge) for edge in edges]
    return [max(after - before, 0.0) for before, after in pairwise(there)]


def _error(parts: Sequence[float], *, span: float) -> float:
    """Return the standard error of the rate, jobs a second."""
    mean = sum(parts) / len(parts)
    spread = math.sqrt(sum((part - mean) ** 2 for part in parts) / (len(parts) - 1))
    uneven = spread / math.sqrt(len(parts)) * len(parts) / span
    counted = math.sqrt(max(sum(parts), 1.0)) / span
    return max(uneven, counted)


def value_at(points: Sequence[Point], at: float) -> float:
    """Return the value at a time: on the line between the points round it, outside the nearest one's."""
    if at <= points[0][0]:
        return points[0][1]
    for (before, low), (after, high) in pairwise(points):
        if before <= at <= after:
            return low + (high - low) * (at - before) / (after - before) if after > before else high
    return points[-1][1]


def after_parents(own: Estimate, parents: Iterable[Estimate]) -> Estimate:
    """Return an estimate that is no earlier than those of the stages whose outputs are waited for."""
    ends = [each for each in parents if each.outlook not in ENDED]
    if own.outlook in ENDED or not ends:
        return own
    unclear = next((each for each in ends if each.outlook is not Outlook.KNOWN), None)
    if unclear is not None or own.outlook is not Outlook.KNOWN:
        # What waits for something without an end has none either.
        lacks = any(each.outlook is Outlook.INCOMPLETE for each in ends)
        unknown = Outlook.INCOMPLETE if lacks else Outlook.EARLY
        return Estimate(outlook=unknown if own.outlook is Outlook.KNOWN else own.outlook, rate=own.rate)
    return Estimate(
        outlook=Outlook.KNOWN,
        rate=own.rate,
        end=_latest(own.end, *(each.end for each in ends)),
        early=_latest(own.early, *(each.early for each in ends)),
        late=_latest(own.late, *(each.late for each in ends)),
    )


def latest_of(estimates: Iterable[Estimate]) -> Estimate:
    """Return when all of some work is done; the outlook is that of the least known."""
    every = list(estimates)
    some = [each for each in every if each.outlook not in ENDED]
    if not some:
        all_done = all(each.outlook is Outlook.DONE for each in every)
        return Estimate(outlook=Outlook.DONE if all_done else Outlook.OVER)
    for outlook in (Outlook.STALLED, Outlook.INCOMPLETE, Outlook.EARLY, Outlook.WAITING):
        if any(each.outlook is outlook for each in some):
            return Estimate(outlook=outlook)
    return Estimate(
        outlook=Outlook.KNOWN,
        end=_latest(*(each.end for each in some)),
        early=_latest(*(each.early for each in some)),
        late=_latest(*(each.late for each in some)),
    )


def _latest(*times: float | None) -> float | None:
    return max((at for at in times if at is not None), default=None)
