"""The log server's tables: a database of their own, never Airflow's, and not the ledger's.

The words that blocks are found by are in `log_words`, which only migrations and SQL know: an FTS5 table
without content in SQLite, tsvectors with a GIN index in Postgres.
"""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = sa.MetaData(naming_convention=NAMING)

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

submissions = sa.Table(
    "log_submissions",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("tag", sa.Text, nullable=False, unique=True),
    sa.Column("dag_id", sa.Text, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False, comment="Of log, stored."),
    sa.Column("logs", sa.BigInteger, nullable=False, comment="Executions that have a log."),
    sa.Index(None, "dag_id", "run"),
    comment="Submissions whose jobs sent a log; what their tokens say of them.",
)

logs = sa.Table(
    "log_logs",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id, ondelete="CASCADE"), nullable=False),
    sa.Column("execution", sa.Text, nullable=False),
    sa.Column("cluster", sa.BigInteger),
    sa.Column("process", sa.BigInteger),
    sa.Column("schedd", sa.Text),
    sa.Column("global_job_id", sa.Text),
    sa.Column("host", sa.Text),
    sa.Column("site", sa.Text),
    sa.Column("first_subrun", sa.BigInteger),
    sa.Column("last_subrun", sa.BigInteger),
    sa.Column("node", sa.Text, nullable=False, comment="JSON."),
    sa.Column("category", sa.Text, nullable=False, comment="Triage's; empty: none."),
    sa.Column("began", sa.Double, nullable=False, comment="First post, epoch seconds."),
    sa.Column("seen", sa.Double, nullable=False, comment="Last post."),
    sa.Column("ended", sa.Double, comment="Null: it did not say that it ended."),
    sa.Column("exit_code", sa.BigInteger),
    sa.Column("failed_at", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("size", sa.BigInteger, nullable=False, comment="Bytes that the job's log has."),
    sa.Column("have", sa.BigInteger, nullable=False, comment="Offset behind the last stored byte."),
    sa.Column("stored", sa.BigInteger, nullable=False, comment="Bytes that are stored."),
    sa.Column("tidy", sa.Boolean, nullable=False, comment="Whether small blocks were put together."),
    sa.UniqueConstraint("submission_id", "execution"),
    sa.Index(None, "cluster", "process"),
    sa.Index(None, "host"),
    comment="One execution's log.",
    # Each post updates its log's row; where the page has room, no index is touched.
    postgresql_with={"fillfactor": 70},
)

blocks = sa.Table(
    "log_blocks",
    metadata,
    sa.Column("id", ID, primary_key=True),
    sa.Column("log_id", sa.ForeignKey(logs.c.id, ondelete="CASCADE"), nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False, comment="Offset of the first byte."),
    sa.Column("stop", sa.BigInteger, nullable=False, comment="Offset behind the last."),
    sa.Column("at", sa.Double, nullable=False, comment="When it came."),
    sa.Column("data", sa.LargeBinary, nullable=False, comment="As the job sent it."),
    sa.UniqueConstraint("log_id", "start"),
    comment="Pieces of logs; two of one log never overlap. What lies between is not stored.",
)

refusals = sa.Table(
    "log_refusals",
    metadata,
    sa.Column("day", sa.Text, nullable=False, comment="UTC, YYYY-MM-DD."),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("day", "reason"),
    comment="Posts that were not taken, counted by every server.",
)
