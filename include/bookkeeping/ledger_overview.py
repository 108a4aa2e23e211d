"""Overview: what lists of campaigns and their pages are made of, in a few statements however many jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.admission_tables import HAS_OPEN_JOBS, HAS_PLACE
from include.bookkeeping.count_tables import stage_counts
from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.overview_records import (
    EndedJobs,
    OpenQuestion,
    OpenSubmission,
    Overview,
    StageCount,
    TrancheFacts,
)
from include.bookkeeping.tables import actions, dag_runs, progress_samples, slices, submissions
from include.campaign.states import DECISIONS, ActionKind, SubmissionState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

JOBS = ("idle", "running", "held", "completed", "removed", "unknown")
SUMMED = (
    "subruns",
    "accepted",
    "missing",
    "held",
    "sent",
    "duplicates",
    "duplicate_bytes",
    "bytes",
    "accepted_bytes",
    "events",
)
DESCRIPTION = ("dag_id", "tranche", "dag_run_id", "owner", "phase", "reserved_at")


class LedgerOverview(LedgerDatabase):
    """The part of the ledger that tells how all campaigns stand."""

    def overview(
        self, *, times: Sequence[float], dag_id: str | None = None, tranche: str | None = None
    ) -> Overview:
        """Return how tranches stand: those that have slices in flight, and the latest of each campaign.

        With `dag_id` of that campaign alone, with `tranche` that one alone. `times`, rising, are the moments
        for which the ended jobs are told of submissions that were alive since the first.
        """
        with self._read() as connection:
            chosen = _chosen(dag_id, tranche)
            return Overview(
                tranches=_tranches(connection, chosen),
                counts=_counts(connection, chosen),
                submissions=_open(connection, dag_id, tranche),
                ended=_ended(connection, chosen, times) if times else (),
                questions=_questions(connection, dag_id, tranche),
            )


def _chosen(dag_id: str | None, tranche: str | None) -> sa.Subquery:
    """Return the tranches to be told of."""
    place = sa.func.row_number().over(
        partition_by=dag_runs.c.dag_id, order_by=(dag_runs.c.reserved_at.desc(), dag_runs.c.tranche.desc())
    )
    columns = [dag_runs.c[name] for name in DESCRIPTION]
    ranked = sa.select(*columns, place.label("place"))
    if dag_id is not None:
        ranked = ranked.where(dag_runs.c.dag_id == dag_id)
    if tranche is not None:
        ranked = ranked.where(dag_runs.c.tranche == tranche)
    every = ranked.subquery()
    active = sa.exists().where(
        slices.c.dag_id == every.c.dag_id, slices.c.tranche == every.c.tranche, HAS_PLACE
    )
    return sa.select(every).where((every.c.place == 1) | active).subquery()


def _same(table: Any, chosen: sa.Subquery) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.dag_id == chosen.c.dag_id, table.c.tranche == chosen.c.tranche)


def _tranches(connection: Connection, chosen: sa.Subquery) -> tuple[TrancheFacts, ...]:
    def counted(where: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
        return sa.func.sum(sa.case((where, 1), else_=0))

    columns = [chosen.c[name] for name in DESCRIPTION]
    query = (
        sa.select(
            *columns,
            sa.func.count(slices.c.run).label("slices"),
            counted(slices.c.finished_at.is_not(None)).label("finished"),
            counted(HAS_PLACE).label("in_flight"),
            sa.func.min(slices.c.run).label("first_run"),
            sa.func.max(slices.c.run).label("last_run"),
        )
        .join_from(chosen, slices, _same(slices, chosen))
        .group_by(*columns)
        .order_by(chosen.c.dag_id, chosen.c.reserved_at)
    )
    return tuple(map(TrancheFacts._make, connection.execute(query).all()))


def _counts(connection: Connection, chosen: sa.Subquery) -> tuple[StageCount, ...]:
    place = (stage_counts.c.dag_id, stage_counts.c.tranche, stage_counts.c.stage)
    number = sa.func.min(stage_counts.c.stage_number)
    # Postgres sums such integers to a decimal, which is slow to read.
    sums = {name: sa.cast(sa.func.sum(stage_counts.c[name]), sa.BigInteger) for name in SUMMED}
    columns: dict[str, sa.ColumnElement[Any]] = {
        "dag_id": place[0],
        "tranche": place[1],
        "stage": place[2],
        "run": sa.null(),
        "number": number,
        "is_merge": sa.func.max(sa.case((stage_counts.c.is_merge, 1), else_=0)) == 1,
        **sums,
    }
    query = (
        sa.select(*(columns[name].label(name) for name in StageCount._fields))
        .join_from(chosen, stage_counts, _same(stage_counts, chosen))
        .group_by(*place)
        .order_by(place[0], place[1], number)
    )
    return tuple(map(StageCount._make, connection.execute(query).all()))


def _open(connection: Connection, dag_id: str | None, tranche: str | None) -> tuple[OpenSubmission, ...]:
    """Return the open submissions, of whatever tranche: they are few, and most are of those chosen."""
    sent, sample, later = submissions.c, progress_samples, progress_samples.alias("later")
    last = sa.select(sa.func.max(later.c.at)).where(later.c.submission_id == sent.id).scalar_subquery()
    jobs = [sa.func.coalesce(sample.c[name], 0).label(name) for name in JOBS]
    rest = (stage_counts.c.subruns - stage_counts.c.accepted - stage_counts.c.missing).label("rest")
    counted = sa.and_(
        stage_counts.c.dag_id == sent.dag_id,
        stage_counts.c.tranche == sent.tranche,
        stage_counts.c.run == sent.run,
        stage_counts.c.stage == sent.stage,
    )
    query = (
        sa.select(
            sent.tag, sent.dag_id, sent.tranche, sent.run, sent.stage, sent.state, sent.jobs_open,
            rest, stage_counts.c.is_merge, sample.c.at, *jobs,
        )
        .join_from(submissions, stage_counts, counted)
        .join(sample, (sample.c.submission_id == sent.id) & (sample.c.at == last), isouter=True)
        .where(HAS_OPEN_JOBS)
        .order_by(sent.tag)
    )  # fmt: skip
    if dag_id is not None:
        query = query.where(sent.dag_id == dag_id)
    if tranche is not None:
        query = query.where(sent.tranche == tranche)
    found = map(OpenSubmission._make, connection.execute(query).all())
    return tuple(each._replace(state=SubmissionState(each.state)) for each in found)


def moments(times: Sequence[float]) -> sa.Subquery:
    """Return some moments as a table of one column, `at`."""
    return sa.union_all(*(sa.select(sa.literal(float(at), sa.Double).label("at")) for at in times)).subquery(
        "moments"
    )


def completed_at(at: sa.ColumnElement[float]) -> sa.ColumnElement[int]:
    """Return how many jobs of a submission had completed at a moment, as polls saw them: one look-up."""
    sample = progress_samples
    seen = (
        sa.select(sample.c.completed)
        .where(sample.c.submission_id == submissions.c.id, sample.c.at <= at)
        .order_by(sample.c.at.desc())
        .limit(1)
        .correlate_except(sample)
        .scalar_subquery()
    )
    return sa.func.coalesce(seen, 0)


def _ended(connection: Connection, chosen: sa.Subquery, times: Sequence[float]) -> tuple[EndedJobs, ...]:
    sent = submissions.c
    alive = HAS_OPEN_JOBS | (sent.state_at >= times[0])
    place = (sent.dag_id, sent.tranche, sent.stage)
    # A column a moment: a row each would be thousands to read.
    looked = [
        completed_at(sa.literal(at, sa.Double)).label(f"jobs_{number}") for number, at in enumerate(times)
    ]
    rows = (
        sa.select(*place, *looked)
        .join_from(chosen, submissions, _same(submissions, chosen))
        .where(alive, sent.submitted_at.is_not(None))
        .subquery()
    )
    group = (rows.c.dag_id, rows.c.tranche, rows.c.stage)
    sums = [sa.func.sum(rows.c[each.name]) for each in looked]
    query = sa.select(*group, *sums).group_by(*group).order_by(*group)
    return tuple(
        EndedJobs(dag_id, tranche, stage, at, int(jobs))
        for dag_id, tranche, stage, *counts in connection.execute(query).all()
        for at, jobs in zip(times, counts, strict=True)
    )


def _questions(connection: Connection, dag_id: str | None, tranche: str | None) -> tuple[OpenQuestion, ...]:
    stage = (actions.c.dag_id, actions.c.tranche, actions.c.run, actions.c.stage)
    last = sa.func.row_number().over(partition_by=stage, order_by=actions.c.id.desc())
    query = sa.select(*stage, actions.c.kind, actions.c.at, actions.c.detail, last.label("place"))
    query = query.where(actions.c.kind.in_(DECISIONS), actions.c.run.is_not(None))
    if dag_id is not None:
        query = query.where(actions.c.dag_id == dag_id)
    if tranche is not None:
        query = query.where(actions.c.tranche == tranche)
    found = query.subquery()
    finished = sa.exists().where(
        slices.c.dag_id == found.c.dag_id,
        slices.c.tranche == found.c.tranche,
        slices.c.run == found.c.run,
        slices.c.finished_at.is_not(None),
    )
    asked = sa.select(found).where(found.c.place == 1, found.c.kind == ActionKind.ASK, ~finished)
    rows = connection.execute(asked.order_by(found.c.at.desc()))
    return tuple(
        OpenQuestion(
            dag_id=row.dag_id,
            tranche=row.tranche,
            run=row.run,
            stage=row.stage,
            asked_at=row.at,
            detail=row.detail,
        )
        for row in rows
    )
