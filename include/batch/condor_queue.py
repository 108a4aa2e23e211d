"""What a poll asks of a queue: a row a job where they are few, else a row a cluster of those that never ran.

Jobs that wait for their first start differ in nothing that a poll looks at, and a campaign may have a million
of them: the schedd counts them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from include.batch.condor_ads import of_clusters, rows_of
from include.batch.node_counts import REQUEUE_PROJECTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.batch.pool import Awaited

COUNT_PROJECTION = (
    *("ClusterId", "ProcId", "ProdsysTag", "JobStatus", "EnteredCurrentStatus", "ServerTime"),
    *("RemoteHost", "JobCurrentStartDate", *REQUEUE_PROJECTION),
)
FRESH = "(JobStatus == 1 && (NumJobStarts ?: 0) == 0 && (NumShadowStarts ?: 0) == 0)"
"""Idle, and never started. See `AskQueue` on why these two may be undefined."""
FRESH_PROJECTION = ("ClusterId", "ProdsysTag", "JobStatus")
FEW_JOBS = 5_000
"""So many are asked for one by one; a grouped query walks the whole queue, whoever's jobs it has."""


class AskQueue(Protocol):
    """Asks one schedd's queue."""

    def __call__(self, constraint: str, projection: Sequence[str], *, grouped: bool = False) -> list[Any]:
        """Return a row a job; `grouped`: one for all jobs alike in the whole projection, with their JobCount.

        The schedd tests a grouped row by the constraint once more (25.14), where only what is projected is
        defined: the constraint has to hold with the rest undefined.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRows:
    """One cluster's jobs in a queue."""

    rows: list[Any] = field(default_factory=list)
    """A row a job, but for those counted as fresh."""
    fresh: int = 0
    """Jobs that wait for their first start and have no row."""
    fresh_is_news: bool = False
    """Whether the fresh ones were counted after the rows were read; else before."""

    @property
    def jobs(self) -> int:
        """How many there are."""
        return len(self.rows) + self.fresh


def ask_queue(awaited: Iterable[Awaited], open_jobs: int, ask: AskQueue) -> dict[Awaited, QueueRows]:
    """Return what is in a queue of the clusters; `open_jobs` of them are not known to have ended.

    Many are asked for in two queries, first those that never started: one that starts in between is in both.
    """
    awaited = list(awaited)
    fresh = dict.fromkeys(awaited, 0)
    wanted = of_clusters(each.cluster for each in awaited)
    if open_jobs > FEW_JOBS:
        fresh = ask_fresh(awaited, ask)
        wanted = f"({wanted}) && ({FRESH} =!= true)"
    rows = rows_of(awaited, ask(wanted, COUNT_PROJECTION))
    return {each: QueueRows(rows=rows[each], fresh=fresh[each]) for each in awaited}


def ask_fresh(awaited: Iterable[Awaited], ask: AskQueue) -> dict[Awaited, int]:
    """Return how many jobs of the clusters wait for their first start."""
    awaited = list(awaited)
    wanted = of_clusters(each.cluster for each in awaited)
    rows = rows_of(awaited, ask(f"({wanted}) && {FRESH}", FRESH_PROJECTION, grouped=True))
    return {each: sum(row["JobCount"] for row in rows[each]) for each in awaited}
