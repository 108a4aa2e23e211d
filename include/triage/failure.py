"""What triage is given of one failed job, and what it says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.batch.pool import JobAd
    from include.campaign.states import HoldAction, Remedy
    from include.checks.reports import Report
    from include.checks.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One process of a submission without an accepted output, and the evidence there is on it."""

    stage: str
    run: int
    process: int
    first_subrun: int
    last_subrun: int
    job_id: str
    """Empty where no job is known."""
    verdict: Verdict
    """The one that decided."""
    ad: JobAd | None
    report: Report | None
    """Of the execution that was judged, else the last; None where none reported."""
    log: str
    """Path of that execution's log; empty where there is none."""
    held: bool
    """Whether its job is held now."""
    requested_memory_mb: int | None = None
    """What the submission asked for."""
    lifetime_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What triage says of one failure."""

    failure: Failure
    category: str
    """`unclassified` where no rule fits."""
    rule: str
    """Empty where none fits."""
    cause: str
    """One sentence."""
    evidence: str
    """`FILE:LINE: text`, an attribute with its value, or a job id: the first cause, not the last line."""
    advice: str
    remedy: Remedy
    hold: HoldAction
    """What to do about the job where it is held."""
    hold_pause_s: int
    """Before that is done, seconds since the hold."""
    signature: str
    """Normalised evidence text; groups what no rule fits."""
    shadow: str = ""
    """A shadow rule that would have decided otherwise."""
