"""Why some processes left more than one good output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.batch.duplicates import why_several
from include.bookkeeping.records import DiagnosisRecord
from include.campaign.states import Remedy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.checks.evidence import Evidence, Gathered
    from include.checks.judge import Judgement, UnitJudgement

CATEGORY = "duplicate"


def duplicates_of(judgement: Judgement, gathered: Gathered) -> Iterator[DiagnosisRecord]:
    """Yield one record for each unit with good outputs beside the accepted one."""
    for unit, evidence in zip(judgement.units, gathered.processes, strict=True):
        if unit.duplicates:
            yield _record(unit, evidence)


def _record(unit: UnitJudgement, evidence: Evidence) -> DiagnosisRecord:
    extra = sorted({execution for execution, _ in unit.duplicates})
    completions = sum(report.good for report in evidence.reports)
    accepted_here = {execution for execution, _ in unit.accept}
    if accepted_here or completions > len(extra):
        why = why_several(evidence.ads, len(evidence.reports), completions)
    else:
        why = "another submission's output of these subruns was accepted before this one was seen"
    ad = evidence.ad
    return DiagnosisRecord(
        process=unit.process,
        first_subrun=unit.first_subrun,
        last_subrun=unit.last_subrun,
        category=CATEGORY,
        rule="",
        cause=f"completed more than once: {why}",
        evidence=", ".join(report.file for report in evidence.reports if report.execution in extra)[:1000],
        advice="nothing to do: one output is accepted, the others are left for cleanup",
        remedy=Remedy.NONE,
        job_id=unit.job_id,
        host=None if ad is None else ad.machine,
        site=None if ad is None else ad.site,
        exit_code=0,
        exit_signal=None,
        at=evidence.reports[-1].ended if evidence.reports else None,
        signature=why,
    )
