"""${message}."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    """Go from ${down_revision or "nothing"} to ${up_revision}."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Refuse: the database only goes forward; restore a backup to go back."""
    raise NotImplementedError
