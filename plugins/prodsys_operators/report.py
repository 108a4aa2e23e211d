"""Say what a dag_run made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from prodsys_operators.scope import open_ledger, tranche_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportOperator(BaseOperator):
    """Writes the dag_run's figures; fails where a stage is short of its threshold, so that it shows."""

    ui_color = "#dce8f7"

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "all_done")
        super().__init__(**kwargs)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return one row a stage: subruns, accepted, missing, unknown, duplicates."""
        dag_id, tranche = context["dag_run"].dag_id, tranche_of(context)
        with open_ledger() as (_, ledger):
            plan = ledger.plan_of(dag_id, tranche)
            progress = ledger.stage_progress(dag_id, tranche)
        rows = [
            {
                "stage": row.stage,
                "subruns": row.subruns,
                "accepted": row.accepted,
                "missing": row.missing,
                "unknown": row.unknown,
                "duplicates": row.duplicates,
            }
            for row in progress
        ]
        accepted = {row.stage: row.accepted for row in progress}
        short = []
        for row in progress:
            stage = plan.stage(row.stage)
            # What a stage could make: what its parents made. Nothing was asked of it for the rest.
            possible = min([accepted[parent] for parent in stage.parents], default=row.subruns)
            open_ends = row.unknown - (row.subruns - possible)
            self.log.info(
                "%-16s %d of %d subruns accepted, %d missing, %d unknown, %d duplicate files",
                row.stage,
                row.accepted,
                row.subruns,
                row.missing,
                row.unknown,
                row.duplicates,
            )
            if row.accepted < possible * stage.success_threshold or open_ends > 0 or not row.accepted:
                short.append(row.stage)
        if short:
            raise AirflowFailException(
                f"not complete: {', '.join(short)}; the check tasks of these stages say why"
            )
        return rows
