"""What tasks import, imported once before the processes that run them are forked."""

from __future__ import annotations

import importlib
import os

MODULES = (
    "prodsys_operators.campaign_dag",
    "prodsys_operators.holds",
    "prodsys_operators.sending",
    "prodsys_operators.truth",
    "include.batch.jobsub",
    "include.batch.launcher",
    "include.batch.package",
    "include.batch.pool_process",
    "include.batch.steady_time",
    "include.batch.submission",
    "include.bookkeeping.ledger",
    "include.checks.judge",
    "include.checks.wide",
    "include.data.cleanup",
    "include.logserver.records",
    "include.logserver.tokens",
    "include.merge.planner",
    "include.recovery.black_holes",
    "include.recovery.holds",
    "include.recovery.past",
    "include.recovery.recovered",
    "include.recovery.review",
    "include.recovery.story",
    "include.recovery.truth",
    "include.recovery.wide_checks",
    "include.reports.campaign",
    "include.reports.writing",
    "include.triage.classify",
    "uproot",
    # What the processes that start a task import of Airflow themselves.
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
)
"""Never htcondor, whose own process starts clean; nor what only a report or few campaigns need."""


def preload() -> list[tuple[str, Exception]]:
    """Import what tasks import; return each module that cannot be, with its error."""
    key = "OPENBLAS_NUM_THREADS"
    threads = os.environ.get(key)
    # numpy would start one for each core, in a process that is about to be forked.
    os.environ[key] = "1"
    troubles: list[tuple[str, Exception]] = []
    try:
        for name in MODULES:
            try:
                importlib.import_module(name)
            except Exception as error:  # noqa: BLE001 - the scheduler has to live
                troubles.append((name, error))
    finally:
        if threads is None:
            del os.environ[key]
        else:
            os.environ[key] = threads
    return troubles
