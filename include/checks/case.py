"""What a check is given: one process, and the execution that is looked at."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.campaign.states import Outcome
from include.checks.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.bookkeeping.records import OutputRecord, Unit
    from include.campaign.plan import OutputPlan, StagePlan
    from include.checks.evidence import Evidence
    from include.checks.reports import Report, ReportedOutput

_STORAGE_TROUBLE = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.EACCES,
        errno.EPERM,
        errno.ETIMEDOUT,
        errno.ENOTCONN,
        errno.EMFILE,
        errno.ENFILE,
    }
)


VISIBLE_AFTER_S = 600
"""After its job has ended, what an execution published may stay invisible for so long: storage lags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One process of a submission, seen through one of its executions."""

    stage: StagePlan
    run: int
    unit: Unit
    evidence: Evidence
    report: Report | None
    """The execution that is judged; None where no execution told anything."""
    sources: Mapping[str, OutputRecord]
    """For a merge: the files that are merged, by path; empty otherwise."""
    logs: str
    """The submission's log area."""
    listed: bool
    """Whether the submission's outstage area is there; if not, that a file is missing proves nothing."""
    all_ended: bool
    """Whether every job of the submission is known to have ended, and what they left must be visible."""
    now: float
    """Epoch seconds."""
    since: str
    """When the submission was made, for people."""

    @property
    def subruns(self) -> int:
        """How many subruns the unit covers."""
        return self.unit.last_subrun - self.unit.first_subrun + 1

    def settings(self, check: str) -> dict[str, float | str]:
        """Return how the spec tunes a check; empty where it does not."""
        return dict(dict(self.stage.check_settings).get(check, ()))

    def files(self) -> tuple[tuple[OutputPlan, ReportedOutput], ...]:
        """Return each planned output with what the execution says of it, in the plan's order."""
        if self.report is None:
            return ()
        told = {output.name: output for output in self.report.outputs}
        return tuple((plan, told[plan.name]) for plan in self.stage.outputs if plan.name in told)

    def merged(self) -> tuple[OutputRecord, ...] | None:
        """Return the records of a merge's inputs, in order; None where one of them is not known."""
        paths = [path for _, named in self.unit.inputs for path in named]
        if any(path not in self.sources for path in paths):
            return None
        return tuple(self.sources[path] for path in paths)

    def lags(self) -> bool:
        """Whether it ended so lately that what it published may not be visible yet."""
        ad, report = self.evidence.ad, self.report
        ended: float | None = ad.ended_at if ad is not None and ad.status.ended else None
        if ended is None and report is not None:
            ended = report.ended
        return ended is None or self.now - ended < VISIBLE_AFTER_S

    def expected_events(self, plan: OutputPlan) -> int | None:
        """Return how many events the output must hold; None where the spec, or the ledger, does not say."""
        if self.stage.is_merge:
            counts = [record.events for record in self.merged() or ()]
            known = [count for count in counts if count is not None]
            return sum(known) if known and len(known) == len(counts) else None
        return None if plan.events is None else plan.events * self.subruns


def passed(check: str, reason: str = "", evidence: str = "") -> Verdict:
    """Return a verdict that says the evidence proves it good."""
    return Verdict(check=check, outcome=Outcome.PASSED, reason=reason, evidence=evidence)


def failed(check: str, reason: str, evidence: str) -> Verdict:
    """Return a verdict that says the evidence proves it bad."""
    return Verdict(check=check, outcome=Outcome.FAILED, reason=reason, evidence=evidence)


def unknown(check: str, reason: str, evidence: str) -> Verdict:
    """Return a verdict that says there is not enough evidence."""
    return Verdict(check=check, outcome=Outcome.UNKNOWN, reason=reason, evidence=evidence)


def inputs_unknown(check: str, case: Case) -> Verdict:
    """Return the verdict on a merge some of whose inputs the ledger does not know: nothing to add up."""
    lost = [path for _, named in case.unit.inputs for path in named if path not in case.sources]
    return unknown(
        check, f"inputs not in the ledger: {len(lost)} of the merged files, nothing to compare with", lost[0]
    )


def sum_unknown(check: str, case: Case) -> Verdict:
    """Return the verdict on a merge of files whose events nobody counted: what must add up is not known."""
    merged = case.merged() or ()
    lost = [record.path for record in merged if record.events is None]
    reason = f"sum of the inputs' events not known: {len(lost)} of {len(merged)} have no count in the ledger"
    return unknown(check, reason, lost[0] if lost else case.logs)


def not_read(check: str, path: str, error: OSError) -> Verdict:
    """Return the verdict on a file that could not be read: bad only if it is certainly not there."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return failed(check, f"file not on the outstage: {path}", path)
    return unknown(check, f"file cannot be read: {error.strerror or error}", path)


def storage_trouble(error: BaseException) -> OSError | None:
    """Return the error if it speaks of the storage and not of the file's content."""
    if isinstance(error, OSError) and error.errno in _STORAGE_TROUBLE:
        return error
    return None
