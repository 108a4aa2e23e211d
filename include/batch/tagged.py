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
    schedd: str, *, machine: str, jobs: Iterable[Mapping[str, Any]]
) -> tuple[TaggedCluster, ...]:
    """Count a queue's jobs, each with cluster, tag, status, queued_at and owner, by cluster and tag.

    Ended jobs that linger in the queue are left out, and so are jobs without a tag.
    """
    rows: dict[tuple[int, str], list[Mapping[str, Any]]] = defaultdict(list)
    for job in jobs:
        if job["tag"] and job["status"] not in _ENDED:
            rows[job["cluster"], job["tag"]].append(job)
    return tuple(
        _cluster(ClusterId(schedd=schedd, cluster=cluster), machine, tag, rows[cluster, tag])
        for cluster, tag in sorted(rows)
    )


def _cluster(name: ClusterId, machine: str, tag: str, jobs: list[Mapping[str, Any]]) -> TaggedCluster:
    states = Counter(job["status"] for job in jobs)
    idle, held = states[JobStatus.IDLE], states[JobStatus.HELD]
    return TaggedCluster(
        id=name,
        machine=machine,
        tag=tag,
        owner=jobs[0]["owner"],
        idle=idle,
        running=len(jobs) - idle - held,
        held=held,
        queued_at=min((float(job["queued_at"]) for job in jobs if job["queued_at"]), default=None),
    )
