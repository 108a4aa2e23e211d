"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    _experiments()
    _campaigns()
    _dag_runs()
    _slices()
    _merges()
    _submissions()
    _clusters()
    _executions()
    _outputs()
    _progress_samples()
    _submission_units()
    _jobs()
    _verdicts()


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError


def _experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("experiment", name=op.f("pk_experiments")),
        comment="One row an experiment: locked while its run numbers are given out.",
    )


def _campaigns() -> None:
    op.create_table(
        "campaigns",
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment"], ["experiments.experiment"], name=op.f("fk_campaigns_experiment")
        ),
        sa.PrimaryKeyConstraint("dag_id", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("dag_id", "experiment", name=op.f("uq_campaigns_dag_id_experiment")),
        sa.UniqueConstraint("experiment", "campaign", name=op.f("uq_campaigns_experiment_campaign")),
        comment="Campaigns that have reserved run numbers.",
    )


def _dag_runs() -> None:
    op.create_table(
        "dag_runs",
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("tranche", sa.Text(), nullable=False),
        sa.Column(
            "dag_run_id", sa.Text(), nullable=False, comment="Airflow's, the latest that used this tranche."
        ),
        sa.Column(
            "plan", sa.JSON(), nullable=False, comment="Pinned: the plan that the tranche keeps to its end."
        ),
        sa.Column("spec_sha256", sa.Text(), nullable=False),
        sa.Column("reserved_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dag_id"], ["campaigns.dag_id"], name=op.f("fk_dag_runs_dag_id")),
        sa.PrimaryKeyConstraint("dag_id", "tranche", name=op.f("pk_dag_runs")),
        comment="Tranches: the slices that one dag_run asked for.",
    )


def _slices() -> None:
    op.create_table(
        "slices",
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("tranche", sa.Text(), nullable=False),
        sa.Column("slice_index", sa.Integer(), nullable=False),
        sa.Column("first_subrun", sa.BigInteger(), nullable=False),
        sa.Column("subruns", sa.BigInteger(), nullable=False),
        sa.Column("reserved_at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "run >= 0 AND slice_index >= 0 AND first_subrun >= 0 AND subruns >= 1",
            name=op.f("ck_slices_numbers"),
        ),
        sa.ForeignKeyConstraint(
            ["dag_id", "experiment"],
            ["campaigns.dag_id", "campaigns.experiment"],
            name=op.f("fk_slices_dag_id_experiment"),
        ),
        sa.ForeignKeyConstraint(
            ["dag_id", "tranche"],
            ["dag_runs.dag_id", "dag_runs.tranche"],
            name=op.f("fk_slices_dag_id_tranche"),
        ),
        sa.PrimaryKeyConstraint("experiment", "run", name=op.f("pk_slices")),
        sa.UniqueConstraint("dag_id", "tranche", "run", name=op.f("uq_slices_dag_id_tranche_run")),
        sa.UniqueConstraint(
            "dag_id", "tranche", "slice_index", name=op.f("uq_slices_dag_id_tranche_slice_index")
        ),
        comment="The primary key is the promise: a run number is given once per experiment, for ever.",
    )


def _merges() -> None:
    op.create_table(
        "merges",
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("process", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("first_subrun", sa.BigInteger(), nullable=False),
        sa.Column("last_subrun", sa.BigInteger(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("planned_at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "first_subrun >= 0 AND last_subrun >= first_subrun", name=op.f("ck_merges_subruns")
        ),
        sa.ForeignKeyConstraint(
            ["experiment", "run"], ["slices.experiment", "slices.run"], name=op.f("fk_merges_experiment_run")
        ),
        sa.PrimaryKeyConstraint("tag", "process", name=op.f("pk_merges")),
        sa.UniqueConstraint("tag", "first_subrun", name=op.f("uq_merges_tag_first_subrun")),
        comment="Merged files as planned, pinned under the tag that will make them.",
    )
    op.create_index(
        op.f("ix_merges_experiment_run_stage"), "merges", ["experiment", "run", "stage"], unique=False
    )


def _submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("tranche", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("recovery", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("work_dir", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("intended_at", sa.Double(), nullable=False),
        sa.Column("submitted_at", sa.Double(), nullable=True),
        sa.Column("state_at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "state IN ('intended', 'submitted', 'refused', 'ended')", name=op.f("ck_submissions_state")
        ),
        sa.CheckConstraint(
            "state NOT IN ('submitted', 'ended') OR submitted_at IS NOT NULL",
            name=op.f("ck_submissions_submitted_at"),
        ),
        sa.CheckConstraint("recovery >= 0", name=op.f("ck_submissions_recovery")),
        sa.ForeignKeyConstraint(
            ["dag_id", "tranche", "run"],
            ["slices.dag_id", "slices.tranche", "slices.run"],
            name=op.f("fk_submissions_dag_id_tranche_run"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint(
            "dag_id",
            "tranche",
            "run",
            "stage",
            "recovery",
            name=op.f("uq_submissions_dag_id_tranche_run_stage_recovery"),
        ),
        sa.UniqueConstraint("tag", name=op.f("uq_submissions_tag")),
        comment="Written before the act of submitting (intended), and again after it.",
    )


def _clusters() -> None:
    op.create_table(
        "clusters",
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("schedd", sa.Text(), nullable=False),
        sa.Column("cluster", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.CheckConstraint("jobs >= 1", name=op.f("ck_clusters_jobs")),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_clusters_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", "schedd", "cluster", name=op.f("pk_clusters")),
        comment="Cluster numbers repeat between schedds and on a wiped pool: unique per submission.",
    )


def _executions() -> None:
    op.create_table(
        "executions",
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("schedd", sa.Text(), nullable=False),
        sa.Column("cluster", sa.BigInteger(), nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("exit_signal", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("log", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_executions_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", "execution", name=op.f("pk_executions")),
        comment="Starts of a job on a node, as the job's own report tells them.",
    )


def _outputs() -> None:
    op.create_table(
        "outputs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("execution", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("first_subrun", sa.BigInteger(), nullable=False),
        sa.Column("last_subrun", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("adler32", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Double(), nullable=False),
        sa.Column(
            "accepted_at",
            sa.Double(),
            nullable=True,
            comment="Set once and never cleared, not even by removal.",
        ),
        sa.Column("state_at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "accepted_at IS NULL OR state IN ('accepted', 'removing', 'removed')",
            name=op.f("ck_outputs_never_unaccepted"),
        ),
        sa.CheckConstraint(
            "state <> 'accepted' OR accepted_at IS NOT NULL", name=op.f("ck_outputs_accepted_at")
        ),
        sa.CheckConstraint(
            "state IN ('candidate', 'accepted', 'duplicate', 'rejected', 'removing', 'removed')",
            name=op.f("ck_outputs_state"),
        ),
        sa.CheckConstraint(
            "first_subrun >= 0 AND last_subrun >= first_subrun", name=op.f("ck_outputs_subruns")
        ),
        sa.CheckConstraint("size >= 0 AND (events IS NULL OR events >= 0)", name=op.f("ck_outputs_numbers")),
        sa.ForeignKeyConstraint(
            ["experiment", "run"], ["slices.experiment", "slices.run"], name=op.f("fk_outputs_experiment_run")
        ),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name=op.f("fk_outputs_submission_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outputs")),
        sa.UniqueConstraint(
            "submission_id", "execution", "name", name=op.f("uq_outputs_submission_id_execution_name")
        ),
        comment="Files that executions published.",
    )
    op.create_index("ix_outputs_of_stage", "outputs", ["experiment", "run", "stage", "state"], unique=False)
    op.create_index(
        "uq_outputs_one_accepted",
        "outputs",
        ["experiment", "run", "stage", "first_subrun", "name"],
        unique=True,
        sqlite_where=sa.text("accepted_at IS NOT NULL"),
        postgresql_where=sa.text("accepted_at IS NOT NULL"),
    )


def _progress_samples() -> None:
    op.create_table(
        "progress_samples",
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("idle", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("removed", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "idle >= 0 AND running >= 0 AND held >= 0 AND completed >= 0 AND removed >= 0 AND unknown >= 0",
            name=op.f("ck_progress_samples_counts"),
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_progress_samples_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", "at", name=op.f("pk_progress_samples")),
        comment="One submission's jobs by state, over time.",
    )


def _submission_units() -> None:
    op.create_table(
        "submission_units",
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("process", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_subrun", sa.BigInteger(), nullable=False),
        sa.Column("last_subrun", sa.BigInteger(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "first_subrun >= 0 AND last_subrun >= first_subrun", name=op.f("ck_submission_units_subruns")
        ),
        sa.CheckConstraint("process >= 0", name=op.f("ck_submission_units_process")),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_submission_units_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", "process", name=op.f("pk_submission_units")),
        comment="What each process of a submission makes.",
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("schedd", sa.Text(), nullable=False),
        sa.Column("cluster", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("process", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("global_job_id", sa.Text(), nullable=False),
        sa.Column(
            "status", sa.SmallInteger(), nullable=False, comment="HTCondor's JobStatus, 0 for unknown."
        ),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column("exit_signal", sa.Integer(), nullable=True),
        sa.Column("hold_code", sa.BigInteger(), nullable=True),
        sa.Column("hold_subcode", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("queued_at", sa.Double(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("wall_s", sa.Double(), nullable=True),
        sa.Column("cpu_s", sa.Double(), nullable=True),
        sa.Column("memory_mb", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("status IN (0, 1, 2, 3, 4, 5, 6, 7)", name=op.f("ck_jobs_status")),
        sa.ForeignKeyConstraint(
            ["submission_id", "unit"],
            ["submission_units.submission_id", "submission_units.process"],
            name=op.f("fk_jobs_submission_id_unit"),
        ),
        sa.ForeignKeyConstraint(["submission_id"], ["submissions.id"], name=op.f("fk_jobs_submission_id")),
        sa.PrimaryKeyConstraint("submission_id", "schedd", "cluster", "process", name=op.f("pk_jobs")),
        comment="The last that is known of each job.",
    )


def _verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("submission_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("process", sa.Integer(), nullable=False),
        sa.Column("first_subrun", sa.BigInteger(), nullable=False),
        sa.Column("last_subrun", sa.BigInteger(), nullable=False),
        sa.Column("check_name", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("judged_at", sa.Double(), nullable=False),
        sa.CheckConstraint("outcome IN ('passed', 'failed', 'unknown')", name=op.f("ck_verdicts_outcome")),
        sa.CheckConstraint(
            "first_subrun >= 0 AND last_subrun >= first_subrun", name=op.f("ck_verdicts_subruns")
        ),
        sa.ForeignKeyConstraint(
            ["submission_id", "process"],
            ["submission_units.submission_id", "submission_units.process"],
            name=op.f("fk_verdicts_submission_id_process"),
        ),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_verdicts_submission_id")
        ),
        sa.PrimaryKeyConstraint("submission_id", "position", name=op.f("pk_verdicts")),
        comment="The latest judgement of each submission; replaced as a whole.",
    )
    op.create_index(
        op.f("ix_verdicts_submission_id_process"), "verdicts", ["submission_id", "process"], unique=False
    )
