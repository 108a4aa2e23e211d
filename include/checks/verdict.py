"""A verdict: what a check found, why, and the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.campaign.states import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One check's word on one job's subruns."""

    check: str
    outcome: Outcome
    reason: str
    """One sentence; empty only when passed."""
    evidence: str = ""
    """Where to look: a file (with :line where there is one), an ad attribute with its value, a job id."""
    counted: tuple[tuple[str, int], ...] = ()
    """(output name, events) of the files in which the check counted them."""
