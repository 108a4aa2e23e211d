"""The page of a campaign's failures: what failed alike, where and when, and what is asked of a person."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.progress.campaign import chosen_tranche
from include.recovery.background import from_tallies
from include.triage.groups import cross, group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.overview_records import OpenQuestion
    from include.bookkeeping.records import StageDiagnosis
    from include.triage.groups import Group

LOOKED_AT = 5000
"""Diagnoses, the newest ones."""
CELLS = 15
"""Rows of a cross table."""
SPAN_S = 14 * 86400.0
"""Time over which jobs that did not fail are looked at, seconds."""
CROSSED = (("rule", "node"), ("rule", "site"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cross:
    """Failures counted by two things at once, commonest first."""

    by: tuple[str, ...]
    cells: tuple[tuple[tuple[str, ...], int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailuresPage:
    """The failures of one tranche whose subruns are still not accepted."""

    at: float
    dag_id: str
    tranche: str
    dag_run_id: str
    jobs: int
    cut: bool
    """Whether there are more failures than were looked at."""
    groups: tuple[Group, ...]
    """Those about which something is unusual first, then the most harmful."""
    crosses: tuple[Cross, ...]
    times: tuple[tuple[float, int], ...]
    """(beginning of the hour, jobs that failed in it)."""
    questions: tuple[tuple[OpenQuestion, int], ...]
    """(question, index of its slice)."""
    places: tuple[tuple[str, str, int], ...]
    """(tag, stage, run) of the groups' examples, in their order."""


def failures_page(ledger: Ledger, dag_id: str, tranche: str | None, *, now: float) -> FailuresPage:
    """Return the page of a tranche, without one of the latest; ProdsysError where there is none."""
    tranches = ledger.tranche_list(dag_id)
    chosen = chosen_tranche(dag_id, tranche, [each[0] for each in tranches])
    found = ledger.diagnoses(dag_id=dag_id, tranche=chosen, open_only=True, limit=LOOKED_AT + 1)
    looked = found[:LOOKED_AT]
    tallies = ledger.node_tallies(now - SPAN_S, now, dag_id=dag_id) if looked else []
    groups = group(looked, background=from_tallies(tallies, ledger.node_facts())) if looked else []
    groups = sorted(groups, key=lambda one: not one.unusual)
    overview = ledger.overview(times=(), dag_id=dag_id, tranche=chosen)
    index = {each.run: each.index for each in ledger.slices_of(dag_id, chosen)}
    return FailuresPage(
        at=now,
        dag_id=dag_id,
        tranche=chosen,
        dag_run_id=overview.tranches[0].dag_run_id,
        jobs=len(looked),
        cut=len(found) > LOOKED_AT,
        groups=tuple(groups),
        crosses=tuple(Cross(by=by, cells=tuple(cross(looked, by)[:CELLS])) for by in CROSSED)
        if looked
        else (),
        times=tuple(_by_hour(looked)),
        questions=tuple((each, index.get(each.run, -1)) for each in overview.questions),
        places=tuple((one.example.tag, one.example.stage, one.example.run) for one in groups),
    )


def _by_hour(diagnoses: Sequence[StageDiagnosis]) -> list[tuple[float, int]]:
    hours = Counter(int(at // 3600) for each in diagnoses if (at := each.diagnosis.at) is not None)
    return [(3600.0 * hour, hours[hour]) for hour in sorted(hours)]
