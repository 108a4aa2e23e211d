"""Exclusions: nodes and sites that get no jobs for a while."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.node_tables import exclusions as exclusion_table
from include.bookkeeping.records import Exclusion
from include.bookkeeping.rows import insert_into
from include.campaign.identifiers import check_node
from include.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Row

log = logging.getLogger(__name__)


class LedgerExclusions(LedgerDatabase):
    """The part of the ledger that knows which nodes and sites get no jobs."""

    def exclude(self, exclusion: Exclusion) -> Exclusion:
        """Record an exclusion and return what is recorded.

        Where the same node or site is excluded at its `since`, that exclusion goes on until the later end,
        for the new reason; else it is a new one. LedgerError for a name that no list of HTCondor can carry.
        """
        try:
            check_node(exclusion.name, what=exclusion.kind)
        except ValueError as error:
            raise LedgerError(str(error)) from error
        name = {"kind": exclusion.kind, "name": exclusion.name}
        told = {"by": exclusion.by, "reason": exclusion.reason}
        with self._write() as connection:
            last = _last(connection, **name)
            goes_on = last is not None and last.lifted_at is None and last.until > exclusion.since
            number = (0 if last is None else last.number) + (0 if goes_on else 1)
            insert = insert_into(connection, exclusion_table).values(
                **name, **told, number=number, since=exclusion.since, until=exclusion.until
            )
            later = sa.case(
                (exclusion_table.c.until > insert.excluded.until, exclusion_table.c.until),
                else_=insert.excluded.until,
            )
            written = insert.on_conflict_do_update(
                index_elements=["kind", "name", "number"], set_={**told, "until": later}
            )
            kept = _exclusion(connection.execute(written.returning(exclusion_table)).one())
        log.info("%s %s is excluded until %.0f: %s", kept.kind, kept.name, kept.until, kept.reason)
        return kept

    def lift(self, kind: str, name: str, by: str, now: float) -> Exclusion | None:
        """End the exclusion of a node or site that is active, and return it; None where none is."""
        with self._write() as connection:
            last = _last(connection, kind=kind, name=name)
            if last is None or last.lifted_at is not None or last.until <= now:
                return None
            here = [exclusion_table.c[key] == getattr(last, key) for key in ("kind", "name", "number")]
            ended = sa.update(exclusion_table).where(*here).values(lifted_at=now, lifted_by=by)
            return _exclusion(connection.execute(ended.returning(exclusion_table)).one())

    def exclusions(self, now: float, *, all: bool = False) -> list[Exclusion]:  # noqa: A002  as callers say it
        """Return the exclusions that are active, with `all` also those that were, in order of beginning."""
        query = sa.select(exclusion_table)
        if not all:
            query = query.where(exclusion_table.c.lifted_at.is_(None), exclusion_table.c.until > now)
        order = (exclusion_table.c.since, exclusion_table.c.kind, exclusion_table.c.name)
        with self._read() as connection:
            return [_exclusion(row) for row in connection.execute(query.order_by(*order))]


def _last(connection: Connection, *, kind: str, name: str) -> Row[Any] | None:
    """Return the latest exclusion of a node or site, locked; the insert settles a race for the first."""
    mine = (exclusion_table.c.kind == kind) & (exclusion_table.c.name == name)
    query = sa.select(exclusion_table).where(mine).order_by(exclusion_table.c.number.desc()).limit(1)
    return connection.execute(query.with_for_update()).one_or_none()


def _exclusion(row: Row[Any]) -> Exclusion:
    return Exclusion(
        kind=row.kind,
        name=row.name,
        since=row.since,
        until=row.until,
        by=row.by,
        reason=row.reason,
        lifted_at=row.lifted_at,
    )
