"""Submissions: intent before the act, clusters after it."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.admission_tables import admissions
from include.bookkeeping.database import LedgerDatabase, slice_row, submission_row
from include.bookkeeping.ledger_slices import pinned_plan
from include.bookkeeping.records import AS_PLANNED, RequestChanges, StageUnit, Submission, Unit
from include.bookkeeping.rows import insert_all, insert_if_new
from include.bookkeeping.stage_counts import recount
from include.bookkeeping.tables import clusters, submission_units, submissions
from include.campaign.states import SubmissionState, SubrunState
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection, Row

log = logging.getLogger(__name__)


class LedgerSubmissions(LedgerDatabase):
    """The part of the ledger that knows submissions."""

    def intend(  # noqa: PLR0913  one record, its fields
        self,
        *,
        tag: str,
        dag_id: str,
        tranche: str,
        run: int,
        stage: str,
        recovery: int,
        units: Sequence[Unit],
        work_dir: str,
        now: float,
        changes: RequestChanges = AS_PLANNED,
    ) -> Submission:
        """Record that `tag` is about to be submitted, before anything is; return what is recorded.

        A tag that is there already keeps its units, its changes and its work_dir. A refused one becomes
        intended again, because from now on jobs may carry its tag.
        """
        _require_numbered(tag, units)
        place = {"dag_id": dag_id, "tranche": tranche, "run": run, "stage": stage, "recovery": recovery}
        written = {"work_dir": work_dir, "message": "", "intended_at": now, "state_at": now}
        row: dict[str, Any] = {"tag": tag, **place, "state": SubmissionState.INTENDED, **written}
        row["changes"] = None if changes == AS_PLANNED else asdict(changes)
        row["jobs_open"] = len(units)
        with self._write() as connection:
            plan = pinned_plan(connection, dag_id, tranche)
            # First, as where outputs are settled: counts are written as they are read.
            slice_row(connection, experiment=plan.experiment, run=run, lock=True)
            if insert_if_new(connection, submissions, row):
                _insert_units(connection, submission_row(connection, tag).id, units)
            else:
                there = _reopen(connection, tag, now=now)
                _require_same(tag, there, place)
            recount(connection, plan, tranche, run, now=now)
            return _load(connection, submissions.c.tag == tag)[0]

    def record_submitted(
        self,
        tag: str,
        *,
        clusters: Sequence[tuple[str, int, int]],
        message: str,
        now: float,
        first_units: Sequence[int] = (),
    ) -> None:
        """Record the (schedd, cluster, jobs) that carry `tag`; other ones than recorded raise LedgerError.

        `first_units` has the unit that each cluster's process 0 makes; without it that is unit 0.
        """
        if not clusters:
            raise LedgerError(f"{tag}: no clusters were given, so it is not submitted")
        with self._write() as connection:
            row = submission_row(connection, tag, lock=True)
            if row.state in {SubmissionState.SUBMITTED, SubmissionState.ENDED}:
                _require_same_clusters(connection, row, clusters)
                return
            _set(
                connection,
                row,
                state=SubmissionState.SUBMITTED,
                message=message,
                submitted_at=now,
                state_at=now,
                jobs_open=sum(jobs for _, _, jobs in clusters),
            )
            _insert_clusters(connection, row.id, clusters, first_units or (0,) * len(clusters))
        log.info(
            "%s: submitted as %s", tag, ", ".join(f"{cluster}@{schedd}" for schedd, cluster, _ in clusters)
        )

    def record_refused(self, tag: str, *, message: str, now: float) -> None:
        """Record that the batch system said no and that no job carries `tag`."""
        with self._write() as connection:
            row = submission_row(connection, tag)
            plan = pinned_plan(connection, row.dag_id, row.tranche)
            slice_row(connection, experiment=plan.experiment, run=row.run, lock=True)
            row = submission_row(connection, tag, lock=True)
            if row.state in {SubmissionState.SUBMITTED, SubmissionState.ENDED}:
                raise LedgerError(
                    f"{tag} is {row.state}, so it cannot have been refused: look at its clusters"
                )
            _set(connection, row, state=SubmissionState.REFUSED, message=message, state_at=now, jobs_open=0)
            mine = admissions.c.submission_id == row.id
            connection.execute(sa.update(admissions).where(mine).values(admitted_at=None))
            recount(connection, plan, row.tranche, row.run, now=now)

    def record_ended(self, tag: str, *, now: float) -> None:
        """Record that every job of `tag` has ended or is accounted for."""
        with self._write() as connection:
            row = submission_row(connection, tag, lock=True)
            if row.state == SubmissionState.ENDED:
                return
            if row.state != SubmissionState.SUBMITTED:
                raise LedgerError(f"{tag} is {row.state}, so it cannot have ended: record its clusters first")
            _set(connection, row, state=SubmissionState.ENDED, state_at=now, jobs_open=0)

    def submission(self, tag: str) -> Submission | None:
        """Return the submission `tag`; None if there was not even an intent."""
        with self._read() as connection:
            found = _load(connection, submissions.c.tag == tag)
        return found[0] if found else None

    def submissions(
        self, dag_id: str, tranche: str, *, run: int | None = None, stage: str | None = None
    ) -> list[Submission]:
        """Return the tranche's submissions, of one run or stage if given, in the order of their intents."""
        wanted = (submissions.c.dag_id == dag_id) & (submissions.c.tranche == tranche)
        if run is not None:
            wanted &= submissions.c.run == run
        if stage is not None:
            wanted &= submissions.c.stage == stage
        with self._read() as connection:
            return _load(connection, wanted)

    def stage_units(self, dag_id: str, tranche: str, run: int, stage: str) -> list[StageUnit]:
        """Return the units of all submissions of a stage of a slice, in order of recovery and process."""
        unit, sent = submission_units.c, submissions.c
        query = (
            sa.select(
                sent.tag, sent.recovery, sent.state.label("submission"),
                unit.process, unit.first_subrun, unit.last_subrun, unit.state, unit.held,
            )
            .join_from(submissions, submission_units)
            .where(sent.dag_id == dag_id, sent.tranche == tranche, sent.run == run, sent.stage == stage)
            .order_by(sent.recovery, unit.process)
        )  # fmt: skip
        with self._read() as connection:
            return [_stage_unit(row) for row in connection.execute(query)]


def _stage_unit(row: Row[Any]) -> StageUnit:
    return StageUnit(
        tag=row.tag,
        recovery=row.recovery,
        process=row.process,
        first_subrun=row.first_subrun,
        last_subrun=row.last_subrun,
        state=None if row.state is None else SubrunState(row.state),
        held=row.held,
        submission=SubmissionState(row.submission),
    )


def _require_numbered(tag: str, units: Sequence[Unit]) -> None:
    if not units:
        raise LedgerError(f"{tag}: a submission without units sends no jobs")
    processes = [unit.process for unit in units]
    if processes != list(range(len(units))):
        raise LedgerError(
            f"{tag}: units must be numbered 0..{len(units) - 1} by process, not {processes[:10]}"
        )


def _reopen(connection: Connection, tag: str, *, now: float) -> Row[Any]:
    row = submission_row(connection, tag, lock=True)
    if row.state == SubmissionState.REFUSED:
        _set(connection, row, state=SubmissionState.INTENDED, state_at=now)
    return row


def _require_same(tag: str, row: Row[Any], place: dict[str, Any]) -> None:
    there = {name: getattr(row, name) for name in place}
    if there != place:
        raise LedgerError(f"{tag} is in the ledger for {there}, not for {place}")


def _require_same_clusters(
    connection: Connection, row: Row[Any], given: Sequence[tuple[str, int, int]]
) -> None:
    there = _clusters_of(connection, [row.id])[row.id]
    if {each[:2] for each in there} != {each[:2] for each in given}:
        known = _names([each[:3] for each in there])
        raise LedgerError(
            f"{row.tag} is {row.state} as {known}; it cannot also be {_names(given)}: "
            "if both are in the pool, the stage was submitted twice and one must be removed"
        )


def _names(given: Sequence[tuple[str, int, int]]) -> str:
    return ", ".join(f"{cluster}@{schedd}" for schedd, cluster, _ in given)


def _set(connection: Connection, row: Row[Any], **values: object) -> None:
    connection.execute(sa.update(submissions).where(submissions.c.id == row.id).values(**values))


def _insert_units(connection: Connection, submission_id: int, units: Sequence[Unit]) -> None:
    rows = [
        {
            "submission_id": submission_id,
            "process": unit.process,
            "first_subrun": unit.first_subrun,
            "last_subrun": unit.last_subrun,
            "inputs": unit.inputs,
        }
        for unit in units
    ]
    insert_all(connection, submission_units, rows)


def _insert_clusters(
    connection: Connection,
    submission_id: int,
    given: Sequence[tuple[str, int, int]],
    first_units: Sequence[int],
) -> None:
    rows = [
        {
            "submission_id": submission_id,
            "schedd": schedd,
            "cluster": cluster,
            "jobs": jobs,
            "first_unit": first,
        }
        for (schedd, cluster, jobs), first in sorted(set(zip(given, first_units, strict=True)))
    ]
    insert_all(connection, clusters, rows)


def _load(connection: Connection, wanted: sa.ColumnElement[bool]) -> list[Submission]:
    rows = connection.execute(sa.select(submissions).where(wanted).order_by(submissions.c.id)).all()
    ids = [row.id for row in rows]
    units, there = _units_of(connection, ids), _clusters_of(connection, ids)
    return [
        Submission(
            tag=row.tag,
            dag_id=row.dag_id,
            tranche=row.tranche,
            run=row.run,
            stage=row.stage,
            recovery=row.recovery,
            state=SubmissionState(row.state),
            units=tuple(units[row.id]),
            clusters=tuple(each[:3] for each in there[row.id]),
            first_units=_first_units(there[row.id]),
            work_dir=row.work_dir,
            message=row.message,
            intended_at=row.intended_at,
            submitted_at=row.submitted_at,
            changes=_changes(row.changes),
        )
        for row in rows
    ]


def _first_units(there: tuple[tuple[str, int, int, int], ...]) -> tuple[int, ...]:
    """Return where each cluster begins; empty where each begins with unit 0."""
    return tuple(each[3] for each in there) if any(each[3] for each in there) else ()


def _changes(data: dict[str, Any] | None) -> RequestChanges:
    if data is None:
        return AS_PLANNED
    return RequestChanges(**{**data, "machines": tuple(data["machines"]), "sites": tuple(data["sites"])})


def _units_of(connection: Connection, ids: Sequence[int]) -> dict[int, list[Unit]]:
    found: dict[int, list[Unit]] = defaultdict(list)
    query = sa.select(submission_units).where(submission_units.c.submission_id.in_(ids))
    for row in connection.execute(
        query.order_by(submission_units.c.submission_id, submission_units.c.process)
    ):
        found[row.submission_id].append(
            Unit(
                process=row.process,
                first_subrun=row.first_subrun,
                last_subrun=row.last_subrun,
                inputs=tuple((name, tuple(paths)) for name, paths in row.inputs),
            )
        )
    return found


def _clusters_of(
    connection: Connection, ids: Sequence[int]
) -> dict[int, tuple[tuple[str, int, int, int], ...]]:
    """Return submission → schedd, cluster, jobs, first unit of each cluster."""
    found: dict[int, tuple[tuple[str, int, int, int], ...]] = defaultdict(tuple)
    query = sa.select(clusters).where(clusters.c.submission_id.in_(ids))
    for row in connection.execute(query.order_by(clusters.c.schedd, clusters.c.cluster)):
        found[row.submission_id] += ((row.schedd, row.cluster, row.jobs, row.first_unit),)
    return found
