"""What tasks import, imported once before the processes that run them are forked."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = (
    "prodsys_operators.campaign_dag",
    "prodsys_operators.holds",
    "prodsys_operators.sending",
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
    # What they import when they first need it: files of ROOT and HDF5, plots of the report.
    "h5py",
    "jinja2",
    "matplotlib.dates",
    "matplotlib.figure",
    "uproot",
)
"""Never htcondor: it has a process of its own, which starts clean."""


def preload() -> Iterator[str]:
    """Import what tasks import; yield a sentence for each module that cannot be: its task fails by it."""
    key = "OPENBLAS_NUM_THREADS"
    threads = os.environ.get(key)
    # numpy would start one for each core, in a process that is about to be forked.
    os.environ[key] = "1"
    try:
        for name in MODULES:
            try:
                importlib.import_module(name)
            except Exception as error:  # noqa: BLE001 - the scheduler has to live
                yield f"{name}: {type(error).__name__}: {error}"
    finally:
        if threads is None:
            del os.environ[key]
        else:
            os.environ[key] = threads
