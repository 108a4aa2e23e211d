"""The DAG that raises an alarm where ledger, pool and storage have disagreed for too long."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from prodsys_operators.scope import open_ledger

if TYPE_CHECKING:
    from airflow.sdk import Context

DAG_ID = "prodsys_truth"
EVERY = dt.timedelta(minutes=5)
START_DATE = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
DOC = """\
Holds what the ledger says of the last week's submissions against the queues and the storage, every five
minutes. A run that fails is the alarm: its log has each disagreement that has lasted for longer than
`[prodsys] truth_limit`, with both sides' figures and what to do. `prodsys truth` does the same by hand.
"""


class CompareOperator(BaseOperator):
    """Compares ledger, pool and storage; fails where they have disagreed for longer than the limit."""

    ui_color = "#f5d9d5"

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Return how much was compared."""
        from include.data.storage import PosixStorage
        from include.recovery.truth import compare

        with open_ledger() as (deployment, ledger), deployment.open_pool() as pool:
            found = compare(ledger, pool, PosixStorage(), now=time.time(), limit_s=deployment.truth_limit)
        for line in found.no_answer:
            self.log.warning("not known: %s", line)
        self.log.info(
            "%d submissions, %d of %d accepted files were compared",
            found.submissions,
            found.files,
            found.accepted,
        )
        for each in found.disagreements:
            self.log.error("%s", each.text)
        if found.disagreements:
            raise AirflowFailException(
                f"{len(found.disagreements)} disagreements have lasted for more than "
                f"{deployment.truth_limit:.0f} s; see above for each"
            )
        return {"submissions": found.submissions, "files": found.files}


def build_truth() -> DAG:
    """Build the DAG."""
    with DAG(
        dag_id=DAG_ID,
        description="Raises an alarm where ledger, pool and storage disagree",
        schedule=EVERY,
        start_date=START_DATE,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        tags=["prodsys"],
        default_args={"owner": "prodsys", "retries": 0},
        doc_md=DOC,
    ) as dag:
        CompareOperator(task_id="compare")
    return dag
