"""Progress: samples of the queue over time, and what is made of each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.ledger_outputs import verdict_record
from include.bookkeeping.ledger_slices import pinned_plan
from include.bookkeeping.records import OpenVerdict, ProgressSample
from include.bookkeeping.rows import insert_into, rows_given
from include.bookkeeping.subrun_counts import Counts, accepted_kinds, latest_units
from include.bookkeeping.tables import progress_samples, slices, submissions
from include.bookkeeping.tables import verdicts as verdict_table
from include.campaign.states import Outcome, SubmissionState
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Connection, Row

    from include.bookkeeping.records import StageProgress

COUNTS = ("idle", "running", "held", "completed", "removed", "unknown")
OPEN = ("idle", "running", "held", "unknown")
"""Of these, the jobs that are not known to have ended."""
SAMPLE_KEY = ("submission_id", "at")


class LedgerProgress(LedgerDatabase):
    """The part of the ledger that knows how far things are."""

    def record_progress(self, samples: Sequence[ProgressSample]) -> None:
        """Record samples of any number of submissions at once, in one statement."""
        if not samples:
            return
        with self._write() as connection:
            known = _known(connection, sorted({sample.tag for sample in samples}))
            _insert(connection, {(known[sample.tag].id, sample.at): sample for sample in samples})
            # Of several samples of a submission the latest says what is open now.
            latest = {each.tag: each for each in sorted(samples, key=lambda each: each.at)}
            _note_open_jobs(connection, [(known[tag], each) for tag, each in latest.items()])

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
            counted = Counts(connection, mine, [stage.name for stage in plan.stages if stage.is_merge])
            return [counted.of(stage) for stage in plan.stages]

    def open_verdicts(
        self, dag_id: str, tranche: str, run: int | None = None, stage: str | None = None
    ) -> list[OpenVerdict]:
        """Return why subruns of the tranche (of one run, of one stage) are not accepted, as far as checked.

        That is one verdict a process of the last submission that was to make them: the last that is not
        passed, which decided. In order of submission and process.
        """
        with self._read() as connection:
            plan = pinned_plan(connection, dag_id, tranche)
            kinds = {stage.name: len(stage.outputs) for stage in plan.stages}
            mine = (slices.c.dag_id == dag_id) & (slices.c.tranche == tranche)
            if run is not None:
                mine &= slices.c.run == run
            rows = connection.execute(_not_passed(mine, stage))
            last = {(row.id, row.process): row for row in rows if row.kinds < kinds.get(row.stage, 0)}
            return [_open_verdict(row) for row in last.values()]


def _insert(connection: Connection, samples: Mapping[tuple[int, float], ProgressSample]) -> None:
    """Write samples by (submission, time); one that is there already is replaced."""
    rows = [
        {"submission_id": of, "at": at, **{name: getattr(sample, name) for name in COUNTS}}
        for (of, at), sample in sorted(samples.items())
    ]
    columns = list(progress_samples.c)
    given = rows_given(connection, columns, rows)
    insert = insert_into(connection, progress_samples).from_select(
        [each.name for each in columns],
        # Without WHERE, SQLite takes ON CONFLICT for a join's condition: https://sqlite.org/lang_upsert.html
        sa.select(given).where(sa.true()),
    )
    counts = {name: insert.excluded[name] for name in COUNTS}
    connection.execute(insert.on_conflict_do_update(index_elements=list(SAMPLE_KEY), set_=counts))


def _note_open_jobs(connection: Connection, latest: Sequence[tuple[Any, ProgressSample]]) -> None:
    """Let jobs that were seen to have ended no longer count as being in flight (docs/limits.md).

    Only where that changes, and in the order of ids, so that two triggerers never wait for each other in a
    circle.
    """
    now_open = {row.id: sum(getattr(sample, name) for name in OPEN) for row, sample in latest}
    before = {row.id: row.jobs_open for row, _ in latest if row.state == SubmissionState.SUBMITTED}
    changed = [
        {"of": each, "still": now_open[each]} for each in sorted(before) if before[each] != now_open[each]
    ]
    if changed:
        mine = (submissions.c.id == sa.bindparam("of")) & (submissions.c.state == SubmissionState.SUBMITTED)
        jobs_open = sa.bindparam("still", type_=sa.Integer)
        connection.execute(sa.update(submissions).where(mine).values(jobs_open=jobs_open), changed)


def _not_passed(mine: sa.ColumnElement[bool], stage: str | None) -> sa.Select[Any]:
    """Return the verdicts that are not passed, in order, with how many outputs are accepted all the same."""
    latest, judged = latest_units(mine), verdict_table.c
    here = (judged.submission_id == latest.c.submission_id) & (judged.process == latest.c.process)
    return (
        sa.select(
            submissions.c.id, submissions.c.tag, latest.c.stage, latest.c.run, latest.c.process,
            latest.c.first_subrun, latest.c.last_subrun, accepted_kinds(latest),
            judged.check_name, judged.outcome, judged.reason, judged.evidence,
        )
        .select_from(latest)
        .join(verdict_table, here)
        .join(submissions, submissions.c.id == latest.c.submission_id)
        .where(latest.c.place == 1, judged.outcome != Outcome.PASSED)
        .where(sa.true() if stage is None else latest.c.stage == stage)
        .order_by(submissions.c.id, latest.c.process, judged.position)
    )  # fmt: skip


def _known(connection: Connection, tags: Sequence[str]) -> dict[str, Any]:
    """Return tag → id, state and jobs_open of its submission; LedgerError if there is none."""
    given = rows_given(connection, [submissions.c.tag], [{"tag": tag} for tag in tags])
    mine = submissions.c
    query = sa.select(mine.tag, mine.id, mine.state, mine.jobs_open)
    rows = connection.execute(query.join_from(given, submissions, mine.tag == given.c.tag))
    found: dict[str, Any] = {row.tag: row for row in rows}
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
