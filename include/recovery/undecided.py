"""Why nobody knows how some subruns of a stage stand, in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from include.campaign.states import Outcome
from include.triage.facts import clean

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import OpenVerdict, Slice
    from include.recovery.standing import Standing

SHOWN = 5
MAX_TEXT = 300
"""Characters."""
ADVICE = (
    "mend what keeps it from being known (storage, schedd), then clear the stage's check task; a recovery "
    "would make these subruns a second time, and what turns up of the first is a duplicate then"
)
NOT_JUDGED = "no verdict on them yet, or one on an earlier submission of theirs is still open"
_NUMBER = re.compile(r"\d+")


def undecided(ledger: Ledger, item: Slice, standing: Standing) -> list[str]:
    """Return lines on the subruns that are unknown, held ones aside: how many, why, what to do; else none."""
    still = standing.unknown - standing.held
    if not still:
        return []
    groups: dict[str, list[OpenVerdict]] = {}
    for each in ledger.open_verdicts(item.dag_id, item.tranche, run=item.run, stage=standing.stage):
        if each.verdict.outcome is Outcome.UNKNOWN and still.intersection(_subruns(each)):
            groups.setdefault(_NUMBER.sub("#", each.verdict.reason), []).append(each)
    told = {subrun for some in groups.values() for each in some for subrun in _subruns(each)}
    ordered = sorted(groups.values(), key=len, reverse=True)
    lines = []
    for some in ordered[:SHOWN]:
        verdict, count = some[0].verdict, sum(len(still.intersection(_subruns(each))) for each in some)
        lines.append(f"not known: {count} subruns: {verdict.reason} [check {verdict.check}]")
        lines.append(f"    evidence: {verdict.evidence or 'none'}")
        lines.append(f"    example: {some[0].tag} process {verdict.process}, subrun {verdict.first_subrun}")
    if rest := sum(len(still.intersection(_subruns(each))) for some in ordered[SHOWN:] for each in some):
        lines.append(f"not known: {rest} subruns for {len(ordered) - SHOWN} rarer reasons")
    if others := len(still - told):
        lines.append(f"not known: {others} subruns: {NOT_JUDGED}")
    return [*(_bounded(line) for line in lines), f"    to do: {ADVICE}"]


def _subruns(opened: OpenVerdict) -> range:
    return range(opened.verdict.first_subrun, opened.verdict.last_subrun + 1)


def _bounded(line: str) -> str:
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + clean(line, MAX_TEXT)
