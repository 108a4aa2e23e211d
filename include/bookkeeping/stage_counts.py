"""Keeps the counts of stages up to date, in the transaction of what changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.count_tables import stage_counts, stage_marks
from include.bookkeeping.rows import upsert
from include.bookkeeping.subrun_counts import Counts, latest_units
from include.bookkeeping.tables import outputs, slices
from include.campaign.states import OutputState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

    from include.campaign.plan import CampaignPlan

KEY = ("experiment", "run", "stage")
FILES = ("duplicates", "duplicate_bytes", "bytes", "accepted_bytes", "events")


def recount(
    connection: Connection,
    plan: CampaignPlan,
    tranche: str,
    run: int,
    *,
    now: float,
    checked: str | None = None,
) -> None:
    """Write what became of the subruns of one slice, for each stage; `checked` is the one just checked."""
    here = (slices.c.dag_id == plan.dag_id) & (slices.c.tranche == tranche) & (slices.c.run == run)
    counts = Counts(connection, here, [stage.name for stage in plan.stages if stage.is_merge])
    sent, files = _sent(connection, here), _files(connection, plan.experiment, run)
    rows = []
    for number, stage in enumerate(plan.stages):
        progress = counts.of(stage)
        covered, held = sent.get(stage.name, (0, 0))
        rows.append(
            {
                **_place(plan, tranche, run, number),
                "subruns": progress.subruns,
                "accepted": progress.accepted,
                "missing": progress.missing,
                "held": min(held, progress.unknown),
                "sent": min(covered, progress.subruns),
                **files.get(stage.name, dict.fromkeys(FILES, 0)),
                "changed_at": now,
            }
        )
    _mark(connection, rows, checked, now=now)
    upsert(connection, stage_counts, rows, key=KEY)


def count_new(
    connection: Connection, plan: CampaignPlan, tranche: str, sizes: Sequence[tuple[int, int]], *, now: float
) -> None:
    """Write that nothing was done yet of new slices, given as (run, subruns)."""
    zeros = dict.fromkeys(("accepted", "missing", "held", "sent", *FILES), 0)
    rows = [
        {**_place(plan, tranche, run, number), "subruns": subruns, **zeros, "changed_at": now}
        for run, subruns in sizes
        for number in range(len(plan.stages))
    ]
    upsert(connection, stage_counts, rows, key=KEY)


def _place(plan: CampaignPlan, tranche: str, run: int, number: int) -> dict[str, Any]:
    stage = plan.stages[number]
    return {
        "experiment": plan.experiment,
        "run": run,
        "stage": stage.name,
        "dag_id": plan.dag_id,
        "tranche": tranche,
        "stage_number": number,
        "is_merge": stage.is_merge,
    }


def _mark(connection: Connection, rows: Sequence[dict[str, Any]], checked: str | None, *, now: float) -> None:
    """Note the counts that have changed, and that a check accepted none yet, for the curves over time."""
    mine = (stage_counts.c.experiment == rows[0]["experiment"]) & (stage_counts.c.run == rows[0]["run"])
    known = connection.execute(sa.select(stage_counts.c.stage, stage_counts.c.accepted).where(mine))
    before = {row.stage: row.accepted for row in known}
    marks = [
        {**{name: row[name] for name in KEY}, "at": now, "accepted": row["accepted"]}
        for row in rows
        if row["accepted"] != before.get(row["stage"], 0) or (row["stage"] == checked and not row["accepted"])
    ]
    upsert(connection, stage_marks, marks, key=(*KEY, "at"))


def _sent(connection: Connection, here: sa.ColumnElement[bool]) -> dict[str, tuple[int, int]]:
    """Return stage → subruns that a submission was to make, and those of them whose jobs are held."""
    unit = latest_units(here)
    width = unit.c.last_subrun - unit.c.first_subrun + 1
    held = sa.func.sum(sa.case((unit.c.held, width), else_=0))
    query = sa.select(unit.c.stage, sa.func.sum(width).label("covered"), held.label("held"))
    found = connection.execute(query.where(unit.c.place == 1).group_by(unit.c.stage))
    return {row.stage: (int(row.covered), int(row.held)) for row in found}


def _files(connection: Connection, experiment: str, run: int) -> dict[str, dict[str, int]]:
    """Return stage → files, bytes and events."""
    made = outputs.c

    def summed(what: Any, where: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
        return sa.func.coalesce(sa.func.sum(sa.case((where, what), else_=0)), 0)

    duplicate = made.state == OutputState.DUPLICATE
    query = sa.select(
        made.stage,
        summed(1, duplicate).label("duplicates"),
        summed(made.size, duplicate).label("duplicate_bytes"),
        summed(made.size, made.state == OutputState.ACCEPTED).label("bytes"),
        summed(made.size, made.accepted_at.is_not(None)).label("accepted_bytes"),
        summed(sa.func.coalesce(made.events, 0), made.accepted_at.is_not(None)).label("events"),
    ).where(made.experiment == experiment, made.run == run)
    rows = connection.execute(query.group_by(made.stage))
    return {row.stage: {name: int(getattr(row, name)) for name in FILES} for row in rows}
