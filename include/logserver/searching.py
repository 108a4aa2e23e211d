"""Searching: the index names blocks, their lines are read and compared."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.logserver.lines import Wanted, lines_of
from include.logserver.reading import EVERYTHING, LogReading, conditions, infos
from include.logserver.records import Before, Found, Hit, LogLine
from include.logserver.tables import blocks, logs, submissions

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Row

    from include.logserver.records import Where

SECONDS = 3.0
"""That a search may take before it answers with what it has."""
AT_ONCE = 40
"""Blocks that are read at a time."""


class LogSearching(LogReading):
    """The part of the store that finds text."""

    def search(
        self,
        text: str,
        where: Where = EVERYTHING,
        *,
        limit: int = 100,
        before: Before | None = None,
        seconds: float = SECONDS,
    ) -> Found:
        """Return `limit` lines at most that have all of `text`: words, "several words", begin*; newest first.

        Case and what is neither letter nor digit do not count. `before` goes on where an earlier answer
        ended, be it within a block. LogsError if there is no word in `text`. A line that was sent in two
        pieces counts as two.
        """
        wanted = Wanted.parse(text)
        deadline, hits, over = time.monotonic() + seconds, list[tuple[int, LogLine, float]](), False
        with self._read() as connection:
            while not over and len(hits) < limit and time.monotonic() < deadline:
                found = connection.execute(_blocks(connection, wanted, where, before)).all()
                over = len(found) < AT_ONCE
                for row in found:
                    lines = _hits(wanted, row, before)
                    taken = lines[: limit - len(hits)]
                    hits += [(row.log_id, line, row.at) for line in taken]
                    rest = len(taken) < len(lines)
                    before = Before(block=row.id, offset=taken[-1].offset if rest else 0)
                    if len(hits) >= limit:
                        over = over and not rest and row is found[-1]
                        break
            numbers = {number for number, _, _ in hits}
            of = {log.id: log for log in infos(connection, [logs.c.id.in_(numbers)])}
        return Found(
            hits=tuple(Hit(log=of[number], line=line, at=at) for number, line, at in hits),
            before=None if over else before,
            complete=over or len(hits) >= limit,
        )


def _blocks(connection: Connection, wanted: Wanted, where: Where, before: Before | None) -> sa.Select[Any]:
    """Return the query of the next blocks that have all words, the newest first."""
    if connection.dialect.name == "sqlite":
        match = sa.text("log_words MATCH :words").bindparams(words=wanted.fts5())
        named = sa.select(sa.literal_column("rowid", sa.Integer).label("id")).where(match)
        found = named.select_from(sa.text("log_words")).cte("found")
    else:
        match = sa.text("words @@ CAST(:words AS tsquery)").bindparams(words=wanted.tsquery())
        named = sa.select(sa.literal_column("block_id", sa.BigInteger).label("id")).where(match)
        # Else Postgres may walk the blocks backwards and compare each, which takes minutes for a rare word.
        found = named.select_from(sa.text("log_words")).cte("found").prefix_with("MATERIALIZED")
    query = sa.select(blocks).join(found, found.c.id == blocks.c.id)
    asked = conditions(where)
    if asked:
        query = query.join(logs, logs.c.id == blocks.c.log_id)
        query = query.join(submissions, submissions.c.id == logs.c.submission_id).where(*asked)
    if where.since is not None:
        query = query.where(blocks.c.at >= where.since)
    if where.until is not None:
        query = query.where(blocks.c.at <= where.until)
    if before is not None:
        within = found.c.id <= before.block if before.offset else found.c.id < before.block
        query = query.where(within)
    return query.order_by(found.c.id.desc()).limit(AT_ONCE)


def _hits(wanted: Wanted, row: Row[Any], before: Before | None) -> list[LogLine]:
    """Return the lines of a block that are hits and older than `before`, the last first."""
    data = bytes(row.data)
    if before is not None and before.block == row.id:
        data = data[: max(0, before.offset - row.start)]
    found = [
        LogLine(offset=offset, text=text) for offset, text in lines_of(data, row.start) if wanted.is_in(text)
    ]
    return found[::-1]
