"""Merge groups: planned once, pinned under the tag that makes them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase, slice_row
from include.bookkeeping.ledger_outputs import output_record
from include.bookkeeping.ledger_slices import pinned_plan
from include.bookkeeping.records import MergeGroup
from include.bookkeeping.rows import insert_all
from include.bookkeeping.stage_counts import recount
from include.bookkeeping.tables import merges, outputs, slices, submissions
from include.campaign.states import OutputState
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection, Row

    from include.bookkeeping.records import OutputRecord


class LedgerMerges(LedgerDatabase):
    """The part of the ledger that knows which subruns go into which merged file."""

    def plan_merge(
        self, *, experiment: str, run: int, stage: str, tag: str, groups: Sequence[MergeGroup], now: float
    ) -> tuple[MergeGroup, ...]:
        """Pin the groups that `tag` will merge, and return what is pinned.

        Once a submission of the tag is intended its groups stay as they are; until then they are replaced.
        """
        with self._write() as connection:
            here = slice_row(connection, experiment=experiment, run=run, lock=True)
            there = _groups(connection, tag)
            intended = connection.scalar(sa.select(submissions.c.id).where(submissions.c.tag == tag))
            if not groups or (there and intended is not None):
                return there
            _require_apart(tag, groups)
            connection.execute(sa.delete(merges).where(merges.c.tag == tag))
            common = {"tag": tag, "experiment": experiment, "run": run, "stage": stage, "planned_at": now}
            rows = [{**common, **_values(group)} for group in groups]
            insert_all(connection, merges, rows)
            recount(
                connection, pinned_plan(connection, here.dag_id, here.tranche), here.tranche, run, now=now
            )
            return _groups(connection, tag)

    def merge_groups(self, tag: str) -> tuple[MergeGroup, ...]:
        """Return the groups pinned for `tag` in order of process; empty where nothing is planned."""
        with self._read() as connection:
            return _groups(connection, tag)

    def merged_outputs(self, dag_id: str, tranche: str) -> list[OutputRecord]:
        """Return the accepted merged files of a tranche that are still there, by slice, stage and subrun."""
        here = (outputs.c.experiment == slices.c.experiment) & (outputs.c.run == slices.c.run)
        mine = (slices.c.dag_id == dag_id) & (slices.c.tranche == tranche)
        with self._read() as connection:
            stages = [
                stage.name for stage in pinned_plan(connection, dag_id, tranche).stages if stage.is_merge
            ]
            query = (
                sa.select(outputs, slices.c.slice_index)
                .join_from(slices, outputs, here)
                .where(mine, outputs.c.stage.in_(stages), outputs.c.state == OutputState.ACCEPTED)
                .order_by(slices.c.slice_index, outputs.c.first_subrun, outputs.c.name)
            )
            found = connection.execute(query).all()
        ordered = sorted(found, key=lambda row: (row.slice_index, stages.index(row.stage)))
        return [output_record(row) for row in ordered]


def _require_apart(tag: str, groups: Sequence[MergeGroup]) -> None:
    """Refuse groups that share a subrun, or whose processes are not 0..n-1."""
    processes = sorted(group.process for group in groups)
    if processes != list(range(len(groups))):
        raise LedgerError(f"{tag}: merge groups must be numbered 0..{len(groups) - 1}, not {processes[:10]}")
    for before, after in pairwise(sorted(groups, key=lambda group: group.first_subrun)):
        if after.first_subrun <= before.last_subrun:
            raise LedgerError(
                f"{tag}: groups {before.process} (subruns {before.first_subrun}..{before.last_subrun}) and "
                f"{after.process} ({after.first_subrun}..{after.last_subrun}) share subruns"
            )


def _values(group: MergeGroup) -> dict[str, Any]:
    return {
        "process": group.process,
        "first_subrun": group.first_subrun,
        "last_subrun": group.last_subrun,
        "inputs": group.inputs,
        "bytes": group.bytes,
    }


def _groups(connection: Connection, tag: str) -> tuple[MergeGroup, ...]:
    found = connection.execute(sa.select(merges).where(merges.c.tag == tag).order_by(merges.c.process))
    return tuple(_group(row) for row in found)


def _group(row: Row[Any]) -> MergeGroup:
    return MergeGroup(
        process=row.process,
        first_subrun=row.first_subrun,
        last_subrun=row.last_subrun,
        inputs=tuple(row.inputs),
        bytes=row.bytes,
    )
