"""Tables for people: the ledger's records as pandas frames."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from include.bookkeeping.records import JobRecord, StageProgress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from include.bookkeeping.ledger import Ledger


def campaign_summary(ledger: Ledger, dag_id: str) -> pd.DataFrame:
    """Return one row a tranche and stage: runs, and subruns by what became of them."""
    rows = []
    for tranche in ledger.tranches(dag_id):
        runs = [each.run for each in ledger.slices_of(dag_id, tranche)]
        place = {"tranche": tranche, "slices": len(runs), "first_run": min(runs), "last_run": max(runs)}
        rows += [{**place, **_progress(each)} for each in ledger.stage_progress(dag_id, tranche)]
    return _frame(rows, ["tranche", "slices", "first_run", "last_run", *_STAGE_COLUMNS])


def stage_summary(ledger: Ledger, dag_id: str, tranche: str) -> pd.DataFrame:
    """Return one row a slice and stage: subruns by what became of them."""
    rows = [
        {"slice": each.index, "run": each.run, **_progress(progress)}
        for each in ledger.slices_of(dag_id, tranche)
        for progress in ledger.stage_progress(dag_id, tranche, run=each.run)
    ]
    return _frame(rows, ["slice", "run", *_STAGE_COLUMNS])


def job_summary(ledger: Ledger, tag: str) -> pd.DataFrame:
    """Return one row a job of the submission, the status by its name."""
    rows = [{**asdict(job), "status": job.status.name.lower()} for job in ledger.jobs(tag)]
    return _frame(rows, list(JobRecord.__dataclass_fields__))


_STAGE_COLUMNS = [*StageProgress.__dataclass_fields__, "complete"]


def _progress(progress: StageProgress) -> dict[str, object]:
    complete = progress.accepted / progress.subruns if progress.subruns else 0.0
    return {**asdict(progress), "complete": complete}


def _frame(rows: Sequence[Mapping[str, object]], columns: list[str]) -> pd.DataFrame:
    import pandas as pd  # takes half a second, and only summaries need it

    return pd.DataFrame(rows, columns=columns)
