"""Diagnoses: why subruns were left without an accepted output, as triage has it."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase, submission_row
from include.bookkeeping.ledger_slices import pinned_plan
from include.bookkeeping.records import DiagnosisRecord, StageDiagnosis
from include.bookkeeping.rows import insert_all
from include.bookkeeping.tables import diagnoses as diagnosis_table
from include.bookkeeping.tables import outputs, slices, submissions
from include.campaign.states import Remedy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy.engine import Connection, Row

PLACE = ("dag_id", "tranche", "run", "stage")


class LedgerDiagnoses(LedgerDatabase):
    """The part of the ledger that knows why jobs failed."""

    def record_diagnoses(
        self,
        tag: str,
        diagnoses: Sequence[DiagnosisRecord],
        now: float,
        mended: Collection[int] = (),
    ) -> None:
        """Record what triage says of `tag`, replacing what it said before.

        What it said before of the processes `mended`, whose subruns are accepted now, is kept.
        """
        with self._write() as connection:
            submission_id = submission_row(connection, tag, lock=True).id
            mine = diagnosis_table.c.submission_id == submission_id
            before = (
                connection.execute(sa.select(diagnosis_table).where(mine)).mappings().all() if mended else []
            )
            anew = {(each.process, each.category) for each in diagnoses}
            kept = [
                row
                for row in before
                if row["process"] in mended and (row["process"], row["category"]) not in anew
            ]
            connection.execute(sa.delete(diagnosis_table).where(mine))
            rows = [
                *(
                    {**_values(each), "submission_id": submission_id, "diagnosed_at": now}
                    for each in diagnoses
                ),
                *(dict(row) for row in kept),
            ]
            insert_all(connection, diagnosis_table, [{**row, "position": n} for n, row in enumerate(rows)])

    def diagnoses(
        self,
        dag_id: str | None = None,
        tranche: str | None = None,
        run: int | None = None,
        stage: str | None = None,
        since: float | None = None,
        limit: int | None = None,
        *,
        open_only: bool = False,
    ) -> list[StageDiagnosis]:
        """Return diagnoses, the newest first; `since` and the order go by the job's end, else the diagnosis.

        With `open_only` those of subruns that are still not accepted, for each the diagnosis of the last
        submission that has one.
        """
        asked = zip(PLACE, (dag_id, tranche, run, stage), strict=True)
        given = [submissions.c[name] == value for name, value in asked if value is not None]
        wanted = sa.and_(sa.true(), *given)
        found = (_open if open_only else _all)(wanted).subquery()
        query = sa.select(found).order_by(found.c.time.desc(), found.c.submission_id, found.c.position)
        if since is not None:
            query = query.where(found.c.time >= since)
        query = query.where(found.c.place == 1) if open_only else query.limit(limit)
        with self._read() as connection:
            rows = connection.execute(query).all()
            wanted_rows = _unfinished(connection, rows) if open_only else iter(rows)
            return [_diagnosis(row) for row in islice(wanted_rows, limit)]


def _all(wanted: sa.ColumnElement[bool]) -> sa.Select[Any]:
    time = sa.func.coalesce(diagnosis_table.c.at, diagnosis_table.c.diagnosed_at).label("time")
    place = (submissions.c.tag, *(submissions.c[name] for name in PLACE))
    return sa.select(diagnosis_table, *place, time).join_from(diagnosis_table, submissions).where(wanted)


def _open(wanted: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Add `place`, 1 for the last of the same subruns, and how many subruns' outputs are accepted."""
    said, sent = diagnosis_table.c, submissions.c
    same = (sent.dag_id, sent.tranche, sent.run, sent.stage, said.first_subrun, said.last_subrun)
    place = sa.func.rank().over(partition_by=same, order_by=sent.recovery.desc()).label("place")
    here = (slices.c.dag_id == sent.dag_id) & (slices.c.tranche == sent.tranche) & (slices.c.run == sent.run)
    return _all(wanted).join(slices, here).add_columns(place, _accepted().label("accepted"))


def _accepted() -> sa.ColumnElement[int]:
    """Return the sum over accepted outputs of how many of a diagnosis's subruns they hold."""
    said, made = diagnosis_table.c, outputs.c
    last = sa.case((made.last_subrun < said.last_subrun, made.last_subrun), else_=said.last_subrun)
    mine = (
        (made.experiment == slices.c.experiment)
        & (made.run == slices.c.run)
        & (made.stage == submissions.c.stage)
        & made.accepted_at.is_not(None)
    )

    def held(first: sa.ColumnElement[int], where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        total = sa.select(sa.func.coalesce(sa.func.sum(last - first + 1), 0)).where(mine, where)
        return total.correlate(diagnosis_table, slices, submissions).scalar_subquery()

    inside = held(made.first_subrun, made.first_subrun.between(said.first_subrun, said.last_subrun))
    # Only a merge may be grouped otherwise by its recovery; it has few files, so looking at all is cheap.
    reaching_in = (made.first_subrun < said.first_subrun) & (made.last_subrun >= said.first_subrun)
    wide = said.last_subrun > said.first_subrun
    return inside + sa.case((wide, held(said.first_subrun, reaching_in)), else_=0)


def _unfinished(connection: Connection, rows: Sequence[Row[Any]]) -> Iterator[Row[Any]]:
    """Yield the rows of whose subruns not every output of the stage is accepted."""

    @cache
    def kinds(dag_id: str, tranche: str) -> dict[str, int]:
        return {stage.name: len(stage.outputs) for stage in pinned_plan(connection, dag_id, tranche).stages}

    for row in rows:
        needed = kinds(row.dag_id, row.tranche).get(row.stage, 0) * (row.last_subrun - row.first_subrun + 1)
        if row.accepted < needed:
            yield row


_FIELDS = tuple(field.name for field in fields(DiagnosisRecord) if field.name != "remedy")


def _values(diagnosis: DiagnosisRecord) -> dict[str, Any]:
    return {**{name: getattr(diagnosis, name) for name in _FIELDS}, "remedy": diagnosis.remedy}


def _diagnosis(row: Row[Any]) -> StageDiagnosis:
    said = DiagnosisRecord(**{name: getattr(row, name) for name in _FIELDS}, remedy=Remedy(row.remedy))
    return StageDiagnosis(**{name: getattr(row, name) for name in PLACE}, tag=row.tag, diagnosis=said)
