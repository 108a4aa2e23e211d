"""The page of one job: all that is known of one process of one submission."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.overview_records import JobPlace
    from include.bookkeeping.records import (
        ActionRecord,
        ExecutionRecord,
        JobRecord,
        OutputRecord,
        StageDiagnosis,
        VerdictRecord,
    )

OTHERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One job."""

    at: float
    place: JobPlace
    job: JobRecord | None
    """None until a check has looked."""
    executions: tuple[ExecutionRecord, ...]
    verdicts: tuple[VerdictRecord, ...]
    diagnoses: tuple[StageDiagnosis, ...]
    inputs: tuple[tuple[str, tuple[str, ...]], ...]
    outputs: tuple[OutputRecord, ...]
    others: tuple[JobPlace, ...]
    """Further jobs of the same first subrun in the same stage: recoveries, the latest first."""
    actions: tuple[ActionRecord, ...]


def job_page(ledger: Ledger, dag_id: str, submission_id: int, process: int, *, now: float) -> JobPage | None:
    """Return the page of a process of a submission of a campaign; None where it has none such."""
    place = ledger.job_place(dag_id, submission_id, process)
    if place is None:
        return None
    same = ledger.jobs_by_subrun(place.run, place.first_subrun, dag_ids=[dag_id], limit=OTHERS)
    said = ledger.diagnoses(dag_id=dag_id, tranche=place.tranche, run=place.run, stage=place.stage)
    actions = ledger.actions(dag_id=dag_id, tranche=place.tranche, run=place.run, stage=place.stage)
    return JobPage(
        at=now,
        place=place,
        job=ledger.job_of(submission_id, process),
        executions=tuple(ledger.executions_of(submission_id, process)),
        verdicts=tuple(ledger.verdicts_of(submission_id, process)),
        diagnoses=tuple(each for each in said if each.tag == place.tag and each.diagnosis.process == process),
        inputs=tuple(ledger.inputs_of(submission_id, process)),
        outputs=tuple(ledger.outputs_of(submission_id, place.first_subrun, place.last_subrun)),
        others=tuple(
            each
            for each in same
            if each.stage == place.stage and (each.submission_id, each.process) != (submission_id, process)
        ),
        actions=tuple(
            each
            for each in reversed(actions)
            if not each.jobs or (place.job_id and place.job_id in each.jobs)
        ),
    )
