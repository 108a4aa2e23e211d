"""Named places at which the crash tests stop the world; in production `reached` does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS = {
    "reserve.reserved": "run numbers are given out, the task has not told Airflow which",
    "submit.admitted": "the submission has its room, nothing was done with it yet",
    "submit.intended": "the intent is in the ledger, the tag was not searched yet",
    "submit.noted": "the work folder says that jobsub_submit or the launcher is started, which it is not yet",
    "submit.sent": "jobsub_submit or the launcher has ended, the clusters are not in the ledger",
    "submit.recorded": "the clusters are in the ledger, the task has not ended",
    "wait.polled": "the triggerer has recorded the counts of a poll",
    "wait.over": "every job is accounted for, the wait has not told Airflow",
    "check.judged": "the evidence is judged, nothing of it is recorded",
    "check.recorded": "jobs and outputs are recorded, none is accepted",
    "check.settled": "outputs are accepted, the diagnoses are not recorded",
    "recover.noted": "the decision to recover is recorded, its intent is not",
    "recover.intended": "the recovery's intent is recorded, nothing is sent",
    "merge.planned": "the merged files are planned, the task has not ended",
    "cleanup.intended": "files are marked as being removed, none is",
    "cleanup.removed": "files are removed, the ledger does not know",
}
"""Point → how the world stands there."""

hook: Callable[[str], None] | None = None
"""What a test sets."""


def reached(point: str) -> None:
    """Tell the hook, where there is one, that the process has come to `point`."""
    if hook is not None:
        hook(point)
