"""What became of the subruns of some slices, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.records import StageProgress
from include.bookkeeping.tables import merges, outputs, slices, submission_units, submissions
from include.bookkeeping.tables import verdicts as verdict_table
from include.campaign.states import Outcome, OutputState, SubmissionState, SubrunState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection

    from include.campaign.plan import StagePlan


class Counts:
    """Counts over some slices; one query of a kind, however many stages there are."""

    def __init__(
        self, connection: Connection, mine: sa.ColumnElement[bool], merge_stages: Sequence[str]
    ) -> None:
        # Postgres sums integers to a decimal.
        self._expected = int(connection.scalar(sa.select(sa.func.sum(slices.c.subruns)).where(mine)) or 0)
        per_subrun = _accepted_per_subrun(mine)
        # (stage, outputs accepted for the same subruns) → subruns
        self._accepted = {
            (row.stage, row.kinds): int(row.subruns) for row in connection.execute(_summed(per_subrun))
        }
        self._duplicates = {row.stage: row.files for row in connection.execute(_duplicates(mine))}
        self._missing = _missing(connection, mine, merge_stages)
        self._planned = _planned(connection, mine)

    def of(self, stage: StagePlan) -> StageProgress:
        """Return the counts of one stage."""
        kinds = len(stage.outputs)
        expected = self._planned.get(stage.name, self._expected) if stage.is_merge else self._expected
        accepted = self._accepted.get((stage.name, kinds), 0)
        proven = sum(
            subruns
            for (name, there), subruns in self._missing.items()
            if name == stage.name and there < kinds
        )
        missing = min(proven, max(expected - accepted, 0))
        return StageProgress(
            stage=stage.name,
            subruns=expected,
            accepted=accepted,
            missing=missing,
            unknown=max(expected - accepted - missing, 0),
            duplicates=self._duplicates.get(stage.name, 0),
        )


def _accepted_per_subrun(mine: sa.ColumnElement[bool]) -> sa.Subquery:
    """Return stage, run, first_subrun → how many kinds of output are accepted, over how many subruns."""
    return (
        sa.select(
            outputs.c.stage,
            outputs.c.run,
            outputs.c.first_subrun,
            sa.func.count().label("kinds"),
            sa.func.max(outputs.c.last_subrun - outputs.c.first_subrun + 1).label("subruns"),
        )
        .join_from(
            slices, outputs, (outputs.c.experiment == slices.c.experiment) & (outputs.c.run == slices.c.run)
        )
        .where(mine, outputs.c.accepted_at.is_not(None))
        .group_by(outputs.c.stage, outputs.c.run, outputs.c.first_subrun)
        .subquery()
    )


def _summed(per_subrun: sa.Subquery) -> sa.Select[Any]:
    total = sa.func.sum(per_subrun.c.subruns).label("subruns")
    return sa.select(per_subrun.c.stage, per_subrun.c.kinds, total).group_by(
        per_subrun.c.stage, per_subrun.c.kinds
    )


def _duplicates(mine: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return (
        sa.select(outputs.c.stage, sa.func.count().label("files"))
        .join_from(
            slices, outputs, (outputs.c.experiment == slices.c.experiment) & (outputs.c.run == slices.c.run)
        )
        .where(mine, outputs.c.state == OutputState.DUPLICATE)
        .group_by(outputs.c.stage)
    )


def _missing(
    connection: Connection, mine: sa.ColumnElement[bool], merge_stages: Sequence[str]
) -> dict[tuple[str, int], int]:
    """Return (stage, outputs accepted all the same) → subruns that their last submission left missing.

    Units that are accepted need not be put in order: of what they follow, the outputs are accepted.
    """
    state = submission_units.c.state
    latest = latest_units(mine & (state.is_(None) | (state != SubrunState.ACCEPTED)))
    width = (latest.c.last_subrun - latest.c.first_subrun + 1).label("subruns")
    chosen = sa.select(latest.c.stage, width, accepted_kinds(latest)).where(
        latest.c.place == 1, _is_missing(latest)
    )
    found = {
        (row.stage, row.kinds): int(row.subruns) for row in connection.execute(_summed(chosen.subquery()))
    }
    remade: dict[Any, set[int]] = {}
    for row in connection.execute(_regrouped(mine & submissions.c.stage.in_(merge_stages))):
        unit = (row.stage, row.kinds, row.submission_id, row.process)
        remade.setdefault(unit, set()).update(range(row.first, row.last + 1))
    for (stage, kinds, *_), subruns in remade.items():
        found[stage, kinds] -= len(subruns)
    return found


def _regrouped(mine: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Return the parts of missing ranges that a recovery makes in other ranges, as those of merges do."""
    lost, later = latest_units(mine), submission_units.alias("later").c
    sent = submissions.alias("resent").c
    first = sa.case((later.first_subrun > lost.c.first_subrun, later.first_subrun), else_=lost.c.first_subrun)
    last = sa.case((later.last_subrun < lost.c.last_subrun, later.last_subrun), else_=lost.c.last_subrun)
    return (
        sa.select(
            lost.c.stage, accepted_kinds(lost), lost.c.submission_id, lost.c.process,
            first.label("first"), last.label("last"),
        )
        .join_from(
            lost, sent.id.table,
            (sent.dag_id == lost.c.dag_id) & (sent.tranche == lost.c.tranche) & (sent.run == lost.c.run)
            & (sent.stage == lost.c.stage) & (sent.recovery > lost.c.recovery),
        )
        .join(later.process.table, later.submission_id == sent.id)
        .where(lost.c.place == 1, _is_missing(lost), sent.state != SubmissionState.REFUSED)
        .where(later.first_subrun <= lost.c.last_subrun, later.last_subrun >= lost.c.first_subrun)
    )  # fmt: skip


def _is_missing(unit: sa.Subquery) -> sa.ColumnElement[bool]:
    judged = verdict_table.c
    failed = sa.exists().where(
        judged.submission_id == unit.c.submission_id,
        judged.process == unit.c.process,
        judged.outcome == Outcome.FAILED,
    )
    return (unit.c.state == SubrunState.MISSING) | (unit.c.state.is_(None) & failed)


def accepted_kinds(unit: sa.Subquery) -> sa.Label[int]:
    """Return how many outputs of just a unit's subruns are accepted.

    A look-up for each unit: joined, Postgres may compare all with all before it has statistics.
    """
    return (
        sa.select(sa.func.count())
        .where(
            outputs.c.experiment == unit.c.experiment,
            outputs.c.run == unit.c.run,
            outputs.c.stage == unit.c.stage,
            outputs.c.first_subrun == unit.c.first_subrun,
            outputs.c.last_subrun == unit.c.last_subrun,
            outputs.c.accepted_at.is_not(None),
        )
        .scalar_subquery()
        .label("kinds")
    )


def latest_units(mine: sa.ColumnElement[bool]) -> sa.Subquery:
    """Return every unit; `place` is 1 for the one of the last submission of its subruns.

    A refused submission sent no jobs, so it says nothing of its subruns; one that is not checked yet may
    still make them.
    """
    unit, sent = submission_units.c, submissions.c
    in_slice = (
        (sent.dag_id == slices.c.dag_id) & (sent.tranche == slices.c.tranche) & (sent.run == slices.c.run)
    )
    made_by = (sent.run, sent.stage, unit.first_subrun, unit.last_subrun)
    place = sa.func.row_number().over(partition_by=made_by, order_by=sent.recovery.desc()).label("place")
    return (
        sa.select(
            slices.c.experiment, *made_by, unit.submission_id, unit.process, unit.state, unit.held,
            sent.dag_id, sent.tranche, sent.recovery, place,
        )
        .select_from(slices)
        .join(submissions, in_slice)
        .join(submission_units, unit.submission_id == sent.id)
        .where(mine, sent.state != SubmissionState.REFUSED)
        .subquery()
    )  # fmt: skip


def _planned(connection: Connection, mine: sa.ColumnElement[bool]) -> dict[str, int]:
    """Return merge stage → subruns in its planned groups; runs without a plan count in full."""
    here = (merges.c.experiment == slices.c.experiment) & (merges.c.run == slices.c.run)
    columns = (merges.c.stage, merges.c.run, merges.c.first_subrun, merges.c.last_subrun)
    ranges = connection.execute(sa.select(*columns).distinct().join_from(slices, merges, here).where(mine))
    planned: dict[tuple[str, int], set[int]] = {}
    for row in ranges:
        planned.setdefault((row.stage, row.run), set()).update(range(row.first_subrun, row.last_subrun + 1))
    sizes = {
        row.run: row.subruns
        for row in connection.execute(sa.select(slices.c.run, slices.c.subruns).where(mine))
    }
    return {
        stage: sum(
            len(planned[stage, run]) if (stage, run) in planned else size for run, size in sizes.items()
        )
        for stage in {stage for stage, _ in planned}
    }
