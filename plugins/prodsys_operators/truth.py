"""The DAG that raises an alarm where ledger, pool and storage have disagreed for too long."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.campaign.naming import interval_of
from include.errors import AirflowUnreachable
from prodsys_operators.scope import open_ledger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.recovery.orphans import AirflowRun

DAG_ID = "prodsys_truth"
EVERY = dt.timedelta(minutes=5)
START_DATE = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
DOC = """\
Holds what the ledger says of the last week's submissions against the queues and the storage, every five
minutes. A run that fails is the alarm: its log has each disagreement that has lasted for longer than
`[prodsys] truth_limit`, with both sides' figures and what to do. `prodsys truth` does the same by hand.
Jobs that no queue has, and that no task waits for any more, count as being in flight no longer from then on.
"""


class TaskRuns:
    """Knows Airflow's dag_runs by what a task may ask; implements `Runs` of include.recovery.orphans."""

    def dag_run(self, dag_id: str, run_id: str, *, tranche: str) -> AirflowRun:
        """See Runs."""
        from airflow.sdk.exceptions import AirflowRuntimeError
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance as Ask

        from include.recovery.orphans import AirflowRun

        try:
            if not Ask.get_dr_count(dag_id=dag_id, run_ids=[run_id]):
                # One of its interval that has not ended takes over what it left. A task may not ask for types
                # of dag_runs: one by hand with that logical date keeps the room taken until it ends.
                start = interval_of(tranche)
                waits = start is not None and Ask.get_dr_count(
                    dag_id=dag_id, logical_dates=[start], states=["queued", "running"]
                )
                return AirflowRun(state="queued" if waits else None)
            state: Any = Ask.get_dagrun_state(dag_id, run_id)  # an enum, though it is said to be a text
            states = Ask.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
        except AirflowRuntimeError as error:
            raise AirflowUnreachable(f"Airflow gave no answer about {dag_id} {run_id}: {error}") from error
        return AirflowRun(
            state=str(getattr(state, "value", state)),
            tasks={_place(name): each for name, each in states.items()},
        )


def _place(name: str) -> tuple[str, int]:
    """Return task_id and map_index of a task as Airflow's answer names it: `TASK_INDEX`, or `TASK` alone."""
    task, _, index = name.rpartition("_")
    return (task, int(index)) if task and index.isdecimal() else (name, -1)


class CompareOperator(BaseOperator):
    """Compares ledger, pool and storage; fails where they have disagreed for longer than the limit."""

    ui_color = "#f5d9d5"

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Return how much was compared."""
        from include.data.storage import PosixStorage
        from include.recovery.truth import compare

        with open_ledger() as (deployment, ledger), deployment.open_pool() as pool:
            limit_s, now = deployment.truth_limit, time.time()
            found = compare(ledger, pool, PosixStorage(), now=now, limit_s=limit_s, runs=TaskRuns())
        for line in found.given_back:
            self.log.warning("room is given back: %s", line)
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
