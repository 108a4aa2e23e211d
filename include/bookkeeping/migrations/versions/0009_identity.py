"""The ledger's own name, and for each tranche the name that its tags end with."""

from __future__ import annotations

import secrets

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Name the ledger at random; tranches that are there have tags without a name, and keep them."""
    table = op.create_table(
        "identity",
        sa.Column("name", sa.Text, nullable=False, comment="Ends the tags of new tranches."),
        sa.PrimaryKeyConstraint("name", name="pk_identity"),
        comment="One row: what tells this ledger's jobs from those of another on the same schedds.",
    )
    op.bulk_insert(table, [{"name": secrets.token_hex(4)}])
    op.add_column(
        "dag_runs",
        sa.Column("ledger_name", sa.Text(), nullable=False, server_default="", comment="Ends its tags."),
    )


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError
