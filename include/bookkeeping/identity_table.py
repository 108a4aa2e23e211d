"""The table with the ledger's own name."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.count_tables import metadata

__all__ = ["identity", "metadata"]

identity = sa.Table(
    "identity",
    metadata,
    sa.Column("name", sa.Text, primary_key=True, comment="Ends the tags of new tranches."),
    comment="One row: what tells this ledger's jobs from those of another on the same schedds.",
)
