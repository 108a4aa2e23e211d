"""The ledger's tables. What must never happen is refused here, by the database, whoever writes.

Those about nodes are in `node_tables`. A change needs a new revision in `migrations/versions/`; a test
compares the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.campaign.states import (
    ActionKind,
    JobStatus,
    Outcome,
    OutputState,
    Remedy,
    SubmissionState,
    SubrunState,
)

if TYPE_CHECKING:
    from enum import StrEnum

    from sqlalchemy.engine import Dialect

Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A surrogate key; SQLite numbers rows by itself only where the type is INTEGER."""


class FreeText(sa.TypeDecorator[str]):
    """Text from outside: what no database stores (NUL, lone surrogates) is kept as a visible escape."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Escape what cannot be stored."""
        if value is None or (value.isascii() and "\x00" not in value):
            return value
        return value.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, states: type[StrEnum]) -> sa.CheckConstraint:
    values = ", ".join(f"'{state.value}'" for state in states)
    return sa.CheckConstraint(f"{column} IN ({values})", name=column)


def _subrun_range() -> tuple[sa.Column[int], sa.Column[int], sa.CheckConstraint]:
    return (
        sa.Column("first_subrun", sa.BigInteger, nullable=False),
        sa.Column("last_subrun", sa.BigInteger, nullable=False),
        sa.CheckConstraint("first_subrun >= 0 AND last_subrun >= first_subrun", name="subruns"),
    )


experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("experiment", sa.Text, primary_key=True),
    comment="One row an experiment: locked while its run numbers are given out.",
)

campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("dag_id", sa.Text, primary_key=True),
    sa.Column("experiment", sa.Text, sa.ForeignKey(experiments.c.experiment), nullable=False),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("first_seen_at", sa.Double, nullable=False),
    sa.UniqueConstraint("experiment", "campaign"),
    sa.UniqueConstraint("dag_id", "experiment"),
    comment="Campaigns that have reserved run numbers.",
)

dag_runs = sa.Table(
    "dag_runs",
    metadata,
    sa.Column("dag_id", sa.Text, sa.ForeignKey(campaigns.c.dag_id), primary_key=True),
    sa.Column("tranche", sa.Text, primary_key=True),
    sa.Column("dag_run_id", sa.Text, nullable=False, comment="Airflow's, the latest that used this tranche."),
    sa.Column("plan", sa.JSON, nullable=False, comment="Pinned: the plan that the tranche keeps to its end."),
    sa.Column("spec_sha256", sa.Text, nullable=False),
    sa.Column("reserved_at", sa.Double, nullable=False),
    sa.Column("owner", sa.Text, nullable=False, server_default="", comment="The plan's; so is the phase."),
    sa.Column("phase", sa.Text, nullable=False, server_default=""),
    sa.Column("ledger_name", sa.Text, nullable=False, server_default="", comment="Ends its tags."),
    comment="Tranches: the slices that one dag_run asked for.",
)

slices = sa.Table(
    "slices",
    metadata,
    sa.Column("experiment", sa.Text, primary_key=True),
    sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("dag_id", sa.Text, nullable=False),
    sa.Column("tranche", sa.Text, nullable=False),
    sa.Column("slice_index", sa.Integer, nullable=False),
    sa.Column("first_subrun", sa.BigInteger, nullable=False),
    sa.Column("subruns", sa.BigInteger, nullable=False),
    sa.Column("reserved_at", sa.Double, nullable=False),
    sa.Column(
        "in_flight_since", sa.Double, comment="Since when it has a place in flight; null: it has none."
    ),
    sa.Column("finished_at", sa.Double, comment="When its cleanup was done; null: it is not."),
    sa.UniqueConstraint("dag_id", "tranche", "slice_index"),
    sa.UniqueConstraint("dag_id", "tranche", "run"),
    sa.ForeignKeyConstraint(["dag_id", "tranche"], [dag_runs.c.dag_id, dag_runs.c.tranche]),
    sa.ForeignKeyConstraint(["dag_id", "experiment"], [campaigns.c.dag_id, campaigns.c.experiment]),
    sa.CheckConstraint(
        "run >= 0 AND slice_index >= 0 AND first_subrun >= 0 AND subruns >= 1", name="numbers"
    ),
    comment="The primary key is the promise: a run number is given once per experiment, for ever.",
)

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("tag", sa.Text, nullable=False, unique=True),
    sa.Column("dag_id", sa.Text, nullable=False),
    sa.Column("tranche", sa.Text, nullable=False),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("recovery", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("work_dir", sa.Text, nullable=False),
    sa.Column("message", FreeText, nullable=False, default=""),
    sa.Column("intended_at", sa.Double, nullable=False),
    sa.Column("submitted_at", sa.Double),
    sa.Column("state_at", sa.Double, nullable=False),
    sa.Column(
        "changes",
        sa.JSON(none_as_null=True),
        comment="What it asks for instead of the plan's; null: nothing.",
    ),
    sa.Column(
        "jobs_open",
        sa.Integer,
        nullable=False,
        server_default=sa.text("0"),
        comment="Jobs that are not known to have ended; before they are sent, those to be sent.",
    ),
    sa.UniqueConstraint("dag_id", "tranche", "run", "stage", "recovery"),
    sa.ForeignKeyConstraint(["dag_id", "tranche", "run"], [slices.c.dag_id, slices.c.tranche, slices.c.run]),
    _one_of("state", SubmissionState),
    sa.CheckConstraint("recovery >= 0", name="recovery"),
    sa.CheckConstraint(
        "state NOT IN ('submitted', 'ended') OR submitted_at IS NOT NULL", name="submitted_at"
    ),
    comment="Written before the act of submitting (intended), and again after it.",
)

submission_units = sa.Table(
    "submission_units",
    metadata,
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id), primary_key=True),
    sa.Column("process", sa.Integer, primary_key=True, autoincrement=False),
    *_subrun_range(),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("state", sa.Text, _one_of("state", SubrunState)),
    sa.Column("held", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint("process >= 0", name="process"),
    comment="What each process of a submission makes, and how it stands after the latest check.",
)

clusters = sa.Table(
    "clusters",
    metadata,
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id), primary_key=True),
    sa.Column("schedd", sa.Text, primary_key=True),
    sa.Column("cluster", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("jobs", sa.Integer, nullable=False),
    sa.Column(
        "first_unit",
        sa.Integer,
        nullable=False,
        server_default=sa.text("0"),
        comment="Unit that process 0 makes; process p makes this plus p.",
    ),
    sa.Column("event_log", FreeText, comment="On the schedd's machine, as the last check's ads name it."),
    sa.CheckConstraint("jobs >= 1", name="jobs"),
    comment="Cluster numbers repeat between schedds and on a wiped pool: unique per submission.",
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id), primary_key=True),
    sa.Column("schedd", sa.Text, primary_key=True),
    sa.Column("cluster", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("process", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("unit", sa.Integer, nullable=False),
    sa.Column("global_job_id", FreeText, nullable=False),
    sa.Column("status", sa.SmallInteger, nullable=False, comment="HTCondor's JobStatus, 0 for unknown."),
    sa.Column("exit_code", sa.BigInteger),
    sa.Column("exit_signal", sa.Integer),
    sa.Column("hold_code", sa.BigInteger),
    sa.Column("hold_subcode", sa.BigInteger),
    sa.Column("reason", FreeText, nullable=False),
    sa.Column("host", FreeText),
    sa.Column("site", FreeText),
    sa.Column("starts", sa.Integer, nullable=False),
    sa.Column("queued_at", sa.Double),
    sa.Column("started_at", sa.Double),
    sa.Column("ended_at", sa.Double),
    sa.Column("wall_s", sa.Double),
    sa.Column("cpu_s", sa.Double),
    sa.Column("memory_mb", sa.BigInteger),
    sa.ForeignKeyConstraint(
        ["submission_id", "unit"], [submission_units.c.submission_id, submission_units.c.process]
    ),
    sa.CheckConstraint(f"status IN ({', '.join(str(int(status)) for status in JobStatus)})", name="status"),
    sa.Index(None, "ended_at"),
    comment="The last that is known of each job.",
)

executions = sa.Table(
    "executions",
    metadata,
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id), primary_key=True),
    sa.Column("execution", sa.Text, primary_key=True),
    sa.Column("schedd", sa.Text, nullable=False),
    sa.Column("cluster", sa.BigInteger, nullable=False),
    sa.Column("process", sa.Integer, nullable=False),
    sa.Column("host", FreeText),
    sa.Column("site", FreeText),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double, nullable=False),
    sa.Column("exit_code", sa.BigInteger),
    sa.Column("exit_signal", sa.Integer),
    sa.Column("error", FreeText, nullable=False),
    sa.Column("log", FreeText, nullable=False),
    comment="Starts of a job on a node, as the job's own report tells them.",
)

outputs = sa.Table(
    "outputs",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id), nullable=False),
    sa.Column("execution", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    *_subrun_range(),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("adler32", sa.Text, nullable=False),
    sa.Column("events", sa.BigInteger),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.Double, nullable=False),
    sa.Column("accepted_at", sa.Double, comment="Set once and never cleared, not even by removal."),
    sa.Column("state_at", sa.Double, nullable=False),
    sa.Column("file_name", sa.Text, nullable=False, server_default="", comment="The path's last part."),
    sa.UniqueConstraint("submission_id", "execution", "name"),
    sa.ForeignKeyConstraint(["experiment", "run"], [slices.c.experiment, slices.c.run]),
    _one_of("state", OutputState),
    sa.CheckConstraint("state <> 'accepted' OR accepted_at IS NOT NULL", name="accepted_at"),
    sa.CheckConstraint(
        "accepted_at IS NULL OR state IN ('accepted', 'removing', 'removed')", name="never_unaccepted"
    ),
    sa.CheckConstraint("size >= 0 AND (events IS NULL OR events >= 0)", name="numbers"),
    comment="Files that executions published.",
)

sa.Index(
    "uq_outputs_one_accepted",
    outputs.c.experiment,
    outputs.c.run,
    outputs.c.stage,
    outputs.c.first_subrun,
    outputs.c.name,
    unique=True,
    sqlite_where=outputs.c.accepted_at.is_not(None),
    postgresql_where=outputs.c.accepted_at.is_not(None),
)
sa.Index("ix_outputs_file_name", outputs.c.file_name)
sa.Index("ix_outputs_of_stage", outputs.c.experiment, outputs.c.run, outputs.c.stage, outputs.c.state)

merges = sa.Table(
    "merges",
    metadata,
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Column("process", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("run", sa.BigInteger, nullable=False),
    sa.Column("stage", sa.Text, nullable=False),
    *_subrun_range(),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("planned_at", sa.Double, nullable=False),
    sa.UniqueConstraint("tag", "first_subrun"),
    sa.ForeignKeyConstraint(["experiment", "run"], [slices.c.experiment, slices.c.run]),
    sa.Index(None, "experiment", "run", "stage"),
    comment="Merged files as planned, pinned under the tag that will make them.",
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("process", sa.Integer, nullable=False),
    *_subrun_range(),
    sa.Column("check_name", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reason", FreeText, nullable=False),
    sa.Column("evidence", FreeText, nullable=False),
    sa.Column("judged_at", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(
        ["submission_id", "process"], [submission_units.c.submission_id, submission_units.c.process]
    ),
    _one_of("outcome", Outcome),
    sa.Index(None, "submission_id", "process"),
    comment="The latest judgement of each submission; replaced as a whole.",
)

diagnoses = sa.Table(
    "diagnoses",
    metadata,
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("process", sa.Integer, nullable=False),
    *_subrun_range(),
    sa.Column("category", sa.Text, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("cause", FreeText, nullable=False),
    sa.Column("evidence", FreeText, nullable=False),
    sa.Column("advice", FreeText, nullable=False),
    sa.Column("remedy", sa.Text, nullable=False),
    sa.Column("job_id", FreeText, nullable=False),
    sa.Column("host", FreeText),
    sa.Column("site", FreeText),
    sa.Column("exit_code", sa.BigInteger),
    sa.Column("exit_signal", sa.Integer),
    sa.Column("at", sa.Double),
    sa.Column("signature", FreeText, nullable=False),
    sa.Column("shadow", sa.Text, nullable=False),
    sa.Column("diagnosed_at", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(
        ["submission_id", "process"], [submission_units.c.submission_id, submission_units.c.process]
    ),
    _one_of("remedy", Remedy),
    sa.Index(None, "submission_id", "process"),
    comment="Why processes left subruns without an accepted output; kept once there is one.",
)

actions = sa.Table(
    "actions",
    metadata,
    sa.Column("id", Key, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, unique=True, comment="sha256 of the rest of the row."),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("who", FreeText, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("dag_id", sa.Text, nullable=False),
    sa.Column("tranche", sa.Text, nullable=False),
    sa.Column("run", sa.BigInteger),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("tag", sa.Text, nullable=False),
    sa.Column("detail", FreeText, nullable=False),
    sa.Column("jobs", sa.JSON, nullable=False),
    sa.Index(None, "dag_id", "tranche"),
    sa.Index(None, "tag"),
    _one_of("kind", ActionKind),
    comment="What was done, by prodsys or by a person; may be written before the act.",
)

progress_samples = sa.Table(
    "progress_samples",
    metadata,
    sa.Column("submission_id", sa.ForeignKey(submissions.c.id), primary_key=True),
    sa.Column("at", sa.Double, primary_key=True),
    sa.Column("idle", sa.Integer, nullable=False),
    sa.Column("running", sa.Integer, nullable=False),
    sa.Column("held", sa.Integer, nullable=False),
    sa.Column("completed", sa.Integer, nullable=False),
    sa.Column("removed", sa.Integer, nullable=False),
    sa.Column("unknown", sa.Integer, nullable=False),
    sa.CheckConstraint(
        "idle >= 0 AND running >= 0 AND held >= 0 AND completed >= 0 AND removed >= 0 AND unknown >= 0",
        name="counts",
    ),
    comment="One submission's jobs by state, over time.",
)
