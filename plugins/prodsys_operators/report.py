"""Say what a dag_run made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.bookkeeping.admission_story import left_behind
from include.errors import ProdsysError
from prodsys_operators.scope import SLICE_GROUP, open_ledger, tranche_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow.sdk import Context

SHOWN = 10


class CampaignUnknown(ProdsysError):
    """A check of the experiment's own could not tell; asking again may help, so Airflow retries."""


class ReportOperator(BaseOperator):
    """Writes the dag_run's figures, and fails where a task of it failed.

    It is the DAG's only leaf and runs whatever happened before, so a dag_run is as good as its report.
    """

    ui_color = "#dce8f7"

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", "all_done")
        super().__init__(**kwargs)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return one row a stage: subruns, accepted, missing, not made, duplicates."""
        dag_run = context["dag_run"]
        ti: Any = context["ti"]  # its protocol leaves get_task_breadcrumbs out
        tasks = list(ti.get_task_breadcrumbs(dag_run.dag_id, dag_run.run_id))
        failed = [f"{task['task_id']} [{task['map_index']}]" for task in tasks if task["state"] == "failed"]
        self.close(dag_run.dag_id, tranche_of(context))
        rows = [] if "reserve [-1]" in failed else self.figures(dag_run.dag_id, tranche_of(context))
        if rows:
            self.write(dag_run.dag_id, tranche_of(context))
        if not failed:
            self.require_stages({task["task_id"] for task in tasks if task["state"] != "removed"}, rows)
            self.run_own_checks(dag_run.dag_id, tranche_of(context))
        if failed:
            more = f" and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
            raise AirflowFailException(
                f"not complete; failed: {', '.join(failed[:SHOWN])}{more}. Their logs say why"
            )
        return rows

    def write(self, dag_id: str, tranche: str) -> None:
        """Write the report's page and JSON below the area; what hinders it hinders nothing else."""
        from include.reports.campaign import campaign_report
        from include.reports.writing import report_path, write

        try:
            with open_ledger() as (deployment, ledger):
                made = campaign_report(ledger, dag_id, now=time.time(), tranche=tranche)
            html = report_path(Path(deployment.area), dag_id, tranche)
            write(made, html, html.with_suffix(".json"))
        except ProdsysError as error:
            self.log.warning("%s", error)
        else:
            self.log.info("report: %s", html)

    def close(self, dag_id: str, tranche: str) -> None:
        """Give back what the dag_run's slices hold, however they ended."""
        with open_ledger() as (_, ledger):
            for line in left_behind(ledger.close_tranche(dag_id, tranche)):
                self.log.warning("%s", line)

    def require_stages(self, task_ids: Collection[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Fail where the plan has a stage whose tasks went with a change of the spec."""
        gone = [row["stage"] for row in rows if f"{SLICE_GROUP}.{row['stage']}.submit" not in task_ids]
        if gone:
            raise AirflowFailException(
                f"not complete: this dag_run's plan has {', '.join(gone)}, but the spec has not any more, so "
                "nothing was submitted there. Put it back into the spec and clear this dag_run, or accept "
                "it as it is by marking this task as success"
            )

    def run_own_checks(self, dag_id: str, tranche: str) -> None:
        """Fail where a check of the experiment's own speaks against the dag_run as a whole."""
        from include.campaign.states import Outcome
        from include.recovery.wide_checks import campaign_verdicts, said

        with open_ledger() as (_, ledger):
            verdicts = campaign_verdicts(ledger, ledger.plan_of(dag_id, tranche), tranche)
        for each in verdicts:
            self.log.info("check %s: %s %s", each.verdict.check, each.verdict.outcome, each.verdict.reason)
        if wrong := said(verdicts, Outcome.FAILED):
            raise AirflowFailException(wrong)
        if unclear := said(verdicts, Outcome.UNKNOWN):
            raise CampaignUnknown(unclear)

    def figures(self, dag_id: str, tranche: str) -> list[dict[str, Any]]:
        """Log and return the figures."""
        with open_ledger() as (_, ledger):
            progress = ledger.stage_progress(dag_id, tranche)
            merged = [output.path for output in ledger.merged_outputs(dag_id, tranche)]
        for row in progress:
            self.log.info(
                "%-16s %d of %d subruns accepted, %d missing, %d not made or not known, %d duplicate files",
                row.stage,
                row.accepted,
                row.subruns,
                row.missing,
                row.unknown,
                row.duplicates,
            )
        for path in merged[:SHOWN]:
            self.log.info("merged: %s", path)
        if len(merged) > SHOWN:
            self.log.info("and %d more merged files; the ledger has them all", len(merged) - SHOWN)
        return [
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
