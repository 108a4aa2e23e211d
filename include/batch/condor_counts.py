"""One cluster's counts, from the ads in the queue and from what history has proven."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from include.batch.condor_ads import status_of
from include.batch.node_counts import Ending, ending, failing_nodes, machine_of, requeued, suspects
from include.batch.pool import ClusterCounts
from include.campaign.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FULL_SCAN_FIRST_S, FULL_SCAN_MOST_S = 2.0, 300.0
"""Between two scans of a whole history for the same cluster; doubled each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One job's hold, as it was first seen."""

    entered: int
    """Since when, by the schedd's clock: which hold it is."""
    seen: float
    """Steady seconds."""
    age_s: int
    """How long it had lasted when it was seen, by the schedd's clock."""


@dataclass(slots=True)
class Ended:
    """What polls have shown of one cluster so far, and what history has proven."""

    status: dict[int, JobStatus] = field(default_factory=dict)
    """Process → how it ended."""
    endings: dict[int, Ending] = field(default_factory=dict)
    """Process → how and where it completed, where that is known."""
    requeues: dict[tuple[int, int], Ending] = field(default_factory=dict)
    """(process, completions) → where it failed at once, before it was put back into the queue."""
    holds: dict[int, Hold] = field(default_factory=dict)
    """Process → its hold, while it lasts."""
    next_full_scan: float = 0.0
    """Monotonic seconds."""
    wait_s: float = FULL_SCAN_FIRST_S


def note_ending(record: Ended, ad: Mapping[str, Any]) -> None:
    """Remember how and where a job completed; the first row read of a job is its latest."""
    if ad["ProcId"] not in record.endings and (known := ending(ad)) is not None:
        record.endings[ad["ProcId"]] = known


def count_cluster(total: int, queued: list[Any], ended: Ended, now: float, *, steady: float) -> ClusterCounts:
    """Count one cluster; a job that is in the queue counts by what the queue says.

    The schedd's clock dates a hold, or `now` where it sends none; from then on it ages by `steady`, because
    a clock may be set.
    """
    held = _holds(queued, ended, now=now, steady=steady)
    states: dict[int, JobStatus] = dict(ended.status)
    for ad in queued:
        states[ad["ProcId"]] = status = status_of(ad.get("JobStatus"))
        if eaten := requeued(ad, waits=status is JobStatus.IDLE):
            ended.requeues[ad["ProcId"], ad["NumJobCompletions"]] = eaten
    by_state = [sum(state in group for state in states.values()) for group in _GROUPS]
    idle, running, completed, removed = by_state
    total = max(total, len(states))
    endings = (*ended.endings.values(), *ended.requeues.values())
    return ClusterCounts(
        total=total,
        idle=idle,
        running=running,
        held=len(held),
        completed=completed,
        removed=removed,
        unknown=total - sum(by_state) - len(held),
        held_longest_s=max(held, default=0),
        held_shortest_s=min(held, default=0),
        suspects=suspects(endings, _running(queued, now)),
        failing_nodes=failing_nodes(endings),
    )


def _holds(queued: list[Any], ended: Ended, *, now: float, steady: float) -> list[int]:
    """Return for how long each held job has been so, seconds; what is held no more is forgotten."""
    known, ended.holds = ended.holds, {}
    for ad in queued:
        if status_of(ad.get("JobStatus")) is not JobStatus.HELD:
            continue
        clock = int(ad.get("ServerTime", now))
        entered = int(ad.get("EnteredCurrentStatus", clock))
        hold = known.get(ad["ProcId"])
        if hold is None or hold.entered != entered:
            hold = Hold(entered=entered, seen=steady, age_s=max(0, clock - entered))
        ended.holds[ad["ProcId"]] = hold
    return [hold.age_s + int(steady - hold.seen) for hold in ended.holds.values()]


def _running(queued: list[Any], now: float) -> Iterator[tuple[str, float]]:
    """Give (node, seconds since its start) of each job that runs."""
    for ad in queued:
        started, machine = ad.get("JobCurrentStartDate"), machine_of(ad.get("RemoteHost"))
        if status_of(ad.get("JobStatus")) in _GROUPS[1] and machine and isinstance(started, int):
            yield machine, max(0.0, float(ad.get("ServerTime", now)) - started)


_GROUPS = (
    {JobStatus.IDLE},
    {JobStatus.RUNNING, JobStatus.TRANSFERRING_OUTPUT, JobStatus.SUSPENDED},
    {JobStatus.COMPLETED},
    {JobStatus.REMOVED},
)
