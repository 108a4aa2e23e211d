"""The ledger's table of submissions that ask to be sent, and the indexes that make asking cheap."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.node_tables import metadata
from include.bookkeeping.tables import slices, submissions

__all__ = ["HAS_OPEN_JOBS", "HAS_PLACE", "admissions", "metadata"]

HAS_OPEN_JOBS = submissions.c.jobs_open > sa.literal_column("0")
"""Of an index's condition and of queries; a bound parameter would keep SQLite from using the index."""
HAS_PLACE = slices.c.in_flight_since.is_not(None)

admissions = sa.Table(
    "admissions",
    metadata,
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id), primary_key=True),
    sa.Column("stage_number", sa.Integer, nullable=False, comment="Its stage's place in the plan, from 0."),
    sa.Column("jobs_limit", sa.Integer, comment="Of its dag_run's plan; null: none."),
    sa.Column("slices_limit", sa.Integer, comment="Of its dag_run's plan; null: none."),
    sa.Column("since", sa.Double, nullable=False, comment="Since when it has been asking."),
    sa.Column("asked_at", sa.Double, nullable=False),
    sa.Column("admitted_at", sa.Double, comment="Null: it waits."),
    sa.Index(None, "admitted_at"),
    sa.CheckConstraint(
        "(jobs_limit IS NULL OR jobs_limit >= 1) AND (slices_limit IS NULL OR slices_limit >= 1)",
        name="limits",
    ),
    comment="Submissions that asked to be sent: who waits since when, and who may send.",
)

for _table, _condition, _name in (
    (submissions, HAS_OPEN_JOBS, "ix_submissions_open"),
    (slices, HAS_PLACE, "ix_slices_in_flight"),
):
    sa.Index(_name, _table.c.dag_id, sqlite_where=_condition, postgresql_where=_condition)
