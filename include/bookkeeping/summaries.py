"""Tables for people: the ledger's records as pandas frames."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING

from include.bookkeeping.records import StageProgress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import OpenVerdict

STAGE_COLUMNS = [*StageProgress.__dataclass_fields__, "complete"]
CAUSE = ["stage", "outcome", "check", "cause"]


def campaign_summary(ledger: Ledger, dag_id: str) -> pd.DataFrame:
    """Return one row a tranche and stage, oldest tranche first: subruns by what became of them."""
    rows = []
    for tranche in ledger.tranches(dag_id):
        runs = [each.run for each in ledger.slices_of(dag_id, tranche)]
        place = {"tranche": tranche, "slices": len(runs), "first_run": min(runs), "last_run": max(runs)}
        rows += [{**place, **_progress(each)} for each in ledger.stage_progress(dag_id, tranche)]
    return _frame(rows, ["tranche", "slices", "first_run", "last_run", *STAGE_COLUMNS])


def cause_summary(ledger: Ledger, dag_id: str, tranche: str) -> pd.DataFrame:
    """Return one row a stage and cause of subruns that are not accepted, with an example; the most first."""
    opened = _frame(
        [_cause(each) for each in ledger.open_verdicts(dag_id, tranche)],
        [*CAUSE, "subruns", "run", "subrun", "reason", "evidence"],
    )
    grouped = opened.groupby(CAUSE, sort=False, as_index=False).agg(
        jobs=("subruns", "size"),
        subruns=("subruns", "sum"),
        run=("run", "first"),
        subrun=("subrun", "first"),
        reason=("reason", "first"),
        evidence=("evidence", "first"),
    )
    return grouped.sort_values("subruns", ascending=False, kind="stable", ignore_index=True)


def _progress(progress: StageProgress) -> dict[str, object]:
    complete = progress.accepted / progress.subruns if progress.subruns else 0.0
    return {**asdict(progress), "complete": complete}


def _cause(opened: OpenVerdict) -> dict[str, object]:
    """Return a row; the cause is the reason without what is the job's own, as the check's log has it."""
    verdict = opened.verdict
    cause = verdict.reason.partition(": ")[0].partition(" (")[0]
    return {
        "stage": opened.stage,
        "outcome": verdict.outcome.value,
        "check": verdict.check,
        "cause": re.sub(r"process [0-9]+ .*", "it", cause),
        "subruns": verdict.last_subrun - verdict.first_subrun + 1,
        "run": opened.run,
        "subrun": verdict.first_subrun,
        "reason": verdict.reason,
        "evidence": verdict.evidence,
    }


def _frame(rows: Sequence[Mapping[str, object]], columns: list[str]) -> pd.DataFrame:
    import pandas as pd  # takes half a second, and only summaries need it

    return pd.DataFrame(rows, columns=columns)
