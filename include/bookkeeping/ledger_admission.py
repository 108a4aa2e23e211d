"""Admission: which of the submissions that ask may be sent, decided in one transaction."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.admission import (
    PATIENCE_S,
    Decision,
    DeploymentLimits,
    State,
    Waiting,
    decide,
)
from include.bookkeeping.admission_tables import HAS_OPEN_JOBS, HAS_PLACE, admissions
from include.bookkeeping.database import LedgerDatabase, submission_row
from include.bookkeeping.rows import insert_into
from include.bookkeeping.tables import campaigns, progress_samples, slices, submission_units, submissions
from include.campaign.states import SubmissionState
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy.engine import Connection, Row

log = logging.getLogger(__name__)

FORGET_S = 300.0
"""A submission that has not asked for so long is not waited for; when it asks again, it is the last."""
LAPSE_S = 86_400.0
"""An admission that was not used, nor asked for again, for so long is void."""
IDLE_S = 3600.0
"""A slice that has nothing in the queue, and asked for nothing, for so long gives up its place."""

AHEAD_S = 60.0
"""Clocks of two machines may differ so much; a time that is further ahead is of a clock that was set back."""

ADMISSION_LOCK = 7_063_482
"""Key of the Postgres advisory lock that lets one asker decide at a time; SQLite has one writer anyway."""

SENT = (SubmissionState.SUBMITTED, SubmissionState.ENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRequest:
    """What a submission says of itself when it asks to be sent."""

    tag: str
    stage_number: int
    """Its stage's place in the plan, from 0."""
    jobs_limit: int | None = None
    """The plan's `max_jobs_in_flight`."""
    slices_limit: int | None = None
    """The plan's `max_slices_in_flight`."""


class LedgerAdmission(LedgerDatabase):
    """The part of the ledger that knows what is in flight, and who waits for room."""

    def ask(self, request: AdmissionRequest, *, limits: DeploymentLimits, now: float) -> Decision | None:
        """Ask for a submission that is intended; None: it may be sent, else what it waits for.

        Who was admitted stays so, whoever asks again. Whoever waits must ask again, by `ask_again`, before
        FORGET_S seconds are over.
        """
        with self._write() as connection:
            _lock(connection)
            _join(connection, request, now=now)
            return _answer(connection, [request.tag], limits, now=now)[request.tag]

    def ask_again(
        self, tags: Collection[str], *, limits: DeploymentLimits, now: float
    ) -> dict[str, Decision | None]:
        """Ask for all that wait in one process; a tag that is not to be sent any more is left out."""
        if not tags:
            return {}
        with self._write() as connection:
            _lock(connection)
            return _answer(connection, tags, limits, now=now)

    def finish_slice(self, dag_id: str, tranche: str, run: int, *, now: float) -> list[tuple[str, int]]:
        """Record that a slice is cleaned up: it gives up its place, and its jobs count no longer.

        Return (tag, jobs) of what is not known to have ended, such as held jobs that nobody needs.
        """
        mine = (slices.c.dag_id == dag_id) & (slices.c.tranche == tranche) & (slices.c.run == run)
        with self._write() as connection:
            _lock(connection)
            left = _forget_jobs(connection, dag_id, tranche, run)
            connection.execute(sa.update(slices).where(mine).values(in_flight_since=None, finished_at=now))
        return left

    def close_tranche(self, dag_id: str, tranche: str) -> list[tuple[str, int]]:
        """Record that no task of a tranche's dag_run is under way; return as `finish_slice` does."""
        mine = (slices.c.dag_id == dag_id) & (slices.c.tranche == tranche)
        with self._write() as connection:
            _lock(connection)
            left = _forget_jobs(connection, dag_id, tranche)
            connection.execute(sa.update(slices).where(mine, HAS_PLACE).values(in_flight_since=None))
        return left

    def give_back(self, tag: str, *, jobs: int, polled_at: float = float("inf")) -> int:
        """Let no more than `jobs` of what was sent under `tag` count; return how many count no longer.

        None where it was polled after `polled_at`: a wait that is alive knows better.
        """
        with self._write() as connection:
            row = submission_row(connection, tag, lock=True)
            if row.state != SubmissionState.SUBMITTED or row.jobs_open <= jobs:
                return 0
            of_it = progress_samples.c.submission_id == row.id
            last = connection.scalar(sa.select(sa.func.max(progress_samples.c.at)).where(of_it))
            if last is not None and last > polled_at:
                return 0
            mine = submissions.c.id == row.id
            connection.execute(sa.update(submissions).where(mine).values(jobs_open=jobs))
            return int(row.jobs_open - jobs)

    def leave_place(self, dag_id: str, tranche: str, run: int, *, now: float) -> bool:
        """Take the place in flight from a slice that has stopped; return whether it was taken.

        It keeps it while it has jobs that may be in the queue, or another submission of it asks.
        """
        mine = (slices.c.dag_id == dag_id) & (slices.c.tranche == tranche) & (slices.c.run == run)
        with self._write() as connection:
            _lock(connection)
            if (dag_id, tranche, run) in _busy(_open_rows(connection), now=now):
                return False
            left = sa.update(slices).where(mine, HAS_PLACE).values(in_flight_since=None)
            return connection.execute(left.returning(slices.c.run)).first() is not None


def counts(row: Row[Any], *, now: float) -> bool:
    """Whether a row of `open_rows` is in flight: sent, or admitted and about to be."""
    return bool(row.state == SubmissionState.SUBMITTED or _may_be_sent(row, now=now))


def open_rows_query() -> sa.Select[Any]:
    """Return the query for submissions with jobs that are in flight or wait to be sent."""
    return (
        sa.select(
            submissions.c.id, submissions.c.tag, submissions.c.dag_id, submissions.c.tranche,
            submissions.c.run, submissions.c.stage, submissions.c.recovery, submissions.c.state,
            submissions.c.submitted_at, submissions.c.jobs_open,
            campaigns.c.experiment,
            admissions.c.stage_number, admissions.c.jobs_limit, admissions.c.slices_limit,
            admissions.c.since, admissions.c.asked_at, admissions.c.admitted_at,
        )
        .join_from(submissions, campaigns, campaigns.c.dag_id == submissions.c.dag_id)
        .outerjoin(admissions, admissions.c.submission_id == submissions.c.id)
        .where(HAS_OPEN_JOBS)
        .order_by(submissions.c.id)
    )  # fmt: skip


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADMISSION_LOCK)))


def _join(connection: Connection, request: AdmissionRequest, *, now: float) -> None:
    """Put a submission into the queue, or bring what is there up to date."""
    row = submission_row(connection, request.tag)
    if row.state == SubmissionState.REFUSED:
        raise LedgerError(f"{request.tag} is refused: record its intent again before asking for it")
    said = {
        "stage_number": request.stage_number,
        "jobs_limit": request.jobs_limit,
        "slices_limit": request.slices_limit,
    }
    insert = insert_into(connection, admissions).values(
        submission_id=row.id, since=now, asked_at=now, admitted_at=None, **said
    )
    connection.execute(insert.on_conflict_do_update(index_elements=["submission_id"], set_=said))
    if row.state == SubmissionState.INTENDED and row.jobs_open == 0:
        units = sa.select(sa.func.count()).where(submission_units.c.submission_id == row.id)
        mine = submissions.c.id == row.id
        connection.execute(sa.update(submissions).where(mine).values(jobs_open=units.scalar_subquery()))


def _answer(
    connection: Connection, tags: Collection[str], limits: DeploymentLimits, *, now: float
) -> dict[str, Decision | None]:
    """Decide for `tags`; the room of others that wait, and come before them, is left to these."""
    asking = set(tags)
    rows = _take_back(connection, _open_rows(connection), now=now)
    mine = {row.id for row in rows if row.tag in asking and row.asked_at is not None}
    waiting = [
        _waiting(row, now=now)
        for row in rows
        if row.state == SubmissionState.INTENDED
        and not _may_be_sent(row, now=now)
        and (row.id in mine or _asks(row, now=now))
    ]
    _note_asking(connection, [row for row in rows if row.id in mine], now=now)
    state = _state(connection, rows, waiting, now=now)
    found: dict[str, Decision | None] = dict.fromkeys(_may_go(connection, asking, rows, now=now))
    decisions = decide(waiting, state, limits, now=now)
    found.update({each.waiting.tag: each for each in decisions if each.waiting.tag in asking})
    admitted = [each.waiting for each in decisions if each.admitted and each.waiting.tag in asking]
    _admit(connection, admitted, now=now)
    found.update(dict.fromkeys(each.tag for each in admitted))
    return found


def _open_rows(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(open_rows_query()).all()


def _take_back(connection: Connection, rows: Sequence[Row[Any]], *, now: float) -> Sequence[Row[Any]]:
    """Return the rows with no time in the future: else nobody who is gone would be forgotten until then."""
    ahead = [row.id for row in rows if max(row.asked_at or 0.0, row.admitted_at or 0.0) > now + AHEAD_S]
    if not ahead:
        return rows
    times = (admissions.c.since, admissions.c.asked_at, admissions.c.admitted_at)
    earlier = {each.name: sa.case((each > now, now), else_=each) for each in times}
    connection.execute(sa.update(admissions).where(admissions.c.submission_id.in_(ahead)).values(earlier))
    return _open_rows(connection)


def _may_be_sent(row: Row[Any], *, now: float) -> bool:
    """Whether it is admitted and not sent; an admission that nobody used is void after LAPSE_S."""
    return bool(
        row.state == SubmissionState.INTENDED
        and row.admitted_at is not None
        and row.asked_at >= now - LAPSE_S
    )


def _asks(row: Row[Any], *, now: float) -> bool:
    return row.admitted_at is None and row.asked_at is not None and row.asked_at >= now - FORGET_S


def _busy(rows: Iterable[Row[Any]], *, now: float) -> set[tuple[str, str, int]]:
    """Return the slices of which something is in flight or waits, (dag_id, tranche, run)."""
    return {
        (row.dag_id, row.tranche, row.run)
        for row in rows
        if counts(row, now=now) or (row.state == SubmissionState.INTENDED and _asks(row, now=now))
    }


def _waiting(row: Row[Any], *, now: float) -> Waiting:
    return Waiting(
        id=row.id,
        tag=row.tag,
        dag_id=row.dag_id,
        experiment=row.experiment,
        slice=(row.tranche, row.run),
        recovery=row.recovery > 0,
        stage_number=row.stage_number,
        jobs=row.jobs_open,
        jobs_limit=row.jobs_limit,
        slices_limit=row.slices_limit,
        since=row.since if _asks(row, now=now) else now,
    )


def _note_asking(connection: Connection, rows: Sequence[Row[Any]], *, now: float) -> None:
    """Note that they ask now; who was silent for too long begins to wait anew."""
    goes_on = [row.id for row in rows if _may_be_sent(row, now=now) or _asks(row, now=now)]
    anew = [row.id for row in rows if row.state == SubmissionState.INTENDED and row.id not in set(goes_on)]
    for ids, values in ((goes_on, {}), (anew, {"since": now, "admitted_at": None})):
        if ids:
            mine = admissions.c.submission_id.in_(ids)
            connection.execute(sa.update(admissions).where(mine).values(asked_at=now, **values))


def _state(
    connection: Connection, rows: Sequence[Row[Any]], waiting: Sequence[Waiting], *, now: float
) -> State:
    """Return what is in flight."""
    state = State()
    for row in rows:
        if counts(row, now=now):
            state.count(row.dag_id, row.experiment, row.jobs_open)
    _give_up_idle(connection, {each.dag_id for each in waiting if each.slices_limit}, rows, now=now)
    places: sa.Select[Any] = sa.select(slices.c.dag_id, slices.c.tranche, slices.c.run).where(HAS_PLACE)
    for place in connection.execute(places):
        state.slices[place.dag_id].add((place.tranche, place.run))
    last = sa.func.max(admissions.c.admitted_at).label("last")
    recent: sa.Select[Any] = (
        sa.select(submissions.c.dag_id, last)
        .join_from(admissions, submissions)
        .where(admissions.c.admitted_at > now - PATIENCE_S)
        .group_by(submissions.c.dag_id)
    )
    state.admitted_at.update({row.dag_id: row.last for row in connection.execute(recent)})
    return state


def _give_up_idle(
    connection: Connection, dag_ids: Collection[str], rows: Sequence[Row[Any]], *, now: float
) -> None:
    """Take the places of slices in which nothing has gone on for IDLE_S."""
    if not dag_ids:
        return
    same = (
        (submissions.c.dag_id == slices.c.dag_id)
        & (submissions.c.tranche == slices.c.tranche)
        & (submissions.c.run == slices.c.run)
    )
    moved = sa.func.max(submissions.c.state_at).label("moved")
    asked = sa.func.max(admissions.c.asked_at).label("asked")
    query = (
        sa.select(slices.c.dag_id, slices.c.tranche, slices.c.run, slices.c.in_flight_since, moved, asked)
        .outerjoin_from(slices, submissions, same)
        .outerjoin(admissions, admissions.c.submission_id == submissions.c.id)
        .where(HAS_PLACE, slices.c.dag_id.in_(sorted(dag_ids)))
        .group_by(slices.c.dag_id, slices.c.tranche, slices.c.run, slices.c.in_flight_since)
    )
    busy = _busy(rows, now=now)
    for row in connection.execute(query).all():
        last = max(row.in_flight_since, row.moved or 0.0, row.asked or 0.0)
        if (row.dag_id, row.tranche, row.run) not in busy and last < now - IDLE_S:
            mine = (
                (slices.c.dag_id == row.dag_id)
                & (slices.c.tranche == row.tranche)
                & (slices.c.run == row.run)
            )
            connection.execute(sa.update(slices).where(mine).values(in_flight_since=None))
            log.info(
                "%s run %d: nothing has gone on for %.0f s, it gives up its place",
                row.dag_id,
                row.run,
                now - last,
            )


def _may_go(connection: Connection, asking: set[str], rows: Sequence[Row[Any]], *, now: float) -> list[str]:
    """Return those of the tags that need no admission any more: sent already, or admitted before."""
    there = {row.tag: row for row in rows}
    found = [
        tag
        for tag in asking
        if tag in there and (there[tag].state in SENT or _may_be_sent(there[tag], now=now))
    ]
    ended = sorted(asking - set(there))
    query = sa.select(submissions.c.tag).where(submissions.c.tag.in_(ended), submissions.c.state.in_(SENT))
    return found + (list(connection.scalars(query)) if ended else [])


def _admit(connection: Connection, admitted: Sequence[Waiting], *, now: float) -> None:
    for each in admitted:
        mine = admissions.c.submission_id == each.id
        connection.execute(sa.update(admissions).where(mine).values(admitted_at=now))
        tranche, run = each.slice
        here = (slices.c.dag_id == each.dag_id) & (slices.c.tranche == tranche) & (slices.c.run == run)
        connection.execute(
            sa.update(slices)
            .where(here, slices.c.in_flight_since.is_(None))
            .values(in_flight_since=now, finished_at=None)
        )


def _forget_jobs(
    connection: Connection, dag_id: str, tranche: str, run: int | None = None
) -> list[tuple[str, int]]:
    """Let the jobs of a slice, or of a tranche, count no longer; return (tag, jobs) of what was sent."""
    mine = (submissions.c.dag_id == dag_id) & (submissions.c.tranche == tranche)
    if run is not None:
        mine &= submissions.c.run == run
    query = sa.select(submissions.c.tag, submissions.c.jobs_open, submissions.c.state)
    rows = connection.execute(query.where(mine, HAS_OPEN_JOBS).order_by(submissions.c.id)).all()
    connection.execute(sa.update(submissions).where(mine, HAS_OPEN_JOBS).values(jobs_open=0))
    return [(row.tag, row.jobs_open) for row in rows if row.state == SubmissionState.SUBMITTED]
