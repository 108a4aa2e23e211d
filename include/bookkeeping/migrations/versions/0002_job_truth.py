"""States of units, diagnoses, actions, exclusions and facts on nodes."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; units keep a null state until they are checked again."""
    # Not op.add_column: it makes the check one of the table, and SQLite cannot add such a one.
    op.execute(
        "ALTER TABLE submission_units ADD COLUMN state TEXT CONSTRAINT ck_submission_units_state"
        " CHECK (state IN ('accepted', 'missing', 'unknown'))"
    )
    op.add_column(
        "submission_units", sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column(
        "submissions",
        sa.Column(
            "changes",
            sa.JSON(),
            nullable=True,
            comment="What it asks for instead of the plan's; null: nothing.",
        ),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_table_comment(
            "submission_units",
            "What each process of a submission makes, and how it stands after the latest check.",
            existing_comment="What each process of a submission makes.",
        )
    op.create_index(op.f("ix_jobs_ended_at"), "jobs", ["ended_at"], unique=False)
    _diagnoses()
    _actions()
    _exclusions()
    _node_facts()


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError


def _diagnoses() -> None:
    op.create_table(
        "diagnoses",
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("first_subrun", sa.BigInteger(), nullable=False),
        sa.Column("last_subrun", sa.BigInteger(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("exit_signal", sa.Integer(), nullable=True),
        sa.Column("at", sa.Double(), nullable=True),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("shadow", sa.Text(), nullable=False),
        sa.Column("diagnosed_at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "first_subrun >= 0 AND last_subrun >= first_subrun", name=op.f("ck_diagnoses_subruns")
        ),
        sa.CheckConstraint(
            "remedy IN ('same', 'more-memory', 'more-disk', 'more-time', 'other-node', 'other-site', 'none', "
            "'person')",
            name=op.f("ck_diagnoses_remedy"),
        ),
        sa.ForeignKeyConstraint(
            ["submission_id", "process"],
            ["submission_units.submission_id", "submission_units.process"],
            name=op.f("fk_diagnoses_submission_id_process"),
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_diagnoses_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", "position", name=op.f("pk_diagnoses")),
        comment="Why processes left subruns without an accepted output; kept once there is one.",
    )
    op.create_index(
        op.f("ix_diagnoses_submission_id_process"), "diagnoses", ["submission_id", "process"], unique=False
    )


def _actions() -> None:
    op.create_table(
        "actions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="sha256 of the rest of the row."),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("tranche", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("jobs", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('recover', 'release', 'remove', 'exclude', 'lift', 'ask', 'recover-again', 'accept', "
            "'stop')",
            name=op.f("ck_actions_kind"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actions")),
        sa.UniqueConstraint("digest", name=op.f("uq_actions_digest")),
        comment="What was done, by prodsys or by a person; may be written before the act.",
    )
    op.create_index(op.f("ix_actions_dag_id_tranche"), "actions", ["dag_id", "tranche"], unique=False)
    op.create_index(op.f("ix_actions_tag"), "actions", ["tag"], unique=False)


def _exclusions() -> None:
    op.create_table(
        "exclusions",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("lifted_at", sa.Double(), nullable=True),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.CheckConstraint("kind IN ('node', 'site')", name=op.f("ck_exclusions_kind")),
        sa.CheckConstraint("number >= 1", name=op.f("ck_exclusions_number")),
        sa.CheckConstraint("until > since", name=op.f("ck_exclusions_times")),
        sa.CheckConstraint("(lifted_at IS NULL) = (lifted_by IS NULL)", name=op.f("ck_exclusions_lifted")),
        sa.PrimaryKeyConstraint("kind", "name", "number", name=op.f("pk_exclusions")),
        comment="Nodes and sites that get no jobs for a while; `number` counts how often it was.",
    )


def _node_facts() -> None:
    op.create_table(
        "node_facts",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("cvmfs", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_node_facts")),
        comment="The latest that a job's probe said of each node.",
    )
    op.create_table(
        "node_cvmfs",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_seen_at", sa.Double(), nullable=False),
        sa.Column("last_seen_at", sa.Double(), nullable=False),
        sa.CheckConstraint("revision >= 0", name=op.f("ck_node_cvmfs_revision")),
        sa.CheckConstraint("last_seen_at >= first_seen_at", name=op.f("ck_node_cvmfs_times")),
        sa.PrimaryKeyConstraint("host", "repository", "revision", name=op.f("pk_node_cvmfs")),
        comment="When each node was seen with each revision of a CVMFS repository.",
    )
