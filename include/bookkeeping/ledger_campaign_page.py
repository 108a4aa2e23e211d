"""One tranche in detail: slices, curves, submissions, sites; in a few statements however many jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.count_tables import stage_counts, stage_marks
from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.ledger_overview import completed_at, moments
from include.bookkeeping.overview_records import (
    AcceptedMark,
    EndedJobs,
    SiteLine,
    StageCount,
    SubmissionLine,
)
from include.bookkeeping.tables import clusters, dag_runs, jobs, submission_units, submissions
from include.campaign.states import JobStatus, SubmissionState

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_SITE = "?"
LOOKUPS = 20_000
"""Look-ups of samples that a curve may cost."""


class LedgerCampaignPage(LedgerDatabase):
    """The part of the ledger that tells of one tranche in detail."""

    def tranche_list(self, dag_id: str) -> list[tuple[str, str, float]]:
        """Return (tranche, dag_run id, when reserved), the latest first."""
        query = sa.select(dag_runs.c.tranche, dag_runs.c.dag_run_id, dag_runs.c.reserved_at)
        query = query.where(dag_runs.c.dag_id == dag_id)
        with self._read() as connection:
            rows = connection.execute(
                query.order_by(dag_runs.c.reserved_at.desc(), dag_runs.c.tranche.desc())
            )
            return [(row.tranche, row.dag_run_id, row.reserved_at) for row in rows]

    def tranche_of_run(self, dag_id: str, dag_run_id: str) -> str | None:
        """Return the tranche that an Airflow dag_run used last; None where it used none."""
        query = sa.select(dag_runs.c.tranche).where(
            dag_runs.c.dag_id == dag_id, dag_runs.c.dag_run_id == dag_run_id
        )
        with self._read() as connection:
            found: str | None = connection.scalar(query.order_by(dag_runs.c.reserved_at.desc()).limit(1))
            return found

    def slice_counts(self, dag_id: str, tranche: str) -> list[StageCount]:
        """Return the counts of each stage of each slice, in order of run and stage."""
        here = (stage_counts.c.dag_id == dag_id) & (stage_counts.c.tranche == tranche)
        number = stage_counts.c.stage_number
        columns = [number if name == "number" else stage_counts.c[name] for name in StageCount._fields]
        query = sa.select(*columns).where(here).order_by(stage_counts.c.run, number)
        with self._read() as connection:
            return list(map(StageCount._make, connection.execute(query).all()))

    def accepted_marks(self, dag_id: str, tranche: str) -> list[AcceptedMark]:
        """Return how the accepted subruns of each stage and slice grew, in order of time."""
        same = sa.and_(
            *(stage_marks.c[name] == stage_counts.c[name] for name in ("experiment", "run", "stage"))
        )
        here = (stage_counts.c.dag_id == dag_id) & (stage_counts.c.tranche == tranche)
        columns = (stage_marks.c.run, stage_marks.c.stage, stage_marks.c.at, stage_marks.c.accepted)
        query = sa.select(*columns).join_from(stage_counts, stage_marks, same).where(here)
        with self._read() as connection:
            rows = connection.execute(query.order_by(stage_marks.c.at))
            return [AcceptedMark(**row) for row in rows.mappings()]

    def unchecked_curve(
        self, dag_id: str, tranche: str, *, since: float, now: float, points: int
    ) -> list[EndedJobs]:
        """Return jobs of first submissions that had completed, until their first check, at rising moments.

        There are at most `points` moments from `since` to `now`, fewer where there are many submissions.
        """
        sent = submissions.c
        here = (sent.dag_id == dag_id) & (sent.tranche == tranche) & (sent.recovery == 0)
        with self._read() as connection:
            number = connection.scalar(sa.select(sa.func.count()).select_from(submissions).where(here)) or 0
            parts = max(6, min(points, LOOKUPS // max(number, 1))) - 1
            clock = moments([since + (now - since) * part / parts for part in range(parts + 1)])
            first = _first_check()
            seen = sa.case((first <= clock.c.at, 0), else_=completed_at(clock.c.at))
            rows = (
                sa.select(sent.dag_id, sent.tranche, sent.stage, clock.c.at, seen.label("jobs"))
                .join_from(submissions, clock, sa.true())
                .where(here, sent.submitted_at.is_not(None))
                .subquery()
            )
            group = (rows.c.dag_id, rows.c.tranche, rows.c.stage, rows.c.at)
            query = sa.select(*group, sa.func.sum(rows.c.jobs).label("jobs")).group_by(*group)
            found = connection.execute(query.order_by(rows.c.at)).all()
            return [EndedJobs(row.dag_id, row.tranche, row.stage, row.at, int(row.jobs)) for row in found]

    def submission_lines(self, dag_id: str, tranche: str, *, limit: int) -> list[SubmissionLine]:
        """Return the tranche's submissions, the latest first."""
        sent = submissions.c
        names = (
            "tag",
            "run",
            "stage",
            "recovery",
            "jobs_open",
            "intended_at",
            "submitted_at",
            "state_at",
            "message",
        )
        units = (
            sa.select(sa.func.count()).where(submission_units.c.submission_id == sent.id).scalar_subquery()
        )
        query = (
            sa.select(sent.id, sent.state, *(sent[name] for name in names), units.label("jobs"))
            .where(sent.dag_id == dag_id, sent.tranche == tranche)
            .order_by(sent.intended_at.desc(), sent.id.desc())
            .limit(limit)
        )
        with self._read() as connection:
            rows = connection.execute(query).all()
            mine = clusters.c.submission_id.in_([row.id for row in rows])
            places: dict[int, list[tuple[str, int]]] = {}
            for row in connection.execute(sa.select(clusters).where(mine).order_by(clusters.c.cluster)):
                places.setdefault(row.submission_id, []).append((row.schedd, row.cluster))
        return [
            SubmissionLine(
                **{name: getattr(row, name) for name in names},
                jobs=row.jobs,
                state=SubmissionState(row.state),
                clusters=tuple(places.get(row.id, ())),
            )
            for row in rows
        ]

    def site_lines(self, dag_id: str, tranche: str, cpus: Mapping[str, int]) -> list[SiteLine]:
        """Return how jobs ended at each site, the most jobs first; `cpus` is what a stage's job asks for."""
        ended = jobs.c.status == int(JobStatus.COMPLETED)
        good = ended & (jobs.c.exit_code == 0) & jobs.c.exit_signal.is_(None)
        bad = ended & ((jobs.c.exit_code != 0) | jobs.c.exit_signal.is_not(None))
        site = sa.func.coalesce(jobs.c.site, NO_SITE).label("site")
        total = sa.func.count()
        measured = jobs.c.cpu_s.is_not(None) & jobs.c.wall_s.is_not(None)
        cores = jobs.c.wall_s * sa.case(dict(cpus), value=submissions.c.stage, else_=1)

        def counted(where: sa.ColumnElement[bool]) -> sa.ColumnElement[Any]:
            return sa.func.sum(sa.case((where, 1), else_=0))

        def seconds(value: sa.ColumnElement[Any]) -> sa.ColumnElement[float]:
            return sa.func.sum(sa.case((measured, value), else_=0.0))

        query = (
            sa.select(
                site, total.label("total"), counted(good).label("good"), counted(bad).label("bad"),
                sa.func.coalesce(sa.func.sum(jobs.c.wall_s), 0.0).label("wall_s"),
                seconds(jobs.c.cpu_s).label("cpu_s"), seconds(cores).label("core_s"),
            )
            .join_from(submissions, jobs)
            .where(submissions.c.dag_id == dag_id, submissions.c.tranche == tranche)
            .group_by(site)
            .order_by(total.desc(), site)
        )  # fmt: skip
        with self._read() as connection:
            return [
                SiteLine(
                    site=row.site, good=int(row.good), bad=int(row.bad),
                    other=int(row.total - row.good - row.bad), wall_s=row.wall_s, cpu_s=row.cpu_s,
                    core_s=row.core_s,
                )
                for row in connection.execute(query)
            ]  # fmt: skip


def _first_check() -> sa.ColumnElement[Any]:
    """Return when a submission's stage and slice was first checked; a far time where it was not."""
    same = sa.and_(
        stage_counts.c.dag_id == submissions.c.dag_id,
        stage_counts.c.tranche == submissions.c.tranche,
        stage_counts.c.run == submissions.c.run,
        stage_counts.c.stage == submissions.c.stage,
    )
    marked = sa.and_(
        *(stage_marks.c[name] == stage_counts.c[name] for name in ("experiment", "run", "stage"))
    )
    first = (
        sa.select(sa.func.min(stage_marks.c.at))
        .join_from(stage_counts, stage_marks, marked)
        .where(same)
        .correlate(submissions)
        .scalar_subquery()
    )
    return sa.func.coalesce(first, sa.literal(1e18))
