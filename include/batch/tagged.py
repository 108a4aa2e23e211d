"""Clusters in a queue by the tag that their jobs carry."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from include.batch.pool import ClusterId, TaggedCluster
from include.campaign.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ENDED = frozenset({JobStatus.COMPLETED, JobStatus.REMOVED, JobStatus.UNKNOWN})


def tagged_clusters(
    schedd: str, *, machine: str, rows: Iterable[Mapping[str, Any]]
) -> tuple[TaggedCluster, ...]:
    """Count jobs by cluster and tag; a row is of `jobs` that have cluster, tag, status, queued_at and owner.

    Ended jobs that linger in the queue are left out, and so are jobs without a tag.
    """
    found: dict[tuple[int, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row["tag"] and row["status"] not in _ENDED:
            found[row["cluster"], row["tag"]].append(row)
    return tuple(
        _cluster(ClusterId(schedd=schedd, cluster=cluster), machine, tag, found[cluster, tag])
        for cluster, tag in sorted(found)
    )


def _cluster(name: ClusterId, machine: str, tag: str, rows: list[Mapping[str, Any]]) -> TaggedCluster:
    states: Counter[JobStatus] = Counter()
    for row in rows:
        states[row["status"]] += row["jobs"]
    idle, held = states[JobStatus.IDLE], states[JobStatus.HELD]
    return TaggedCluster(
        id=name,
        machine=machine,
        tag=tag,
        owner=rows[0]["owner"],
        idle=idle,
        running=states.total() - idle - held,
        held=held,
        queued_at=min((float(row["queued_at"]) for row in rows if row["queued_at"]), default=None),
    )
