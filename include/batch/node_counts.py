"""How one cluster's jobs fare on each node, from what a poll sees: pure functions."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from include.batch.pool import NodeCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENDING_PROJECTION = [
    *("LastRemoteHost", "ExitBySignal", "ExitCode"),
    *("CompletionDate", "JobCurrentStartDate", "RemoteWallClockTime"),
]
"""What `ending` reads."""
REQUEUE_PROJECTION = ["NumJobCompletions", "MachineAttrMachine0", "MachineAttrMachine1"]
"""What `requeued` reads, besides the state."""
MOST_SUSPECTS = 20
LEAST_BAD = 2
"""One failure on a node says nothing about the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one job ended, and where."""

    machine: str
    ok: bool
    """Exit code 0."""
    wall_s: float
    """Of its last start where the ad says when that was, else of all its starts."""


@dataclass(slots=True)
class _Node:
    """What is known of one node; wall times in seconds."""

    good: list[float]
    bad: list[float]
    running: list[float]


def machine_of(host: object) -> str | None:
    """Return the node of a RemoteHost such as slot1_2@wn1.pool or slot1@glidein_7@host: the last part."""
    return host.rpartition("@")[2] or None if isinstance(host, str) else None


def ending(ad: Mapping[str, Any]) -> Ending | None:
    """Return how a completed job ended; None where its ad does not say where it ran."""
    machine = machine_of(ad.get("LastRemoteHost"))
    if machine is None:
        return None
    ok = ad.get("ExitBySignal") is not True and ad.get("ExitCode") == 0
    start, end = ad.get("JobCurrentStartDate"), ad.get("CompletionDate")
    if isinstance(start, int) and isinstance(end, int) and 0 < start <= end:
        return Ending(machine=machine, ok=ok, wall_s=float(end - start))
    wall = ad.get("RemoteWallClockTime")
    return Ending(machine=machine, ok=ok, wall_s=float(wall) if isinstance(wall, int | float) else 0.0)


def requeued(ad: Mapping[str, Any], *, waits: bool) -> Ending | None:
    """Return how a queued job failed at once before, and where; None for one that did not.

    Only a failure that is too quick for prodsys_job puts a job back (include/batch/requirements.py). While it
    waits, the latest machine in its ad is that of the failure, else the one before.
    """
    if not isinstance(completions := ad.get("NumJobCompletions"), int) or completions < 1:
        return None
    machine = ad.get("MachineAttrMachine0" if waits else "MachineAttrMachine1")
    return Ending(machine=machine, ok=False, wall_s=0.0) if isinstance(machine, str) and machine else None


def failing_nodes(endings: Iterable[Ending]) -> int:
    """Count the nodes on which jobs failed and none ended well."""
    good: set[str] = set()
    bad: set[str] = set()
    for one in endings:
        (good if one.ok else bad).add(one.machine)
    return len(bad - good)


def suspects(endings: Iterable[Ending], running: Iterable[tuple[str, float]]) -> tuple[NodeCounts, ...]:
    """Return the nodes on which most jobs failed, and at least two: most failures first, at most 20.

    `running` is (machine, seconds since its start) for each job that runs; it is read only if there is a
    suspect. A job elsewhere that failed within 1.5 times the slowest failure and 5 s counts as failed fast
    and not as having outlasted it, also where it took a little longer.
    """
    nodes: dict[str, _Node] = defaultdict(lambda: _Node([], [], []))
    for one in endings:
        node = nodes[one.machine]
        (node.good if one.ok else node.bad).append(one.wall_s)
    found = [
        name for name, node in nodes.items() if len(node.bad) >= LEAST_BAD and len(node.bad) > len(node.good)
    ]
    if not found:
        return ()
    for machine, seconds in running:
        nodes[machine].running.append(seconds)
    found.sort(key=lambda name: (-len(nodes[name].bad), len(nodes[name].good), max(nodes[name].bad), name))
    pool = _Peers(nodes)
    return tuple(pool.counts(name) for name in found[:MOST_SUSPECTS])


class _Peers:
    """All nodes' wall times, sorted once for all suspects."""

    def __init__(self, nodes: Mapping[str, _Node]) -> None:
        self._nodes = nodes
        self._alive = sorted(wall for node in nodes.values() for wall in (*node.good, *node.running))
        self._bad = sorted(wall for node in nodes.values() for wall in node.bad)
        self._longest = {name: max((*node.good, *node.running), default=-1.0) for name, node in nodes.items()}

    def counts(self, machine: str) -> NodeCounts:
        """Return one node's counts beside those of the others."""
        own = self._nodes[machine]
        slowest = max(own.bad)
        limit = 1.5 * slowest + 5
        alive = _above(self._alive, slowest) - sum(wall > slowest for wall in (*own.good, *own.running))
        # All of the node's own failures lie within the limit.
        late = _above(self._bad, limit)
        return NodeCounts(
            machine=machine,
            good=len(own.good),
            bad=len(own.bad),
            bad_slowest_s=slowest,
            peers_outlasted=alive + late,
            peers_failed_fast=len(self._bad) - late - len(own.bad),
            peer_nodes=sum(
                # A failure counts on either side of the limit.
                bool(node.bad) or self._longest[name] > slowest
                for name, node in self._nodes.items()
                if name != machine
            ),
        )


def _above(ordered: list[float], bound: float) -> int:
    """Count the values above `bound`."""
    return len(ordered) - bisect_right(ordered, bound)
