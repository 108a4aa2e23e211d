"""The ledger's own name, which the tags of its submissions end with."""

from __future__ import annotations

import secrets

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Name it at random; without a name where submissions have tags already, which must stay as they are."""
    table = op.create_table(
        "identity",
        sa.Column("name", sa.Text, nullable=False, comment="Ends the tags of its submissions; may be empty."),
        sa.PrimaryKeyConstraint("name", name="pk_identity"),
        comment="One row: what tells this ledger's jobs from those of another on the same schedds.",
    )
    used = op.get_bind().scalar(sa.text("SELECT count(*) FROM submissions"))
    op.bulk_insert(table, [{"name": "" if used else secrets.token_hex(4)}])


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError
