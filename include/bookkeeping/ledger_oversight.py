"""What the ledger says of submissions, to be compared with the pool and with Airflow."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.admission_tables import HAS_OPEN_JOBS, admissions
from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.oversight_records import AcceptedFile, SubmissionFacts
from include.bookkeeping.records import ProgressSample
from include.bookkeeping.rows import in_parts
from include.bookkeeping.tables import (
    clusters,
    dag_runs,
    outputs,
    progress_samples,
    submission_units,
    submissions,
)
from include.campaign.states import OutputState, SubmissionState, SubrunState

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.engine import Connection, Row

COUNTS = ("idle", "running", "held", "completed", "removed", "unknown")
Last = tuple[ProgressSample, float]
"""The last sample, and since when the samples have been the same."""


class LedgerOversight(LedgerDatabase):
    """The part of the ledger that others are compared with."""

    def oversight(
        self, *, since: float, dag_id: str | None = None, tags: Collection[str] = (), in_flight: bool = False
    ) -> list[SubmissionFacts]:
        """Return the submissions whose state is from after `since`, and those of `tags`, by tag.

        With `in_flight` also those that were sent and of which jobs count, however old; with `dag_id` only
        those of that campaign.
        """
        wanted = submissions.c.state_at >= since
        if in_flight:
            wanted |= HAS_OPEN_JOBS & (submissions.c.state == SubmissionState.SUBMITTED)
        with self._read() as connection:
            rows = {row.id: row for row in _rows(connection, wanted, dag_id)}
            for some in in_parts(sorted(tags)):
                rows |= {row.id: row for row in _rows(connection, submissions.c.tag.in_(some), dag_id)}
            sent = _clusters(connection, list(rows))
            unfinished = [row.id for row in rows.values() if row.state == SubmissionState.SUBMITTED]
            opened, last = _open_units(connection, unfinished), _last(connection, unfinished)
        return [
            _facts(row, sent[row.id], opened.get(row.id, 0), last.get(row.id))
            for row in sorted(rows.values(), key=lambda row: str(row.tag))
        ]

    def last_progress(self, tags: Collection[str]) -> dict[str, ProgressSample]:
        """Return the last progress sample of each tag that has one."""
        with self._read() as connection:
            found: dict[str, ProgressSample] = {}
            for some in in_parts(sorted(tags)):
                rows = _rows(connection, submissions.c.tag.in_(some), None)
                last = _last(connection, [row.id for row in rows])
                found.update({sample.tag: sample for sample, _ in last.values()})
        return found

    def accepted_files(
        self, *, since: float, most: int, dag_id: str | None = None
    ) -> tuple[tuple[AcceptedFile, ...], int]:
        """Return accepted outputs of submissions whose state is from after `since`, and how many there are.

        At most `most` of them, drawn at random where there are more; with `dag_id` of that campaign alone.
        """
        wanted = (outputs.c.state == OutputState.ACCEPTED) & (submissions.c.state_at >= since)
        if dag_id is not None:
            wanted &= submissions.c.dag_id == dag_id
        columns = (outputs.c.path, outputs.c.size, outputs.c.accepted_at)
        query = sa.select(submissions.c.tag, *columns).join_from(outputs, submissions).where(wanted)
        counting = sa.select(sa.func.count()).select_from(outputs.join(submissions)).where(wanted)
        with self._read() as connection:
            total = int(connection.scalar(counting) or 0)
            rows = connection.execute(query.order_by(sa.func.random()).limit(most))
            return tuple(AcceptedFile(**each) for each in rows.mappings()), total

    def published_executions(self, tags: Collection[str]) -> dict[str, frozenset[str]]:
        """Return the executions of each tag of which the ledger has outputs, whatever became of them."""
        found: dict[str, set[str]] = {tag: set() for tag in tags}
        query = sa.select(submissions.c.tag, outputs.c.execution).join_from(outputs, submissions).distinct()
        with self._read() as connection:
            for some in in_parts(sorted(tags)):
                for row in connection.execute(query.where(submissions.c.tag.in_(some))):
                    found[row.tag].add(row.execution)
        return {tag: frozenset(names) for tag, names in found.items()}

    def dag_run_id(self, dag_id: str, tranche: str) -> str | None:
        """Return Airflow's id of the dag_run that used the tranche last; None if nothing was reserved."""
        query = sa.select(dag_runs.c.dag_run_id)
        with self._read() as connection:
            found: str | None = connection.scalar(
                query.where(dag_runs.c.dag_id == dag_id, dag_runs.c.tranche == tranche)
            )
        return found


def _rows(connection: Connection, wanted: sa.ColumnElement[bool], dag_id: str | None) -> list[Row[Any]]:
    asked = (admissions.c.asked_at, admissions.c.admitted_at)
    query = sa.select(submissions, *asked).outerjoin(admissions).where(wanted)
    if dag_id is not None:
        query = query.where(submissions.c.dag_id == dag_id)
    return list(connection.execute(query))


def _clusters(connection: Connection, ids: Sequence[int]) -> dict[int, tuple[tuple[str, int, int], ...]]:
    found: dict[int, tuple[tuple[str, int, int], ...]] = defaultdict(tuple)
    for some in in_parts(ids):
        query = sa.select(clusters).where(clusters.c.submission_id.in_(some))
        for row in connection.execute(query.order_by(clusters.c.schedd, clusters.c.cluster)):
            found[row.submission_id] += ((row.schedd, row.cluster, row.jobs),)
    return found


def _open_units(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    unit = submission_units.c
    is_open = unit.state.is_(None) | ((unit.state == SubrunState.UNKNOWN) & ~unit.held)
    found: dict[int, int] = {}
    for some in in_parts(ids):
        query = sa.select(unit.submission_id, sa.func.count().label("units"))
        rows = connection.execute(
            query.where(unit.submission_id.in_(some), is_open).group_by(unit.submission_id)
        )
        found.update({row.submission_id: row.units for row in rows})
    return found


def _last(connection: Connection, ids: Sequence[int]) -> dict[int, Last]:
    """Return submission → its last sample, and the first of the unbroken row of samples that are like it."""
    samples, other = progress_samples, progress_samples.alias("other")
    found: dict[int, Last] = {}
    for some in in_parts(ids):
        latest = (
            sa.select(samples.c.submission_id, sa.func.max(samples.c.at).label("at"))
            .where(samples.c.submission_id.in_(some))
            .group_by(samples.c.submission_id)
            .subquery()
        )
        differs = sa.or_(*(other.c[name] != samples.c[name] for name in COUNTS))
        same_submission = other.c.submission_id == samples.c.submission_id
        changed = sa.select(sa.func.max(other.c.at)).where(same_submission, differs).scalar_subquery()
        after = sa.select(sa.func.min(other.c.at)).where(
            same_submission, other.c.at > sa.func.coalesce(changed.correlate(samples), -1.0)
        )
        rows = connection.execute(
            sa.select(submissions.c.tag, samples, after.correlate(samples).scalar_subquery().label("since"))
            .join_from(
                samples,
                latest,
                (samples.c.submission_id == latest.c.submission_id) & (samples.c.at == latest.c.at),
            )
            .join(submissions, submissions.c.id == samples.c.submission_id)
        )
        for row in rows:
            counts = {name: getattr(row, name) for name in COUNTS}
            found[row.submission_id] = (ProgressSample(tag=row.tag, at=row.at, **counts), row.since)
    return found


def _facts(
    row: Row[Any], sent: tuple[tuple[str, int, int], ...], open_units: int, last: Last | None
) -> SubmissionFacts:
    return SubmissionFacts(
        tag=row.tag,
        dag_id=row.dag_id,
        tranche=row.tranche,
        run=row.run,
        stage=row.stage,
        state=SubmissionState(row.state),
        state_at=row.state_at,
        intended_at=row.intended_at,
        asked_at=max(row.asked_at or 0.0, row.admitted_at or 0.0),
        clusters=sent,
        jobs_open=row.jobs_open,
        open_units=open_units,
        last=None if last is None else last[0],
        steady_since=None if last is None else last[1],
    )
