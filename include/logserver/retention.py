"""What is removed and when, and putting small blocks together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.rows import insert_into
from include.logserver.appending import LogAppending, add_words, remove_blocks, remove_words
from include.logserver.records import BLOCK_BYTES, DAY_S, Expired
from include.logserver.tables import blocks, logs, refusals, submissions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.engine import Connection

    from include.logserver.records import Policy

QUIET_S = 3600.0
"""A log that got nothing for so long is taken as over: its job ended without a word, or was lost."""
JOINED_S = 300.0
"""Blocks that came farther apart stay apart: a block has one time, which a search goes by."""
AT_ONCE, TIDY_AT_ONCE = 50, 10
"""Logs that one transaction removes or tidies, so that posts never wait long."""


class LogRetention(LogAppending):
    """The part of the store that removes what is old, and keeps what stays small."""

    def expire(self, policy: Policy, *, now: float) -> Expired:
        """Remove logs by age, then the oldest until all fit; never one that got a post in the last hour."""
        gone = freed = 0
        if policy.days:
            removed = 1
            while removed:
                with self._write() as connection:
                    query = _over(now).where(logs.c.seen < now - policy.days * DAY_S).limit(AT_ONCE)
                    removed, size = _remove(connection, query)
                gone, freed = gone + removed, freed + size
        surplus = self.total_bytes() - policy.total_bytes if policy.total_bytes else 0
        while surplus > 0:
            with self._write() as connection:
                removed, size = _remove(connection, _over(now).limit(AT_ONCE), surplus)
            gone, freed, surplus = gone + removed, freed + size, surplus - size
            if not removed:
                break
        return Expired(logs=gone, freed=freed)

    def total_bytes(self) -> int:
        """Return the bytes of log that are stored; the database's files are about twice that."""
        with self._read() as connection:
            return int(connection.scalar(sa.select(sa.func.sum(submissions.c.bytes))) or 0)

    def tidy(self, *, now: float) -> int:
        """Put small blocks of logs that are over together; return the number of logs that were looked at."""
        over = sa.or_(logs.c.ended.is_not(None), logs.c.seen < now - QUIET_S)
        with self._write() as connection:
            query = (
                sa.select(logs.c.id)
                .where(over, logs.c.tidy.is_(False))
                .order_by(logs.c.id)
                .limit(TIDY_AT_ONCE)
            )
            if connection.dialect.name == "postgresql":
                query = query.with_for_update(skip_locked=True)
            numbers = connection.execute(query).scalars().all()
            for number in numbers:
                _tidy(connection, number)
            connection.execute(sa.update(logs).where(logs.c.id.in_(numbers)).values(tidy=True))
        return len(numbers)

    def categorise(self, tag: str, categories: Mapping[int, str]) -> int:
        """Record triage's category by first subrun of a submission's jobs; return how many logs have one."""
        with self._write() as connection:
            mine = sa.select(submissions.c.id).where(submissions.c.tag == tag).scalar_subquery()
            query = sa.select(logs.c.id, logs.c.first_subrun).where(logs.c.submission_id == mine)
            rows = [
                {"the_id": row.id, "new": categories[row.first_subrun]}
                for row in connection.execute(query)
                if row.first_subrun in categories
            ]
            if rows:
                update = sa.update(logs).where(logs.c.id == sa.bindparam("the_id"))
                connection.execute(update.values(category=sa.bindparam("new")), rows)
        return len(rows)

    def count_refusals(self, day: str, counts: Mapping[str, int]) -> None:
        """Add to what was refused on a day."""
        with self._write() as connection:
            insert = insert_into(connection, refusals)
            more = {"count": refusals.c["count"] + insert.excluded["count"]}
            statement = insert.on_conflict_do_update(index_elements=["day", "reason"], set_=more)
            rows = [
                {"day": day, "reason": reason, "count": count} for reason, count in sorted(counts.items())
            ]
            if rows:
                connection.execute(statement, rows)


def _over(now: float) -> sa.Select[Any]:
    """Return the query of logs that may go, the oldest first."""
    columns = (logs.c.id, logs.c.submission_id, logs.c.stored)
    return sa.select(*columns).where(logs.c.seen < now - QUIET_S).order_by(logs.c.seen)


def _remove(connection: Connection, query: sa.Select[Any], most: int | None = None) -> tuple[int, int]:
    """Remove logs of `query`, until `most` bytes are freed where given; return how many, and their bytes."""
    found = connection.execute(query).all()
    # First the submissions, as posts lock them: who has these has their logs.
    mine = sa.select(submissions.c.id).where(submissions.c.id.in_({row.submission_id for row in found}))
    connection.execute(mine.order_by(submissions.c.tag).with_for_update()).all()
    numbers, freed, of = list[int](), 0, dict[int, int]()
    for row in connection.execute(query.where(logs.c.id.in_([row.id for row in found]))):
        if most is not None and freed >= most:
            break
        numbers.append(row.id)
        freed += row.stored
        of[row.submission_id] = of.get(row.submission_id, 0) + row.stored
    if connection.dialect.name == "sqlite":
        for number in numbers:
            blocks_of = sa.select(blocks.c.id).where(blocks.c.log_id == number)
            remove_blocks(connection, connection.execute(blocks_of).scalars().all())
    connection.execute(sa.delete(logs).where(logs.c.id.in_(numbers)))
    for number, size in of.items():
        less = {"bytes": submissions.c.bytes - size}
        connection.execute(sa.update(submissions).where(submissions.c.id == number).values(less))
    _remove_empty(connection, of)
    return len(numbers), freed


def _remove_empty(connection: Connection, numbers: Collection[int]) -> None:
    """Remove submissions that have no log left."""
    left = sa.select(logs.c.id).where(logs.c.submission_id == submissions.c.id).exists()
    connection.execute(sa.delete(submissions).where(submissions.c.id.in_(numbers), ~left))


def _tidy(connection: Connection, number: int) -> None:
    """Put each run of small adjacent blocks, that came within JOINED_S, into one."""
    query = sa.select(blocks.c.id, blocks.c.start, blocks.c.stop, blocks.c.at).where(
        blocks.c.log_id == number
    )
    runs: list[list[Any]] = [[]]
    for row in connection.execute(query.order_by(blocks.c.start)):
        run = runs[-1]
        if run and (
            row.start != run[-1].stop
            or row.stop - run[0].start > BLOCK_BYTES
            or abs(row.at - run[0].at) > JOINED_S
        ):
            run = []
            runs.append(run)
        run.append(row)
    for run in runs:
        if len(run) > 1:
            _join(connection, [row.id for row in run])


def _join(connection: Connection, numbers: list[int]) -> None:
    """Put blocks into that of the smallest id: a search that goes on may repeat, but loses none."""
    rows = connection.execute(
        sa.select(blocks).where(blocks.c.id.in_(numbers)).order_by(blocks.c.start)
    ).all()
    first = min(rows, key=lambda row: row.id)
    remove_words(connection, [(first.id, bytes(first.data))])
    remove_blocks(connection, [row.id for row in rows if row.id != first.id])
    data = b"".join(bytes(row.data) for row in rows)
    values = {"start": rows[0].start, "stop": rows[-1].stop, "data": data, "at": max(row.at for row in rows)}
    connection.execute(sa.update(blocks).where(blocks.c.id == first.id).values(values))
    add_words(connection, [(first.id, data)])
