"""The ledger's tables about nodes and sites."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.tables import FreeText, metadata

__all__ = ["exclusions", "metadata", "node_cvmfs", "node_facts"]

exclusions = sa.Table(
    "exclusions",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
    sa.Column("by", FreeText, nullable=False),
    sa.Column("reason", FreeText, nullable=False),
    sa.Column("lifted_at", sa.Double),
    sa.Column("lifted_by", FreeText),
    sa.CheckConstraint("kind IN ('node', 'site')", name="kind"),
    sa.CheckConstraint("number >= 1", name="number"),
    sa.CheckConstraint("until > since", name="times"),
    sa.CheckConstraint("(lifted_at IS NULL) = (lifted_by IS NULL)", name="lifted"),
    comment="Nodes and sites that get no jobs for a while; `number` counts how often it was.",
)

node_facts = sa.Table(
    "node_facts",
    metadata,
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("site", FreeText),
    sa.Column("seen_at", sa.Double, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("cvmfs", sa.JSON, nullable=False),
    comment="The latest that a job's probe said of each node.",
)

node_cvmfs = sa.Table(
    "node_cvmfs",
    metadata,
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("repository", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("first_seen_at", sa.Double, nullable=False),
    sa.Column("last_seen_at", sa.Double, nullable=False),
    sa.CheckConstraint("revision >= 0", name="revision"),
    sa.CheckConstraint("last_seen_at >= first_seen_at", name="times"),
    comment="When each node was seen with each revision of a CVMFS repository.",
)
