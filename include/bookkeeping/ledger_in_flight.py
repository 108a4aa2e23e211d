"""What is in flight, and what holds the room that others wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.admission import Holder, Limit
from include.bookkeeping.admission_tables import HAS_OPEN_JOBS, HAS_PLACE
from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.ledger_admission import counts, open_rows_query
from include.bookkeeping.tables import clusters, progress_samples, slices, submissions
from include.campaign.states import SubmissionState

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Row


class LedgerInFlight(LedgerDatabase):
    """The part of the ledger that tells what is in flight."""

    def holders(self, limit: Limit, name: str, *, now: float, most: int = 3) -> list[Holder]:
        """Return what holds room under a limit, the oldest `most` of it; `name` is whose limit it is."""
        with self._read() as connection:
            rows = [row for row in connection.execute(open_rows_query()) if counts(row, now=now)]
            if limit is Limit.SLICES:
                return _slices(connection, name, rows)[:most]
            mine = [row for row in rows if _is_under(row, limit, name)]
            mine.sort(key=_since)
            return [_holder(connection, row) for row in mine[:most]]

    def jobs_in_flight(self, *, now: float) -> dict[str, int]:
        """Return dag_id → jobs that count as being in flight, of all campaigns that have some."""
        found: dict[str, int] = {}
        with self._read() as connection:
            for row in connection.execute(open_rows_query()):
                if counts(row, now=now):
                    found[row.dag_id] = found.get(row.dag_id, 0) + row.jobs_open
        return found

    def jobs_by_schedd(self) -> dict[str, int]:
        """Return schedd → jobs there that are not known to have ended.

        Those of a submission in several clusters are shared out by the clusters' sizes, so that they sum up.
        """
        sent = sa.func.sum(clusters.c.jobs).over(partition_by=clusters.c.submission_id).label("sent")
        query = (
            sa.select(clusters.c.schedd, clusters.c.jobs, submissions.c.jobs_open, sent)
            .join_from(clusters, submissions)
            .where(HAS_OPEN_JOBS, submissions.c.state == SubmissionState.SUBMITTED)
            .order_by(clusters.c.schedd)
        )
        found: dict[str, float] = {}
        with self._read() as connection:
            for row in connection.execute(query):
                share = row.jobs_open * row.jobs / int(row.sent)
                found[row.schedd] = found.get(row.schedd, 0.0) + share
        return {schedd: round(jobs) for schedd, jobs in found.items()}


def _is_under(row: Row[Any], limit: Limit, name: str) -> bool:
    if limit is Limit.CAMPAIGN:
        return bool(row.dag_id == name)
    return limit is Limit.POOL or bool(row.experiment == name)


def _since(row: Row[Any]) -> float:
    return float(row.submitted_at or row.admitted_at or 0.0)


def _slices(connection: Connection, dag_id: str, rows: list[Row[Any]]) -> list[Holder]:
    jobs: dict[tuple[str, int], int] = {}
    for row in rows:
        if row.dag_id == dag_id:
            jobs[row.tranche, row.run] = jobs.get((row.tranche, row.run), 0) + row.jobs_open
    query = sa.select(slices).where(HAS_PLACE, slices.c.dag_id == dag_id)
    return [
        Holder(
            name=f"{dag_id} run {row.run}",
            jobs=jobs.get((row.tranche, row.run), 0),
            since=row.in_flight_since,
            sent=True,
        )
        for row in connection.execute(query.order_by(slices.c.in_flight_since, slices.c.run))
    ]


def _holder(connection: Connection, row: Row[Any]) -> Holder:
    of_it = progress_samples.c.submission_id == row.id
    query = sa.select(progress_samples).where(of_it).order_by(progress_samples.c.at.desc()).limit(1)
    last = connection.execute(query).one_or_none()
    return Holder(
        name=row.tag,
        jobs=row.jobs_open,
        since=_since(row),
        sent=row.state == SubmissionState.SUBMITTED,
        held=0 if last is None else last.held,
        unknown=0 if last is None else last.unknown,
        polled_at=None if last is None else last.at,
    )
