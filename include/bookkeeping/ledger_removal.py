"""Removal: which outputs are safe to remove, and what was removed."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase, slice_row
from include.bookkeeping.ledger_outputs import move, output_record
from include.bookkeeping.ledger_slices import pinned_plan
from include.bookkeeping.stage_counts import recount
from include.bookkeeping.tables import outputs as output_table
from include.bookkeeping.tables import submission_units, submissions
from include.campaign.states import OutputState
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from sqlalchemy.engine import Connection, Row

    from include.bookkeeping.records import OutputRecord
    from include.campaign.plan import CampaignPlan, StagePlan


class LedgerRemoval(LedgerDatabase):
    """The part of the ledger that says what may be removed."""

    def removable(
        self, *, experiment: str, run: int, now: float, duplicates_after_s: float | None = None
    ) -> list[OutputRecord]:
        """Return the outputs of a slice that nothing needs as of `now`, stage by stage.

        They are the accepted ones to be kept until merged where everything that the plan makes from them is
        made, and the merged files with their subruns are accepted; and at the end, with `duplicates_after_s`,
        those that have been duplicates of accepted ones for at least so long.
        """
        with self._read() as connection:
            rows = _of_slice(connection, experiment=experiment, run=run)
            safe = _merged(connection, rows, experiment=experiment, run=run, now=now)
            if duplicates_after_s is not None:
                safe += [row for row in _doubles(rows) if row.state_at + duplicates_after_s <= now]
            return [output_record(row) for row in safe]

    def removing(self, *, experiment: str, run: int) -> list[OutputRecord]:
        """Return the outputs of a slice whose removal began and is not known to have finished."""
        with self._read() as connection:
            rows = _of_slice(connection, experiment=experiment, run=run)
            return [output_record(row) for row in rows if row.state == OutputState.REMOVING]

    def begin_removal(self, outputs: Sequence[OutputRecord], *, experiment: str, now: float) -> None:
        """Record that `outputs` are about to be removed, all or none; LedgerError if one is still needed.

        An accepted output must be removable, and a duplicate must be one of an accepted output; a candidate
        or rejected one never is.
        """
        with self._write() as connection:
            for run in sorted({output.run for output in outputs}):
                slice_row(connection, experiment=experiment, run=run, lock=True)
                every = _of_slice(connection, experiment=experiment, run=run)
                merged = _merged(connection, every, experiment=experiment, run=run, now=now)
                safe = {row.id for row in (*merged, *_doubles(every))}
                rows = _named(connection, outputs, experiment=experiment, run=run)
                _require_safe(rows, safe)
                going = [row for row in rows if row.state != OutputState.REMOVED]
                move(connection, going, state=OutputState.REMOVING, now=now)

    def finish_removal(self, outputs: Sequence[OutputRecord], *, experiment: str, now: float) -> None:
        """Record that `outputs` are gone; LedgerError if the removal of one was never begun."""
        with self._write() as connection:
            for run in sorted({output.run for output in outputs}):
                here = slice_row(connection, experiment=experiment, run=run, lock=True)
                rows = _named(connection, outputs, experiment=experiment, run=run)
                for row in rows:
                    if row.state not in {OutputState.REMOVING, OutputState.REMOVED}:
                        raise LedgerError(
                            f"{row.path} is {row.state}: begin its removal before it is removed"
                        )
                move(connection, rows, state=OutputState.REMOVED, now=now)
                plan = pinned_plan(connection, here.dag_id, here.tranche)
                recount(connection, plan, here.tranche, run, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A stage that reads an output of another."""

    stage: StagePlan
    whole_slice: bool
    """Each of its jobs reads the files of all subruns, not only of its own."""


def consumers(plan: CampaignPlan, *, stage: str, output: str) -> Iterator[Consumer]:
    """Yield the stages that read the output."""
    for each in plan.stages:
        if each.merge is not None:
            # A group reads its own subruns; the plan lists a merge's input as the slice's, for people to see.
            if (each.merge.of_stage, each.merge.of_output) == (stage, output):
                yield Consumer(stage=each, whole_slice=False)
            continue
        for source in each.inputs:
            if (source.stage, source.output) == (stage, output):
                yield Consumer(stage=each, whole_slice=source.select == "all")


def reaches_merge(plan: CampaignPlan, *, stage: str, output: str) -> bool:
    """Return whether anything made from the output is merged."""
    return any(
        each.stage.is_merge
        or any(reaches_merge(plan, stage=each.stage.name, output=made.name) for made in each.stage.outputs)
        for each in consumers(plan, stage=stage, output=output)
    )


def finished(
    plan: CampaignPlan,
    accepted: Mapping[tuple[str, str], AbstractSet[int]],
    *,
    stage: str,
    output: str,
    subruns: frozenset[int],
) -> frozenset[int]:
    """Return those of `subruns` from whose output all is made that the plan makes from it, merges included.

    `accepted` says for (stage, output) which subruns have an accepted file.
    """
    left = subruns
    for consumer in consumers(plan, stage=stage, output=output):
        made = subruns
        for each in consumer.stage.outputs:
            made &= accepted.get((consumer.stage.name, each.name), frozenset())
            made &= finished(plan, accepted, stage=consumer.stage.name, output=each.name, subruns=subruns)
        if consumer.whole_slice and made != subruns:
            return frozenset()
        left &= made
    return left


def _doubles(rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    """Return the duplicates among a slice's outputs of which every subrun has an accepted file of its own.

    A file that was accepted and is removed or being removed counts: what needed it is made.
    """
    taken: dict[tuple[str, str], set[int]] = defaultdict(set)
    kept = {row.path for row in rows if row.state != OutputState.DUPLICATE}
    for row in rows:
        if row.accepted_at is not None:
            taken[row.stage, row.name].update(range(row.first_subrun, row.last_subrun + 1))
    return [
        row
        for row in rows
        if row.state == OutputState.DUPLICATE
        and row.path not in kept
        and taken[row.stage, row.name].issuperset(range(row.first_subrun, row.last_subrun + 1))
    ]


def _merged(
    connection: Connection, rows: Sequence[Row[Any]], *, experiment: str, run: int, now: float
) -> list[Row[Any]]:
    """Return the accepted outputs to be kept until merged that nothing needs as of `now`."""
    row = slice_row(connection, experiment=experiment, run=run)
    plan = pinned_plan(connection, row.dag_id, row.tranche)
    subruns = frozenset(range(row.first_subrun, row.first_subrun + row.subruns))
    ever = [each for each in rows if each.accepted_at is not None and each.accepted_at <= now]
    accepted: dict[tuple[str, str], set[int]] = defaultdict(set)
    for each in ever:
        accepted[each.stage, each.name].update(range(each.first_subrun, each.last_subrun + 1))
    safe: list[Row[Any]] = []
    here = (row.dag_id, row.tranche, run)
    for stage in plan.stages:
        for output in stage.outputs:
            if output.keep != "until-merged" or not reaches_merge(plan, stage=stage.name, output=output.name):
                continue
            done = finished(plan, accepted, stage=stage.name, output=output.name, subruns=subruns)
            going = [
                each
                for each in ever
                if (each.stage, each.name, each.state) == (stage.name, output.name, OutputState.ACCEPTED)
                and done.issuperset(range(each.first_subrun, each.last_subrun + 1))
            ]
            whole = [
                consumer.stage.name
                for consumer in consumers(plan, stage=stage.name, output=output.name)
                if consumer.whole_slice
            ]
            for name in whole if going else ():
                read = _read_by(connection, here, name)
                going = [each for each in going if each.path in read]
            safe += going
    return safe


def _read_by(connection: Connection, here: tuple[str, str, int], stage: str) -> set[str]:
    """Return what every submission of a stage, each of whose jobs reads the files of all subruns, read.

    A file that came later than a submission is not in it: its jobs were made without it.
    """
    mine = submissions.c
    dag_id, tranche, run = here
    place = (mine.dag_id == dag_id) & (mine.tranche == tranche) & (mine.run == run) & (mine.stage == stage)
    first = (
        sa.select(submission_units.c.submission_id, sa.func.min(submission_units.c.process).label("process"))
        .join(submissions, mine.id == submission_units.c.submission_id)
        .where(place)
        .group_by(submission_units.c.submission_id)
        .subquery()
    )
    same = (submission_units.c.submission_id == first.c.submission_id) & (
        submission_units.c.process == first.c.process
    )
    rows = connection.execute(sa.select(submission_units.c.inputs).join(first, same)).scalars()
    read = [{path for _, paths in inputs for path in paths} for inputs in rows]
    return set.intersection(*read) if read else set()


def _of_slice(connection: Connection, *, experiment: str, run: int) -> list[Row[Any]]:
    query = sa.select(output_table).where(output_table.c.experiment == experiment, output_table.c.run == run)
    return list(connection.execute(query.order_by(output_table.c.first_subrun, output_table.c.id)))


def _named(
    connection: Connection, outputs: Sequence[OutputRecord], *, experiment: str, run: int
) -> list[Row[Any]]:
    """Return the rows of those `outputs` that are of `run`; LedgerError for one that was never recorded."""
    there = {
        (row.stage, row.execution, row.name, row.path): row
        for row in _of_slice(connection, experiment=experiment, run=run)
    }
    found = []
    for output in outputs:
        if output.run != run:
            continue
        row = there.get((output.stage, output.execution, output.name, output.path))
        if row is None:
            raise LedgerError(f"the ledger has no output {output.path} of experiment {experiment}, run {run}")
        found.append(row)
    return found


def _require_safe(rows: Sequence[Row[Any]], safe: set[int]) -> None:
    for row in rows:
        if row.id not in safe and row.state in _KEPT:
            where = f"{row.path} (run {row.run}, subruns {row.first_subrun}..{row.last_subrun})"
            raise LedgerError(f"{where} {_KEPT[row.state]}")


_KEPT = {
    OutputState.CANDIDATE: "was never judged, so it must not be removed: check its stage first",
    OutputState.REJECTED: "is rejected, and kept for people to look at",
    OutputState.ACCEPTED: "is accepted, and still needed: remove only what the ledger calls removable",
    OutputState.DUPLICATE: "is a duplicate, but not all its subruns have an accepted output, or one with "
    "this path is no duplicate: it is kept",
}
"""Why an output that is not safe to remove stays, by its state."""
