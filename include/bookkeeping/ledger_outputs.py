"""Outputs and verdicts: exactly one output is accepted for each subrun."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase, slice_row, submission_row
from include.bookkeeping.ledger_slices import pinned_plan
from include.bookkeeping.records import OutputRecord, UnitState, VerdictRecord
from include.bookkeeping.rows import in_parts, insert_all, upsert
from include.bookkeeping.stage_counts import recount
from include.bookkeeping.tables import campaigns, submission_units, submissions
from include.bookkeeping.tables import outputs as output_table
from include.bookkeeping.tables import verdicts as verdict_table
from include.campaign.states import Outcome, OutputState
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection, Row

log = logging.getLogger(__name__)

OUTPUT_KEY = ("submission_id", "execution", "name")
GIVEN_STATES = {OutputState.CANDIDATE, OutputState.DUPLICATE, OutputState.REJECTED}
"""States that may be recorded; an output is accepted by `settle` alone, and removed after `begin_removal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The submission whose outputs are written."""

    submission_id: int
    tag: str
    dag_id: str
    tranche: str
    experiment: str
    run: int
    stage: str


class LedgerOutputs(LedgerDatabase):
    """The part of the ledger that knows outputs and verdicts."""

    def record_outputs(self, tag: str, outputs: Sequence[OutputRecord], *, now: float) -> None:
        """Record files that executions of `tag` published; only what is still a candidate changes.

        Of others, a number of events that was not known is noted.
        """
        with self._write() as connection:
            place = _place(connection, tag)
            rows = [_output_values(place, output, now=now) for output in outputs]
            upsert(connection, output_table, rows, key=OUTPUT_KEY, only_if=_still_candidate)
            _add_events(connection, place, outputs)

    def settle(
        self,
        tag: str,
        *,
        verdicts: Sequence[VerdictRecord],
        accept: Sequence[tuple[str, str]],
        reject: Sequence[tuple[str, str]],
        now: float,
        states: Sequence[UnitState] = (),
    ) -> None:
        """Record a check's result, in place of the last one's, and what becomes of outputs.

        A unit that `states` leaves out is not judged. `accept` and `reject` name outputs as (execution,
        output name). An output for whose subruns another one is accepted becomes a duplicate. What was
        accepted stays accepted, whatever a later call says.
        """
        both = set(accept) & set(reject)
        if both:
            raise LedgerError(f"{tag}: {min(both)} cannot be both accepted and rejected")
        with self._write() as connection:
            place = _place(connection, tag)
            _replace_verdicts(connection, place, verdicts, now=now)
            _replace_states(connection, place, states)
            known = _outputs_by_key(connection, place)
            accepted, duplicate = _sort_out(connection, place, _known(place, known, accept))
            rejected = [row for row in _known(place, known, reject) if row.state in GIVEN_STATES]
            move(connection, accepted, state=OutputState.ACCEPTED, now=now, accepted_at=now)
            move(connection, duplicate, state=OutputState.DUPLICATE, now=now)
            move(connection, rejected, state=OutputState.REJECTED, now=now)
            plan = pinned_plan(connection, place.dag_id, place.tranche)
            recount(connection, plan, place.tranche, place.run, now=now, checked=place.stage)
        counts = (len(accepted), len(duplicate), len(rejected))
        log.info("%s: %d outputs accepted, %d duplicates, %d rejected", tag, *counts)

    def verdicts(self, tag: str) -> list[VerdictRecord]:
        """Return the latest verdicts on `tag`, in the order in which they were given."""
        query = sa.select(verdict_table).join(submissions).where(submissions.c.tag == tag)
        with self._read() as connection:
            return [
                verdict_record(row) for row in connection.execute(query.order_by(verdict_table.c.position))
            ]

    def outputs(self, tag: str) -> list[OutputRecord]:
        """Return every output of `tag`, in order of subrun, name and execution."""
        query = sa.select(output_table).join(submissions).where(submissions.c.tag == tag)
        order = (output_table.c.first_subrun, output_table.c.name, output_table.c.execution)
        with self._read() as connection:
            return [output_record(row) for row in connection.execute(query.order_by(*order))]

    def accepted_outputs(
        self, *, experiment: str, run: int, stage: str, name: str | None = None, removed: bool = False
    ) -> list[OutputRecord]:
        """Return the accepted outputs of a stage in order of subrun; with `removed`, also what was removed.

        Without `removed` these are the files to read; with it, the subruns that need not be made again.
        """
        query = sa.select(output_table).where(
            output_table.c.experiment == experiment,
            output_table.c.run == run,
            output_table.c.stage == stage,
            output_table.c.accepted_at.is_not(None),
        )
        if not removed:
            query = query.where(output_table.c.state == OutputState.ACCEPTED)
        if name is not None:
            query = query.where(output_table.c.name == name)
        with self._read() as connection:
            found = connection.execute(query.order_by(output_table.c.first_subrun, output_table.c.name))
            return [output_record(row) for row in found]


def output_record(row: Row[Any]) -> OutputRecord:
    """Return a row of `outputs` as the record that callers know."""
    return OutputRecord(
        **{name: getattr(row, name) for name in _OUTPUT_FIELDS},
        state=OutputState(row.state),
    )


_OUTPUT_FIELDS = tuple(field.name for field in fields(OutputRecord) if field.name != "state")


def _place(connection: Connection, tag: str) -> _Place:
    """Return where `tag` belongs, its slice locked: one check at a time decides what is accepted in it."""
    row = submission_row(connection, tag)
    experiment = connection.scalar(sa.select(campaigns.c.experiment).where(campaigns.c.dag_id == row.dag_id))
    if experiment is None:
        raise LedgerError(f"the ledger has no campaign {row.dag_id}, which {tag} belongs to")
    slice_row(connection, experiment=experiment, run=row.run, lock=True)
    return _Place(
        submission_id=row.id,
        tag=tag,
        dag_id=row.dag_id,
        tranche=row.tranche,
        experiment=experiment,
        run=row.run,
        stage=row.stage,
    )


def _output_values(place: _Place, output: OutputRecord, *, now: float) -> dict[str, Any]:
    what = f"{place.tag}: output {output.name} of {output.execution}"
    if (output.run, output.stage) != (place.run, place.stage):
        raise LedgerError(
            f"{what} is of run {output.run}, stage {output.stage}, the tag of run {place.run}, {place.stage}"
        )
    if output.state not in GIVEN_STATES:
        raise LedgerError(
            f"{what} cannot be recorded as {output.state}: record it as candidate, then settle the tag"
        )
    values = {name: getattr(output, name) for name in _OUTPUT_FIELDS}
    times = {"recorded_at": now, "state_at": now}
    return {
        **values,
        **times,
        "state": output.state,
        "file_name": output.path.rpartition("/")[2],
        "submission_id": place.submission_id,
        "experiment": place.experiment,
    }


def _still_candidate(_new: object) -> sa.ColumnElement[bool]:
    return output_table.c.state == OutputState.CANDIDATE


def _add_events(connection: Connection, place: _Place, outputs: Sequence[OutputRecord]) -> None:
    """Note events that were counted only after an output was accepted, rejected or taken for a duplicate."""
    counted = [each for each in outputs if each.events is not None]
    if not counted:
        return
    table = output_table.c
    mine = (table.submission_id == place.submission_id, table.events.is_(None))
    query = sa.select(table.execution, table.name).where(*mine, table.state != OutputState.CANDIDATE)
    unknown = {tuple(row) for row in connection.execute(query)}
    rows = [
        {"of_execution": each.execution, "of_name": each.name, "events": each.events}
        for each in counted
        if (each.execution, each.name) in unknown
    ]
    if rows:
        named = (table.execution == sa.bindparam("of_execution"), table.name == sa.bindparam("of_name"))
        connection.execute(sa.update(output_table).where(*mine, *named), rows)


def _replace_verdicts(
    connection: Connection, place: _Place, verdicts: Sequence[VerdictRecord], *, now: float
) -> None:
    connection.execute(sa.delete(verdict_table).where(verdict_table.c.submission_id == place.submission_id))
    rows = [
        {
            "submission_id": place.submission_id,
            "position": position,
            "process": verdict.process,
            "first_subrun": verdict.first_subrun,
            "last_subrun": verdict.last_subrun,
            "check_name": verdict.check,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "evidence": verdict.evidence,
            "judged_at": now,
        }
        for position, verdict in enumerate(verdicts)
    ]
    insert_all(connection, verdict_table, rows)


def _replace_states(connection: Connection, place: _Place, states: Sequence[UnitState]) -> None:
    """Set the states of all units of the submission; LedgerError for a process that it does not have."""
    unit = submission_units.c
    query = sa.select(unit.process, unit.state, unit.held).where(unit.submission_id == place.submission_id)
    there = {row.process: (row.state, row.held) for row in connection.execute(query)}
    wanted: dict[int, tuple[str | None, bool]] = dict.fromkeys(there, (None, False))
    for each in states:
        if each.process not in there:
            raise LedgerError(f"{place.tag} has no process {each.process}, so it has no state")
        wanted[each.process] = (each.state.value, each.held)
    changed: defaultdict[tuple[str | None, bool], list[int]] = defaultdict(list)
    for process, new in wanted.items():
        if there[process] != new:
            changed[new].append(process)
    for (state, held), processes in changed.items():
        for some in in_parts(processes):
            mine = (unit.submission_id == place.submission_id) & unit.process.in_(some)
            connection.execute(sa.update(submission_units).where(mine).values(state=state, held=held))


def _outputs_by_key(connection: Connection, place: _Place) -> dict[tuple[str, str], Row[Any]]:
    query = sa.select(output_table).where(output_table.c.submission_id == place.submission_id)
    return {(row.execution, row.name): row for row in connection.execute(query)}


def _known(
    place: _Place, known: dict[tuple[str, str], Row[Any]], keys: Sequence[tuple[str, str]]
) -> list[Row[Any]]:
    """Return the rows that `keys` name, each once; LedgerError for one that was never recorded."""
    for execution, name in keys:
        if (execution, name) not in known:
            raise LedgerError(
                f"{place.tag}: the ledger has no output {name} of {execution}: record it before it is judged"
            )
    return [known[execution, name] for execution, name in dict.fromkeys(keys)]


def _sort_out(
    connection: Connection, place: _Place, wanted: Iterable[Row[Any]]
) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Split what is to be accepted into what can be and what duplicates an accepted output."""
    taken = _accepted_ranges(connection, place)
    accepted: list[Row[Any]] = []
    duplicate: list[Row[Any]] = []
    for row in sorted(wanted, key=lambda row: (row.first_subrun, row.id)):
        if row.state not in GIVEN_STATES:
            continue
        if _covered(taken.setdefault(row.name, {}), row, tag=place.tag):
            duplicate.append(row)
        else:
            accepted.append(row)
            taken[row.name].update(dict.fromkeys(range(row.first_subrun, row.last_subrun + 1), row.path))
    return accepted, duplicate


def _accepted_ranges(connection: Connection, place: _Place) -> dict[str, dict[int, str]]:
    """Return output name → subrun → path of what was ever accepted in the stage and slice of `place`."""
    query = sa.select(output_table).where(
        output_table.c.experiment == place.experiment,
        output_table.c.run == place.run,
        output_table.c.stage == place.stage,
        output_table.c.accepted_at.is_not(None),
    )
    found: dict[str, dict[int, str]] = {}
    for row in connection.execute(query):
        subruns = range(row.first_subrun, row.last_subrun + 1)
        found.setdefault(row.name, {}).update(dict.fromkeys(subruns, row.path))
    return found


def _covered(taken: dict[int, str], row: Row[Any], *, tag: str) -> bool:
    """Return whether all subruns of `row` are taken; LedgerError where some are and some are not."""
    subruns = range(row.first_subrun, row.last_subrun + 1)
    inside = [subrun for subrun in subruns if subrun in taken]
    if inside and len(inside) < len(subruns):
        raise LedgerError(
            f"{tag}: {row.path} holds subruns {row.first_subrun}..{row.last_subrun}, of which {inside[0]} "
            f"is accepted in {taken[inside[0]]} and others are not: leave out what is merged already"
        )
    return bool(inside)


def move(
    connection: Connection, rows: Sequence[Row[Any]], *, state: OutputState, now: float, **more: float
) -> None:
    """Set the state of `rows` of outputs; those that have it already keep their time."""
    for some in in_parts([row.id for row in rows if row.state != state]):
        mine = output_table.c.id.in_(some)
        connection.execute(sa.update(output_table).where(mine).values(state=state, state_at=now, **more))


def verdict_record(row: Row[Any]) -> VerdictRecord:
    """Return a row of `verdicts` as the record that callers know."""
    return VerdictRecord(
        process=row.process,
        first_subrun=row.first_subrun,
        last_subrun=row.last_subrun,
        check=row.check_name,
        outcome=Outcome(row.outcome),
        reason=row.reason,
        evidence=row.evidence,
    )
