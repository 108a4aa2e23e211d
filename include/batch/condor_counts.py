"""One cluster's counts, from the ads in the queue and from what history has proven."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from include.batch.condor_ads import status_of
from include.batch.node_counts import Ending, ending, failing_nodes, machine_of, requeued, suspects
from include.batch.pool import ClusterCounts
from include.campaign.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from include.batch.condor_queue import QueueRows

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
    """Process → how it ended; `note` writes it."""
    numbers: Counter[JobStatus] = field(default_factory=Counter)
    """State → how many ended so."""
    endings: dict[int, Ending] = field(default_factory=dict)
    """Process → how and where it completed, where that is known."""
    failed: bool = False
    """Whether any of the endings is none with exit code 0."""
    requeues: dict[tuple[int, int], Ending] = field(default_factory=dict)
    """(process, completions) → where it failed at once, before it was put back into the queue."""
    holds: dict[int, Hold] = field(default_factory=dict)
    """Process → its hold, while it lasts."""
    next_full_scan: float = 0.0
    """Monotonic seconds."""
    wait_s: float = FULL_SCAN_FIRST_S

    def note(self, process: int, status: JobStatus) -> JobStatus:
        """Remember how a job ended, and return how: what was noted first stays."""
        if process not in self.status:
            self.status[process] = status
            self.numbers[status] += 1
        return self.status[process]


def note_ending(record: Ended, ad: Mapping[str, Any]) -> None:
    """Remember how and where a job completed; the first row read of a job is its latest."""
    if ad["ProcId"] not in record.endings and (known := ending(ad)) is not None:
        record.endings[ad["ProcId"]] = known
        record.failed |= not known.ok


def count_cluster(total: int, queued: QueueRows, ended: Ended, now: float, *, steady: float) -> ClusterCounts:
    """Count one cluster; a job that has a row in the queue counts by what that says.

    The schedd's clock dates a hold, or `now` where it sends none; from then on it ages by `steady`, because
    a clock may be set.
    """
    held = _holds(queued.rows, ended, now=now, steady=steady)
    there = {ad["ProcId"]: status_of(ad.get("JobStatus")) for ad in queued.rows}
    for ad in queued.rows:
        if eaten := requeued(ad, waits=there[ad["ProcId"]] is JobStatus.IDLE):
            ended.requeues[ad["ProcId"], ad["NumJobCompletions"]] = eaten
    gone = ended.numbers - Counter(status for process in there if (status := ended.status.get(process)))
    room = max(0, total - len(there))
    if queued.fresh_is_news:
        fresh, gone = queued.fresh, _at_most(room - queued.fresh, gone)
    else:  # what has started since, or ended, is in there or gone, as far as that is known
        fresh = max(0, min(queued.fresh, room - gone.total()))
    total = max(total, len(there) + fresh + gone.total())
    in_queue = Counter(there.values())
    idle, running, completed, removed = (
        sum(in_queue[status] + gone[status] for status in group) for group in _GROUPS
    )
    counted = idle + fresh + running + completed + removed + len(held)
    failed = ended.failed or ended.requeues
    endings = (*ended.endings.values(), *ended.requeues.values()) if failed else ()
    return ClusterCounts(
        total=total,
        idle=idle + fresh,
        running=running,
        held=len(held),
        completed=completed,
        removed=removed,
        unknown=total - counted,
        held_longest_s=max(held, default=0),
        held_shortest_s=min(held, default=0),
        suspects=suspects(endings, _running(queued.rows, now)),
        failing_nodes=failing_nodes(endings),
    )


def _at_most(room: int, gone: Counter[JobStatus]) -> Counter[JobStatus]:
    """Return at most `room` of the ends: a queue that was rolled back has some again that had ended."""
    found: Counter[JobStatus] = Counter()
    for status, number in gone.items():
        found[status] = max(0, min(number, room - found.total()))
    return found


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
