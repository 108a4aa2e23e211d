"""Where the event log of a cluster lies, so that a job's page can tell its events."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; the next check of a cluster fills it."""
    op.add_column(
        "clusters",
        sa.Column(
            "event_log",
            sa.Text(),
            nullable=True,
            comment="On the schedd's machine, as the last check's ads name it.",
        ),
    )


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError
