"""Whether the clusters that carry a tag are a submission: each of its units exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.batch.pool import ClusterId
from include.campaign.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.batch.pool import JobAd

SHOWN = 10
"""Ranges and ids that a text names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One cluster whose jobs carry the tag."""

    id: ClusterId
    first_unit: int
    units: tuple[int, ...]
    """What its jobs make, in order of process."""
    processes: tuple[int, ...]
    """Numbers of its jobs that queue or history know, in order."""
    removed: bool
    """Every job of it was removed, so that nothing more comes of it."""
    alive: int = 0
    """Jobs of it that have not ended."""

    @property
    def numbered(self) -> bool:
        """Whether process p makes unit first_unit + p, for each process that is known."""
        return bool(self.units) and self.units == tuple(self.first_unit + each for each in self.processes)

    @property
    def jobs(self) -> int:
        """Processes it was submitted with, as far as is known: some may have left the history."""
        return self.processes[-1] + 1 if self.processes else 0

    @property
    def span(self) -> range:
        """The units of all its processes, known or not."""
        return range(self.first_unit, self.first_unit + self.jobs)

    @property
    def gone(self) -> tuple[int, ...]:
        """The units of processes that have left the history: HTCondor numbers a cluster's jobs from 0 on."""
        return tuple(sorted(set(self.span) - set(self.units))) if self.numbered else ()

    def __str__(self) -> str:
        gone = f", and had jobs for units {ranges(self.gone)}" if self.gone else ""
        removed = ", all removed" if self.removed else ""
        return f"{self.id} has {counted(len(self.units))} for units {ranges(self.units)}{gone}{removed}"


def placed(tag: str, clusters: Iterable[ClusterId], ads: Iterable[JobAd]) -> tuple[Placed, ...]:
    """Return the clusters in order, with what their ads tell of the jobs that carry `tag`."""
    jobs: dict[ClusterId, list[JobAd]] = {cluster: [] for cluster in clusters}
    for ad in ads:
        if ad.tag == tag:
            jobs.setdefault(ClusterId(schedd=ad.schedd, cluster=ad.cluster), []).append(ad)
    found = []
    for cluster, mine in sorted(jobs.items()):
        mine.sort(key=lambda ad: ad.process)
        found.append(
            Placed(
                id=cluster,
                first_unit=mine[0].first_unit if mine else 0,
                units=tuple(ad.first_unit + ad.process for ad in mine),
                processes=tuple(ad.process for ad in mine),
                removed=bool(mine) and all(ad.status is JobStatus.REMOVED for ad in mine),
                alive=sum(not ad.status.ended for ad in mine),
            )
        )
    return tuple(found)


def whole(found: Sequence[Placed], units: int) -> tuple[Placed, ...]:
    """Return the clusters that make each of 0..units-1 once: all, or all that were not removed; else none."""
    for some in (tuple(found), kept(found)):
        known = sum(len(each.units) for each in some)
        if disjoint(some, units) and known == sum(each.jobs for each in some) == units:
            return some
    return ()


def kept(found: Sequence[Placed]) -> tuple[Placed, ...]:
    """Return the clusters of which not every job was removed."""
    return tuple(each for each in found if not each.removed)


def disjoint(found: Sequence[Placed], units: int) -> bool:
    """Whether the clusters make some of 0..units-1, none twice, and their processes say which.

    A process that has left the history made its unit, too.
    """
    if not found or not all(each.numbered for each in found):
        return False
    jobs = Counter(unit for each in found for unit in each.span)
    return max(jobs.values()) == 1 and min(jobs) >= 0 and max(jobs) < units


def shortfall(found: Sequence[Placed], units: int) -> str:
    """Say what the clusters lack, have twice or have too much; empty where they are whole."""
    jobs = Counter(unit for each in found for unit in each.units)
    parts = {
        "no job for": [unit for unit in range(units) if not jobs[unit]],
        "several jobs for": sorted(unit for unit, number in jobs.items() if number > 1),
        "jobs that nobody asked for, for": sorted(unit for unit in jobs if unit >= units),
    }
    return "; ".join(f"{what} units {ranges(numbers)}" for what, numbers in parts.items() if numbers)


def counted(jobs: int) -> str:
    """Return a number of jobs in words."""
    return f"{jobs} job" if jobs == 1 else f"{jobs} jobs"


def ranges(numbers: Sequence[int]) -> str:
    """Return numbers in words, as 0-4, 7."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    text = [f"{first}-{last}" if last > first else str(first) for first, last in spans[:SHOWN]]
    return ", ".join([*text, "…"] if len(spans) > SHOWN else text) or "none"
