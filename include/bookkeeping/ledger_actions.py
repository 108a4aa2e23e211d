"""Actions: what prodsys and people did about stages and nodes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.records import ActionRecord
from include.bookkeeping.rows import insert_if_new
from include.bookkeeping.tables import actions as action_table
from include.campaign.states import DECISIONS, ActionKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection, Row


class LedgerActions(LedgerDatabase):
    """The part of the ledger that knows what was done."""

    def record_action(self, action: ActionRecord) -> None:
        """Record an action, before the act or after it; the same record again changes nothing.

        Who repeats an act after a crash should give it the time of what led to it, so that it stays one.
        """
        self.record_actions([action])

    def record_actions(self, actions: Sequence[ActionRecord]) -> None:
        """Record actions, all or none."""
        if not actions:
            return
        with self._write() as connection:
            for action in actions:
                _insert(connection, action)

    def actions(
        self,
        dag_id: str | None = None,
        tranche: str | None = None,
        run: int | None = None,
        stage: str | None = None,
        kind: ActionKind | None = None,
    ) -> list[ActionRecord]:
        """Return the actions in order of time; without a dag_id those of every campaign."""
        given = {"dag_id": dag_id, "tranche": tranche, "run": run, "stage": stage, "kind": kind}
        query = sa.select(action_table)
        for name, value in given.items():
            if value is not None:
                query = query.where(action_table.c[name] == value)
        with self._read() as connection:
            found = connection.execute(query.order_by(action_table.c.at, action_table.c.id))
            return [action_record(row) for row in found]

    def decisions(self, dag_id: str, tranche: str, *, run: int, stage: str) -> list[ActionRecord]:
        """Return what was asked and decided about a stage of a slice, as it was written.

        Not by the times: the machines that wrote them may have clocks that differ.
        """
        mine = {"dag_id": dag_id, "tranche": tranche, "run": run, "stage": stage}
        query = sa.select(action_table).filter_by(**mine).where(action_table.c.kind.in_(DECISIONS))
        with self._read() as connection:
            return [action_record(row) for row in connection.execute(query.order_by(action_table.c.id))]

    def releases(self, tag: str) -> dict[str, tuple[float, ...]]:
        """Return job id → when each hold began that it was released of, or was about to be, by `tag`."""
        mine = (action_table.c.tag == tag) & (action_table.c.kind == ActionKind.RELEASE)
        query = sa.select(action_table.c.jobs, action_table.c.at).where(mine).order_by(action_table.c.at)
        found: dict[str, list[float]] = {}
        with self._read() as connection:
            for row in connection.execute(query):
                for job in row.jobs:
                    found.setdefault(job, []).append(row.at)
        return {job: tuple(times) for job, times in found.items()}


def _insert(connection: Connection, action: ActionRecord) -> None:
    values = {field.name: getattr(action, field.name) for field in fields(action)}
    values["jobs"] = list(action.jobs)
    text = json.dumps(values, sort_keys=True)
    insert_if_new(connection, action_table, {**values, "digest": hashlib.sha256(text.encode()).hexdigest()})


def action_record(row: Row[Any]) -> ActionRecord:
    """Return a row of `actions` as the record that it holds."""
    values = {field.name: getattr(row, field.name) for field in fields(ActionRecord)}
    return ActionRecord(**{**values, "kind": ActionKind(row.kind), "jobs": tuple(row.jobs)})
