"""Counts of each stage of each slice, written with what they count; file names to search by."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa  # noqa: TID253  alembic alone loads this file
from alembic import op  # noqa: TID253  see above

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

FILE_NAMES = "UPDATE outputs SET file_name = substr(path, length(rtrim(path, replace(path, '/', ''))) + 1)"

FILL = """
INSERT INTO stage_counts (experiment, run, stage, dag_id, tranche, stage_number, is_merge, subruns, accepted,
  missing, held, sent, duplicates, duplicate_bytes, bytes, events, changed_at)
SELECT s.experiment, s.run, :stage, s.dag_id, s.tranche, :number, :is_merge, s.subruns,
  coalesce(a.accepted, 0),
  CASE WHEN coalesce(u.missing, 0) < s.subruns - coalesce(a.accepted, 0) THEN coalesce(u.missing, 0)
       ELSE s.subruns - coalesce(a.accepted, 0) END,
  coalesce(u.held, 0),
  CASE WHEN coalesce(u.sent, 0) < s.subruns THEN coalesce(u.sent, 0) ELSE s.subruns END,
  coalesce(f.duplicates, 0), coalesce(f.duplicate_bytes, 0), coalesce(f.kept, 0), coalesce(f.events, 0),
  s.reserved_at
FROM slices s
LEFT JOIN (
  SELECT run, sum(subruns) AS accepted FROM (
    SELECT run, first_subrun, max(last_subrun - first_subrun + 1) AS subruns FROM outputs
    WHERE experiment = :experiment AND stage = :stage AND accepted_at IS NOT NULL
    GROUP BY run, first_subrun HAVING count(*) >= :kinds) whole
  GROUP BY run) a ON a.run = s.run
LEFT JOIN (
  SELECT run, sum(width) AS sent,
    sum(CASE WHEN state = 'missing' THEN width ELSE 0 END) AS missing,
    sum(CASE WHEN held THEN width ELSE 0 END) AS held
  FROM (
    SELECT t.run, n.state, n.held, n.last_subrun - n.first_subrun + 1 AS width, row_number() OVER (
      PARTITION BY t.run, n.first_subrun, n.last_subrun ORDER BY t.recovery DESC) AS place
    FROM submissions t JOIN submission_units n ON n.submission_id = t.id
    WHERE t.dag_id = :dag_id AND t.tranche = :tranche AND t.stage = :stage AND t.state <> 'refused') latest
  WHERE place = 1 GROUP BY run) u ON u.run = s.run
LEFT JOIN (
  SELECT run, sum(CASE WHEN state = 'duplicate' THEN 1 ELSE 0 END) AS duplicates,
    sum(CASE WHEN state = 'duplicate' THEN size ELSE 0 END) AS duplicate_bytes,
    sum(CASE WHEN state = 'accepted' THEN size ELSE 0 END) AS kept,
    sum(CASE WHEN accepted_at IS NOT NULL THEN coalesce(events, 0) ELSE 0 END) AS events
  FROM outputs WHERE experiment = :experiment AND stage = :stage GROUP BY run) f ON f.run = s.run
WHERE s.dag_id = :dag_id AND s.tranche = :tranche
"""
"""As exact as an upgrade needs it: the next check of a slice counts anew."""

PLANS = """
SELECT d.dag_id, d.tranche, d.plan, c.experiment FROM dag_runs d JOIN campaigns c ON c.dag_id = d.dag_id
"""
OWNER = "UPDATE dag_runs SET owner = :owner, phase = :phase WHERE dag_id = :dag_id AND tranche = :tranche"

MARKS = """
INSERT INTO stage_marks (experiment, run, stage, at, accepted)
SELECT experiment, run, stage, accepted_at, sum(subruns) OVER (
  PARTITION BY experiment, run, stage ORDER BY accepted_at) FROM (
  SELECT experiment, run, stage, accepted_at, sum(last_subrun - first_subrun + 1) AS subruns FROM outputs
  WHERE accepted_at IS NOT NULL AND name = (SELECT min(name) FROM outputs o WHERE
    o.experiment = outputs.experiment AND o.run = outputs.run AND o.stage = outputs.stage)
  GROUP BY experiment, run, stage, accepted_at) checks
"""


def upgrade() -> None:
    """Add them, and count what is there."""
    owner, phase = (
        sa.Column(name, sa.Text(), nullable=False, server_default="") for name in ("owner", "phase")
    )
    owner.comment = "The plan's; so is the phase."
    op.add_column("dag_runs", owner)
    op.add_column("dag_runs", phase)
    _stage_counts()
    _stage_marks()
    name = sa.Column(
        "file_name", sa.Text(), nullable=False, server_default="", comment="The path's last part."
    )
    op.add_column("outputs", name)
    op.execute(FILE_NAMES)
    op.create_index("ix_outputs_file_name", "outputs", ["file_name"])
    op.create_index("ix_clusters_cluster", "clusters", ["cluster"])
    op.create_index("ix_actions_kind", "actions", ["kind"])
    _fill()


def downgrade() -> None:
    """Refuse: the ledger only goes forward; restore a backup to go back."""
    raise NotImplementedError


def _of_slice() -> list[sa.Column[Any]]:
    return [
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("stage", sa.Text(), nullable=False),
    ]


def _stage_counts() -> None:
    comments = {
        "held": "Unknown since their jobs are held.",
        "sent": "In a submission that was not refused.",
        "duplicates": "Files beyond the accepted ones.",
        "bytes": "Of accepted files that are still there.",
        "events": "In files that were ever accepted.",
    }
    names = ("subruns", "accepted", "missing", "held", "sent", "duplicates", "duplicate_bytes")
    op.create_table(
        "stage_counts",
        *_of_slice(),
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("tranche", sa.Text(), nullable=False),
        sa.Column(
            "stage_number", sa.Integer(), nullable=False, comment="The stage's place in the plan, from 0."
        ),
        sa.Column("is_merge", sa.Boolean(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False, comment=comments.get(name))
            for name in (*names, "bytes", "events")
        ),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment", "run"],
            ["slices.experiment", "slices.run"],
            name=op.f("fk_stage_counts_experiment_run"),
        ),
        sa.PrimaryKeyConstraint("experiment", "run", "stage", name=op.f("pk_stage_counts")),
        comment="What became of the subruns of each stage of each slice, as of its last change.",
    )
    op.create_index(
        op.f("ix_stage_counts_dag_id_tranche"), "stage_counts", ["dag_id", "tranche"], unique=False
    )


def _stage_marks() -> None:
    op.create_table(
        "stage_marks",
        *_of_slice(),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment", "run"],
            ["slices.experiment", "slices.run"],
            name=op.f("fk_stage_marks_experiment_run"),
        ),
        sa.PrimaryKeyConstraint("experiment", "run", "stage", "at", name=op.f("pk_stage_marks")),
        comment="How many subruns were accepted, after each check that accepted some.",
    )


def _fill() -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.text(PLANS)).all():
        plan = json.loads(row.plan) if isinstance(row.plan, str) else row.plan
        place = {"dag_id": row.dag_id, "tranche": row.tranche}
        connection.execute(
            sa.text(OWNER),
            {**place, "owner": plan.get("owner", ""), "phase": plan.get("phase", "")},
        )
        for number, stage in enumerate(plan.get("stages", ())):
            values = {
                **place,
                "experiment": row.experiment,
                "stage": stage["name"],
                "number": number,
                "is_merge": stage.get("merge") is not None,
                "kinds": len(stage["outputs"]),
            }
            typed: list[Any] = [
                sa.bindparam("is_merge", type_=sa.Boolean()),
                sa.bindparam("stage", type_=sa.Text()),
            ]
            connection.execute(sa.text(FILL).bindparams(*typed), values)
    connection.execute(sa.text(MARKS))
