"""What the ledger says of submissions and files, to be held against pool, storage and Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.bookkeeping.records import ProgressSample
    from include.campaign.states import SubmissionState


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionFacts:
    """What the ledger has of one submission, to be held against what the pool says."""

    tag: str
    dag_id: str
    tranche: str
    run: int
    stage: str
    state: SubmissionState
    state_at: float
    intended_at: float
    asked_at: float
    """When it last asked for room or got it, epoch seconds; 0: it never asked."""
    clusters: tuple[tuple[str, int, int], ...]
    """(schedd, cluster, jobs)."""
    jobs_open: int
    """Jobs that count as being in flight (docs/limits.md)."""
    open_units: int
    """Processes that no check has proven either way, but for those that are held."""
    last: ProgressSample | None
    """At the last poll."""
    steady_since: float | None
    """Since when polls have shown the same counts as the last one."""

    @property
    def seen_at(self) -> float:
        """When its jobs were polled last, or else its state changed, epoch seconds."""
        return self.state_at if self.last is None else self.last.at

    @property
    def jobs(self) -> int:
        """Jobs that were submitted."""
        return sum(jobs for _, _, jobs in self.clusters)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedFile:
    """An accepted output as the ledger has it, to be held against the storage."""

    tag: str
    path: str
    size: int
    """Bytes."""
    accepted_at: float
    """Epoch seconds."""
