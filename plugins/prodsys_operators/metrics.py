"""What operators and triggers tell Airflow's own metrics (StatsD or OpenTelemetry), as it happens.

Airflow sends them where its `[metrics]` section says; docs/metrics.md has the same names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from include.batch.pool import ClusterCounts
    from include.bookkeeping.records import Submission
    from prodsys_operators.scope import Scope


class Name(StrEnum):
    """The names; what is counted is a counter, what stands is a gauge, what lasts is a timer."""

    SUBMISSIONS = "prodsys.submissions"
    """Counter: submissions sent, recoveries too."""
    JOBS_SUBMITTED = "prodsys.jobs.submitted"
    """Counter: jobs of these."""
    REFUSED = "prodsys.submissions.refused"
    """Counter: submissions that the batch system refused."""
    AMBIGUOUS = "prodsys.submissions.ambiguous"
    """Counter: tries after which it was not known whether jobs exist."""
    RECOVERIES = "prodsys.recoveries"
    """Counter: recoveries decided on by prodsys or allowed by a person."""
    QUESTIONS = "prodsys.questions"
    """Counter: questions put to a person."""
    HOLDS_RELEASED = "prodsys.holds.released"
    """Counter: held jobs released."""
    HOLDS_REMOVED = "prodsys.holds.removed"
    """Counter: held jobs removed."""
    HOLDS_LEFT = "prodsys.holds.left"
    """Counter: held jobs looked at and left for a person or for later."""
    EXCLUSIONS = "prodsys.exclusions"
    """Counter: nodes excluded while jobs ran."""
    ACCEPTED = "prodsys.subruns.accepted"
    """Gauge: accepted subruns of a stage of a dag_run, after a check."""
    MISSING = "prodsys.subruns.missing"
    """Gauge: subruns of it that are proven missing."""
    DUPLICATES = "prodsys.duplicates"
    """Gauge: output files of it beyond the accepted ones."""
    IDLE = "prodsys.jobs.idle"
    """Gauge: idle jobs of a schedd's clusters that are waited for; the next five alike."""
    RUNNING = "prodsys.jobs.running"
    """Gauge: running."""
    HELD = "prodsys.jobs.held"
    """Gauge: held."""
    COMPLETED = "prodsys.jobs.completed"
    """Gauge: completed, of clusters that still have open jobs."""
    REMOVED = "prodsys.jobs.removed"
    """Gauge: removed, of the same."""
    UNKNOWN = "prodsys.jobs.unknown"
    """Gauge: neither in the queue nor in the history."""
    POLL = "prodsys.poll"
    """Timer: a schedd's answer to one poll."""
    POLL_RECORDED = "prodsys.poll.recorded"
    """Timer: recording one poll in the ledger and looking after nodes."""


BY_STATE = {
    "idle": Name.IDLE,
    "running": Name.RUNNING,
    "held": Name.HELD,
    "completed": Name.COMPLETED,
    "removed": Name.REMOVED,
    "unknown": Name.UNKNOWN,
}


def count(name: Name, times: int = 1, **tags: str) -> None:
    """Add to a counter."""
    if times:
        stats.incr(name.value, times, tags=tags)


def lasted(name: Name, seconds: float, **tags: str) -> None:
    """Tell a timer how long something took."""
    stats.timing(name.value, 1000.0 * seconds, tags=tags)


def sent(submission: Submission) -> None:
    """Count a submission and its jobs."""
    count(Name.SUBMISSIONS, dag_id=submission.dag_id, stage=submission.stage)
    count(Name.JOBS_SUBMITTED, len(submission.units), dag_id=submission.dag_id, stage=submission.stage)


def checked(scope: Scope, stage: str) -> None:
    """Tell how a stage of the whole dag_run stands after a check."""
    from include.bookkeeping.report_records import ReportScope

    mine = ReportScope(dag_id=scope.plan.dag_id, tranche=scope.slice.tranche)
    found = scope.ledger.stage_totals(mine).get(stage)
    if found is not None:
        tags = {"dag_id": scope.plan.dag_id, "stage": stage}
        for name, number in (
            (Name.ACCEPTED, found.accepted),
            (Name.MISSING, found.missing),
            (Name.DUPLICATES, found.duplicates),
        ):
            stats.gauge(name.value, number, tags=tags)


def polled(schedd: str, counts: Iterable[ClusterCounts]) -> None:
    """Tell what a poll saw of the clusters that are waited for."""
    seen: list[Any] = list(counts)
    for state, name in BY_STATE.items():
        stats.gauge(name.value, sum(getattr(each, state) for each in seen), tags={"schedd": schedd})
