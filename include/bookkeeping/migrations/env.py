"""Alembic's environment: runs inside the transaction of the connection that `schema.upgrade` passes."""

from __future__ import annotations

from alembic import context  # noqa: TID253  alembic alone loads this file

from include.bookkeeping.count_tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, compare_type=True
)
with context.begin_transaction():
    context.run_migrations()
