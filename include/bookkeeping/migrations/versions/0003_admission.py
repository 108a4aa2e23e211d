"""Who may send jobs: open jobs of submissions, slices in flight, and the queue of those that ask."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; what was sent and has not ended counts in full until it is polled or checked again."""
    op.add_column(
        "submissions",
        sa.Column(
            "jobs_open",
            sa.Integer(),
            nullable=False,
            server_default=sa.text("0"),
            comment="Jobs that are not known to have ended; before they are sent, those to be sent.",
        ),
    )
    op.add_column(
        "slices",
        sa.Column(
            "in_flight_since",
            sa.Double(),
            nullable=True,
            comment="Since when it has a place in flight; null: it has none.",
        ),
    )
    op.add_column(
        "slices",
        sa.Column(
            "finished_at",
            sa.Double(),
            nullable=True,
            comment="When its cleanup was done; null: it is not.",
        ),
    )
    op.execute(
        "UPDATE submissions SET jobs_open = (SELECT count(*) FROM submission_units"
        " WHERE submission_units.submission_id = submissions.id) WHERE state = 'submitted'"
    )
    op.execute(
        "UPDATE slices SET in_flight_since = (SELECT min(submissions.intended_at) FROM submissions"
        " WHERE submissions.dag_id = slices.dag_id AND submissions.tranche = slices.tranche"
        " AND submissions.run = slices.run AND submissions.jobs_open > 0)"
    )
    _admissions()
    _indexes()


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError


def _admissions() -> None:
    op.create_table(
        "admissions",
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "stage_number", sa.Integer(), nullable=False, comment="Its stage's place in the plan, from 0."
        ),
        sa.Column("jobs_limit", sa.Integer(), nullable=True, comment="Of its dag_run's plan; null: none."),
        sa.Column("slices_limit", sa.Integer(), nullable=True, comment="Of its dag_run's plan; null: none."),
        sa.Column("since", sa.Double(), nullable=False, comment="Since when it has been asking."),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("admitted_at", sa.Double(), nullable=True, comment="Null: it waits."),
        sa.CheckConstraint(
            "(jobs_limit IS NULL OR jobs_limit >= 1) AND (slices_limit IS NULL OR slices_limit >= 1)",
            name=op.f("ck_admissions_limits"),
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_admissions_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_admissions")),
        comment="Submissions that asked to be sent: who waits since when, and who may send.",
    )
    op.create_index(op.f("ix_admissions_admitted_at"), "admissions", ["admitted_at"], unique=False)


def _indexes() -> None:
    for name, table, condition in (
        ("ix_submissions_open", "submissions", "jobs_open > 0"),
        ("ix_slices_in_flight", "slices", "in_flight_since IS NOT NULL"),
    ):
        where = sa.text(condition)
        op.create_index(name, table, ["dag_id"], sqlite_where=where, postgresql_where=where)
