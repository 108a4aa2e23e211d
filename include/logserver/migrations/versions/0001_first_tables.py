"""Submissions, logs, their blocks and words, and what was refused."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go from nothing to 0001."""
    _submissions()
    _logs()
    _blocks()
    _refusals()
    if op.get_bind().dialect.name == "sqlite":
        op.execute("CREATE VIRTUAL TABLE log_words USING fts5(words, content='', detail=none)")
    else:
        op.execute(
            "CREATE TABLE log_words (block_id BIGINT NOT NULL CONSTRAINT pk_log_words PRIMARY KEY"
            " CONSTRAINT fk_log_words_block_id REFERENCES log_blocks (id) ON DELETE CASCADE,"
            " words tsvector NOT NULL)"
        )
        op.execute("CREATE INDEX ix_log_words_words ON log_words USING gin (words)")


def downgrade() -> None:
    """Refuse: the database only goes forward; restore a backup to go back."""
    raise NotImplementedError


def _submissions() -> None:
    op.create_table(
        "log_submissions",
        sa.Column("id", ID, nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False, comment="Of log, stored."),
        sa.Column("logs", sa.BigInteger(), nullable=False, comment="Executions that have a log."),
        sa.PrimaryKeyConstraint("id", name="pk_log_submissions"),
        sa.UniqueConstraint("tag", name="uq_log_submissions_tag"),
        comment="Submissions whose jobs sent a log; what their tokens say of them.",
    )
    op.create_index("ix_log_submissions_dag_id_run", "log_submissions", ["dag_id", "run"])


def _logs() -> None:
    op.create_table(
        "log_logs",
        sa.Column("id", ID, nullable=False),
        sa.Column("submission_id", ID, nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in ("cluster", "process")),
        *(sa.Column(name, sa.Text()) for name in ("schedd", "global_job_id", "host", "site")),
        *(sa.Column(name, sa.BigInteger()) for name in ("first_subrun", "last_subrun")),
        sa.Column("node", sa.Text(), nullable=False, comment="JSON."),
        sa.Column("category", sa.Text(), nullable=False, comment="Triage's; empty: none."),
        sa.Column("began", sa.Double(), nullable=False, comment="First post, epoch seconds."),
        sa.Column("seen", sa.Double(), nullable=False, comment="Last post."),
        sa.Column("ended", sa.Double(), comment="Null: it did not say that it ended."),
        sa.Column("exit_code", sa.BigInteger()),
        sa.Column("failed_at", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Bytes that the job's log has."),
        sa.Column("have", sa.BigInteger(), nullable=False, comment="Offset behind the last stored byte."),
        sa.Column("stored", sa.BigInteger(), nullable=False, comment="Bytes that are stored."),
        sa.Column("tidy", sa.Boolean(), nullable=False, comment="Whether small blocks were put together."),
        sa.PrimaryKeyConstraint("id", name="pk_log_logs"),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["log_submissions.id"], name="fk_log_logs_submission_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("submission_id", "execution", name="uq_log_logs_submission_id_execution"),
        comment="One execution's log.",
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_log_logs_cluster_process", "log_logs", ["cluster", "process"])
    op.create_index("ix_log_logs_host", "log_logs", ["host"])


def _blocks() -> None:
    op.create_table(
        "log_blocks",
        sa.Column("id", ID, nullable=False),
        sa.Column("log_id", ID, nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False, comment="Offset of the first byte."),
        sa.Column("stop", sa.BigInteger(), nullable=False, comment="Offset behind the last."),
        sa.Column("at", sa.Double(), nullable=False, comment="When it came."),
        sa.Column("data", sa.LargeBinary(), nullable=False, comment="As the job sent it."),
        sa.PrimaryKeyConstraint("id", name="pk_log_blocks"),
        sa.ForeignKeyConstraint(["log_id"], ["log_logs.id"], name="fk_log_blocks_log_id", ondelete="CASCADE"),
        sa.UniqueConstraint("log_id", "start", name="uq_log_blocks_log_id_start"),
        comment="Pieces of logs; two of one log never overlap. What lies between is not stored.",
    )


def _refusals() -> None:
    op.create_table(
        "log_refusals",
        sa.Column("day", sa.Text(), nullable=False, comment="UTC, YYYY-MM-DD."),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "reason", name="pk_log_refusals"),
        comment="Posts that were not taken, counted by every server.",
    )
