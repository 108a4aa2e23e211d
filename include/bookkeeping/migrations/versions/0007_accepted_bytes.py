"""The size of all files that were ever accepted, from which pages tell what a whole stage takes."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FILL = """
UPDATE stage_counts SET accepted_bytes = coalesce((
  SELECT sum(o.size) FROM outputs o
  WHERE o.experiment = stage_counts.experiment AND o.run = stage_counts.run AND o.stage = stage_counts.stage
    AND o.accepted_at IS NOT NULL), 0)
"""


def upgrade() -> None:
    """Add it, and sum up what is there."""
    op.add_column(
        "stage_counts",
        sa.Column(
            "accepted_bytes",
            sa.BigInteger(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Of files that were ever accepted.",
        ),
    )
    op.execute(FILL)


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError
