"""Which units each cluster makes, where a submission has several."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; a submission of before has one cluster, which begins with unit 0."""
    op.add_column(
        "clusters",
        sa.Column(
            "first_unit",
            sa.Integer(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Unit that process 0 makes; process p makes this plus p.",
        ),
    )


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError
