"""The ledger's tables of counts, kept up to date with what they count, so that pages need not count."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.admission_tables import metadata
from include.bookkeeping.tables import actions, clusters, slices

__all__ = ["metadata", "stage_counts", "stage_marks"]


def _of_slice() -> tuple[sa.Column[str], sa.Column[int], sa.Column[str]]:
    return (
        sa.Column("experiment", sa.Text, primary_key=True),
        sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stage", sa.Text, primary_key=True),
    )


stage_counts = sa.Table(
    "stage_counts",
    metadata,
    *_of_slice(),
    sa.Column("dag_id", sa.Text, nullable=False),
    sa.Column("tranche", sa.Text, nullable=False),
    sa.Column("stage_number", sa.Integer, nullable=False, comment="The stage's place in the plan, from 0."),
    sa.Column("is_merge", sa.Boolean, nullable=False),
    sa.Column("subruns", sa.BigInteger, nullable=False),
    sa.Column("accepted", sa.BigInteger, nullable=False),
    sa.Column("missing", sa.BigInteger, nullable=False),
    sa.Column("held", sa.BigInteger, nullable=False, comment="Unknown since their jobs are held."),
    sa.Column("sent", sa.BigInteger, nullable=False, comment="In a submission that was not refused."),
    sa.Column("duplicates", sa.BigInteger, nullable=False, comment="Files beyond the accepted ones."),
    sa.Column("duplicate_bytes", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="Of accepted files that are still there."),
    sa.Column("events", sa.BigInteger, nullable=False, comment="In files that were ever accepted."),
    sa.Column("changed_at", sa.Double, nullable=False),
    sa.Column(
        "accepted_bytes",
        sa.BigInteger,
        nullable=False,
        server_default=sa.text("0"),
        comment="Of files that were ever accepted.",
    ),
    sa.ForeignKeyConstraint(["experiment", "run"], [slices.c.experiment, slices.c.run]),
    sa.Index(None, "dag_id", "tranche"),
    comment="What became of the subruns of each stage of each slice, as of its last change.",
)

stage_marks = sa.Table(
    "stage_marks",
    metadata,
    *_of_slice(),
    sa.Column("at", sa.Double, primary_key=True),
    sa.Column("accepted", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["experiment", "run"], [slices.c.experiment, slices.c.run]),
    comment="How many subruns were accepted, after each check that accepted some, or that found none yet.",
)

sa.Index("ix_clusters_cluster", clusters.c.cluster)
sa.Index("ix_actions_kind", actions.c.kind)
