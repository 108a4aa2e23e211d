"""Progress: samples of the queue over time, and what is made of each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import IN_LIMIT, LedgerDatabase, upsert
from include.bookkeeping.ledger_outputs import verdict_record
from include.bookkeeping.ledger_slices import pinned_plan
from include.bookkeeping.records import OpenVerdict, ProgressSample, StageProgress
from include.bookkeeping.tables import (
    merges,
    outputs,
    progress_samples,
    slices,
    submission_units,
    submissions,
)
from include.bookkeeping.tables import verdicts as verdict_table
from include.campaign.states import Outcome, OutputState, SubmissionState, SubrunState
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection, Row

    from include.campaign.plan import StagePlan

COUNTS = ("idle", "running", "held", "completed", "removed", "unknown")
OPEN = ("idle", "running", "held", "unknown")
"""Of these, the jobs that are not known to have ended."""


class LedgerProgress(LedgerDatabase):
    """The part of the ledger that knows how far things are."""

    def record_progress(self, samples: Sequence[ProgressSample]) -> None:
        """Record samples of any number of submissions at once."""
        if not samples:
            return
        with self._write() as connection:
            ids = _ids(connection, sorted({sample.tag for sample in samples}))
            rows = [
                {
                    "submission_id": ids[sample.tag],
                    "at": sample.at,
                    **{name: getattr(sample, name) for name in COUNTS},
                }
                for sample in samples
            ]
            upsert(connection, progress_samples, rows, key=("submission_id", "at"))
            _note_open_jobs(connection, rows)

    def progress(self, tag: str) -> list[ProgressSample]:
        """Return the samples of `tag` in order of time."""
        query = _samples().where(submissions.c.tag == tag).order_by(progress_samples.c.at)
        with self._read() as connection:
            return [_sample(row) for row in connection.execute(query)]

    def stage_progress(self, dag_id: str, tranche: str, *, run: int | None = None) -> list[StageProgress]:
        """Return what became of the subruns of a tranche, or of one run, stage by stage in the plan's order.

        A subrun is accepted once every output of the stage is accepted for it, missing where the latest check
        of the last submission that was to make it calls it missing, else unknown. Where a check recorded no
        states, as older ones did, a failed verdict stands for missing. Of a merge stage the planned groups'
        subruns count; until they are planned, all.
        """
        with self._read() as connection:
            plan = pinned_plan(connection, dag_id, tranche)
            mine = (slices.c.dag_id == dag_id) & (slices.c.tranche == tranche)
            if run is not None:
                mine &= slices.c.run == run
            counted = _Counts(connection, mine, [stage.name for stage in plan.stages if stage.is_merge])
            return [counted.of(stage) for stage in plan.stages]

    def open_verdicts(self, dag_id: str, tranche: str) -> list[OpenVerdict]:
        """Return why subruns of the tranche are not accepted, as far as they were checked.

        That is one verdict a process of the last submission that was to make them: the last that is not
        passed, which decided. In order of submission and process.
        """
        with self._read() as connection:
            plan = pinned_plan(connection, dag_id, tranche)
            kinds = {stage.name: len(stage.outputs) for stage in plan.stages}
            rows = connection.execute(
                _not_passed((slices.c.dag_id == dag_id) & (slices.c.tranche == tranche))
            )
            last = {(row.id, row.process): row for row in rows if row.kinds < kinds.get(row.stage, 0)}
            return [_open_verdict(row) for row in last.values()]


def _note_open_jobs(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Let jobs that were seen to have ended no longer count as being in flight (docs/limits.md).

    In the order of ids, so that two triggerers never wait for each other in a circle.
    """
    left = sorted({row["submission_id"]: sum(row[name] for name in OPEN) for row in rows}.items())
    jobs_open = sa.bindparam("still", type_=sa.Integer)
    mine = (submissions.c.id == sa.bindparam("of")) & (submissions.c.state == SubmissionState.SUBMITTED)
    statement = sa.update(submissions).where(mine, submissions.c.jobs_open != jobs_open)
    connection.execute(
        statement.values(jobs_open=jobs_open), [{"of": each, "still": jobs} for each, jobs in left]
    )


class _Counts:
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
    """Return (stage, outputs accepted all the same) → subruns that their last submission left missing."""
    latest = _latest_units(mine)
    width = (latest.c.last_subrun - latest.c.first_subrun + 1).label("subruns")
    chosen = sa.select(latest.c.stage, width, _accepted_kinds(latest)).where(
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
    lost, later = _latest_units(mine), submission_units.alias("later").c
    sent = submissions.alias("resent").c
    first = sa.case((later.first_subrun > lost.c.first_subrun, later.first_subrun), else_=lost.c.first_subrun)
    last = sa.case((later.last_subrun < lost.c.last_subrun, later.last_subrun), else_=lost.c.last_subrun)
    return (
        sa.select(
            lost.c.stage, _accepted_kinds(lost), lost.c.submission_id, lost.c.process,
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


def _accepted_kinds(unit: sa.Subquery) -> sa.Label[int]:
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


def _not_passed(mine: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Return the verdicts that are not passed, in order, with how many outputs are accepted all the same."""
    latest, judged = _latest_units(mine), verdict_table.c
    here = (judged.submission_id == latest.c.submission_id) & (judged.process == latest.c.process)
    return (
        sa.select(
            submissions.c.id, submissions.c.tag, latest.c.stage, latest.c.run, latest.c.process,
            latest.c.first_subrun, latest.c.last_subrun, _accepted_kinds(latest),
            judged.check_name, judged.outcome, judged.reason, judged.evidence,
        )
        .select_from(latest)
        .join(verdict_table, here)
        .join(submissions, submissions.c.id == latest.c.submission_id)
        .where(latest.c.place == 1, judged.outcome != Outcome.PASSED)
        .order_by(submissions.c.id, latest.c.process, judged.position)
    )  # fmt: skip


def _latest_units(mine: sa.ColumnElement[bool]) -> sa.Subquery:
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
            slices.c.experiment, *made_by, unit.submission_id, unit.process, unit.state,
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


def _ids(connection: Connection, tags: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(tags), IN_LIMIT):
        query = sa.select(submissions.c.tag, submissions.c.id)
        some = query.where(submissions.c.tag.in_(tags[start : start + IN_LIMIT]))
        found.update({row.tag: row.id for row in connection.execute(some)})
    for tag in tags:
        if tag not in found:
            raise LedgerError(f"the ledger has no submission {tag}: record its intent first")
    return found


def _open_verdict(row: Row[Any]) -> OpenVerdict:
    return OpenVerdict(stage=row.stage, run=row.run, tag=row.tag, verdict=verdict_record(row))


def _samples() -> sa.Select[Any]:
    return sa.select(submissions.c.tag, progress_samples).join_from(progress_samples, submissions)


def _sample(row: Row[Any]) -> ProgressSample:
    return ProgressSample(tag=row.tag, at=row.at, **{name: getattr(row, name) for name in COUNTS})
