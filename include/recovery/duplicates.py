"""Why some processes left more than one good output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.batch.duplicates import why_several
from include.bookkeeping.records import DiagnosisRecord
from include.campaign.states import Remedy
from include.joblogs.job_history import histories

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.batch.pool import JobAd
    from include.checks.evidence import Evidence
    from include.checks.judge import Judgement, UnitJudgement
    from include.joblogs.job_history import Histories

CATEGORY = "duplicate"


def duplicates_of(judgement: Judgement) -> Iterator[DiagnosisRecord]:
    """Yield one record for each unit with good outputs beside the accepted one."""
    logs = EventLogs()
    for unit, evidence in zip(judgement.units, judgement.gathered.processes, strict=True):
        if unit.duplicates:
            yield _record(unit, evidence, logs)


class EventLogs:
    """The event logs that ads name, where this machine has them; each is read once."""

    def __init__(self) -> None:
        self._read: dict[str, Histories] = {}

    def tell(self, ad: JobAd) -> str:
        """Return what its event log says of a job that ran or ended more than once; else empty."""
        path = ad.event_log
        if not path or not path.startswith("/") or "\x00" in path:
            return ""
        if path not in self._read:
            self._read[path] = histories(path)
        found = self._read[path].get((ad.cluster, ad.process))
        if found is None or not (
            found.ran_more_than_once or found.completed_more_than_once or found.aborted_after_end
        ):
            return ""
        return f" The event log {path} of {ad.job_id}: {found.why()}."


def _record(unit: UnitJudgement, evidence: Evidence, logs: EventLogs) -> DiagnosisRecord:
    extra = sorted({execution for execution, _ in unit.duplicates})
    completions = sum(report.good for report in evidence.reports)
    accepted_here = {execution for execution, _ in unit.accept}
    if accepted_here or completions > len(extra):
        why = why_several(evidence.ads, len(evidence.reports), completions)
    else:
        why = "another submission's output of these subruns was accepted before this one was seen"
    ad = evidence.ad
    told = "".join(logs.tell(each) for each in evidence.ads)
    return DiagnosisRecord(
        process=unit.process,
        first_subrun=unit.first_subrun,
        last_subrun=unit.last_subrun,
        category=CATEGORY,
        rule="",
        cause=f"completed more than once: {why}{told}",
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
