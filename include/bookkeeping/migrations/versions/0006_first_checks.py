"""First checks that accepted nothing, as marks of accepted subruns."""

from __future__ import annotations

from alembic import op  # noqa: TID253  alembic alone loads this file

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MARKS = """
INSERT INTO stage_marks (experiment, run, stage, at, accepted)
SELECT c.experiment, c.run, c.stage, min(v.judged_at), 0
FROM stage_counts c
JOIN submissions t ON t.dag_id = c.dag_id AND t.tranche = c.tranche AND t.run = c.run AND t.stage = c.stage
JOIN verdicts v ON v.submission_id = t.id
WHERE NOT EXISTS (
  SELECT 1 FROM stage_marks m WHERE m.experiment = c.experiment AND m.run = c.run AND m.stage = c.stage)
GROUP BY c.experiment, c.run, c.stage
"""
"""The latest checks of each submission are what is known of them."""


def upgrade() -> None:
    """Add them."""
    if op.get_bind().dialect.supports_comments:  # SQLite's does not
        op.create_table_comment(
            "stage_marks",
            "How many subruns were accepted, after each check that accepted some, or that found none yet.",
            existing_comment="How many subruns were accepted, after each check that accepted some.",
        )
    op.execute(MARKS)


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError
