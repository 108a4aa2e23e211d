"""Writing posts: many in one transaction, each byte of a log once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module
from sqlalchemy.dialects.postgresql import ARRAY  # noqa: TID253  see above

from include.bookkeeping.rows import insert_into
from include.errors import LogsUnavailable
from include.logserver.database import LogDatabase
from include.logserver.lines import words_of
from include.logserver.records import Limits, Stored
from include.logserver.tables import blocks, logs, submissions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection

    from include.logserver.records import JobClaims, Post

STATE = ("seen", "ended", "exit_code", "failed_at", "error", "size", "have", "stored", "tidy")
FACTS = (
    "cluster", "process", "schedd", "global_job_id", "host", "site", "first_subrun", "last_subrun", "node",
)  # fmt: skip
SPARE_EXECUTIONS = 100
_BLOCK = (blocks.c.id, blocks.c.log_id, blocks.c.start)
_ADD = {
    "sqlite": sa.text("INSERT INTO log_words (rowid, words) VALUES (:id, :words)"),
    # One statement for all: executemany takes five times as long.
    "postgresql": sa.text(
        "INSERT INTO log_words (block_id, words)"
        " SELECT new.id, array_to_tsvector(string_to_array(new.words, ' '))"
        " FROM unnest(CAST(:ids AS bigint[]), CAST(:words AS text[])) AS new (id, words)"
    ),
}
_REMOVE = {
    "sqlite": sa.text("INSERT INTO log_words (log_words, rowid, words) VALUES ('delete', :id, :words)"),
    "postgresql": sa.text("DELETE FROM log_words WHERE block_id = :id"),
}


@dataclass(slots=True, kw_only=True)
class _Submission:
    """A submission's row, which this transaction has locked."""

    id: int
    bytes: int
    logs: int
    most_logs: int


@dataclass(slots=True, kw_only=True)
class _Log:
    """A log's row as it will be, and what this transaction adds to it."""

    id: int
    submission: _Submission
    row: dict[str, Any]
    pieces: list[tuple[int, int]] = field(default_factory=list)
    """(start, stop) of the blocks that this transaction adds."""
    new_facts: bool = False


class LogAppending(LogDatabase):
    """The part of the store that takes posts."""

    limits = Limits()

    def append(self, posts: Sequence[Post]) -> list[Stored]:
        """Store posts in one transaction, in their order; return what became of each.

        A byte that is stored stays as it is, so that a repeated or overlapping post adds only what is new. A
        post that begins behind what is stored leaves a gap, which a later one may fill. LogsUnavailable where
        nothing could be written.
        """
        with self._write() as connection:
            return _Batch(connection, self.limits).take(posts)


class _Batch:
    """One transaction's posts."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self._connection, self._limits = connection, limits
        self._logs: dict[tuple[str, str], _Log] = {}
        self._blocks: list[dict[str, Any]] = []

    def take(self, posts: Sequence[Post]) -> list[Stored]:
        found = self._lock({post.claims.tag: post.claims for post in posts})
        self._find(posts, found)
        stored = [self._take(post, found[post.claims.tag]) for post in posts]
        add_blocks(self._connection, self._blocks)
        self._make_room()
        self._update()
        return stored

    def _lock(self, claims: dict[str, JobClaims]) -> dict[str, _Submission]:
        """Return the submissions' rows, made where needed; every server locks them in the same order."""
        new = [
            {"tag": tag, "dag_id": one.dag_id, "stage": one.stage, "run": one.run, "bytes": 0, "logs": 0}
            for tag, one in sorted(claims.items())
        ]
        self._connection.execute(insert_into(self._connection, submissions).on_conflict_do_nothing(), new)
        query = (
            sa.select(submissions)
            .where(self._one_of(submissions.c.tag, list(claims)))
            .order_by(submissions.c.tag)
        )
        found = {
            row.tag: _Submission(
                id=row.id,
                bytes=row.bytes,
                logs=row.logs,
                most_logs=claims[row.tag].jobs * self._limits.executions_per_job + SPARE_EXECUTIONS,
            )
            for row in self._connection.execute(query.with_for_update())
        }
        if len(found) < len(claims):
            raise LogsUnavailable("a submission's last log expired at this moment")
        return found

    def _find(self, posts: Sequence[Post], found: dict[str, _Submission]) -> None:
        """Read the logs that there are."""
        names: dict[int, set[str]] = defaultdict(set)
        tags = {submission.id: tag for tag, submission in found.items()}
        for post in posts:
            names[found[post.claims.tag].id].add(post.execution)
        executions = [name for group in names.values() for name in group]
        query = sa.select(logs).where(
            self._one_of(logs.c.submission_id, list(names)), self._one_of(logs.c.execution, executions)
        )
        for row in self._connection.execute(query).mappings():
            tag = tags[
                row["submission_id"]
            ]  # of another submission's execution of that name, it harms nothing
            self._logs[tag, row["execution"]] = _Log(id=row["id"], submission=found[tag], row=dict(row))

    def _one_of(self, column: sa.Column[Any], values: list[Any]) -> sa.ColumnElement[bool]:
        """Return a condition whose SQL is the same for any number of values where the database can."""
        if self._connection.dialect.name == "sqlite":
            return column.in_(values)
        return column == sa.func.any(sa.bindparam(None, values, type_=ARRAY(column.type)))

    def _take(self, post: Post, submission: _Submission) -> Stored:
        log = self._logs.get((post.claims.tag, post.execution))
        if log is None:
            if submission.logs >= submission.most_logs:
                return Stored(have=0, refused="executions")
            log = self._begin(post, submission)
        row = log.row
        row["seen"] = max(row["seen"], post.at)
        row["size"] = max(row["size"], post.size, post.offset + len(post.data))
        if post.facts is not None:
            row.update({name: getattr(post.facts, name) for name in FACTS})
            log.new_facts = True
        if post.end is not None:
            row.update(asdict(post.end), ended=post.at)
        if post.data and submission.bytes + len(post.data) > self._limits.submission_bytes:
            return Stored(have=row["have"], refused="submission-full")
        self._add(log, post)
        return Stored(have=row["have"])

    def _begin(self, post: Post, submission: _Submission) -> _Log:
        row = dict.fromkeys((*FACTS, *STATE))
        row.update(submission_id=submission.id, execution=post.execution, node="{}", category="")
        row.update(began=post.at, seen=post.at, size=0, have=0, stored=0, tidy=False)
        number = self._connection.execute(sa.insert(logs).values(row).returning(logs.c.id)).scalar_one()
        submission.logs += 1
        log = self._logs[post.claims.tag, post.execution] = _Log(id=number, submission=submission, row=row)
        return log

    def _add(self, log: _Log, post: Post) -> None:
        """Add what is not stored yet of a post's bytes."""
        start, stop = post.offset, post.offset + len(post.data)
        if start >= stop:
            return
        taken = self._taken(log, start, stop) if start < log.row["have"] else []
        for first, last in _not_in(taken, start, stop):
            data = post.data[first - start : last - start]
            self._blocks.append({"log_id": log.id, "start": first, "stop": last, "at": post.at, "data": data})
            log.pieces.append((first, last))
            log.row["stored"] += last - first
            log.submission.bytes += last - first
            log.row["tidy"] = False
        log.row["have"] = max(log.row["have"], stop)

    def _taken(self, log: _Log, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the blocks of a log that overlap a span, in order."""
        query = sa.select(blocks.c.start, blocks.c.stop).where(
            blocks.c.log_id == log.id, blocks.c.start < stop, blocks.c.stop > start
        )
        rows = [(row.start, row.stop) for row in self._connection.execute(query)]
        return sorted(rows + [piece for piece in log.pieces if piece[0] < stop and piece[1] > start])

    def _make_room(self) -> None:
        """Remove the oldest bytes of logs that have more than one may have."""
        for log in self._logs.values():
            surplus = log.row["stored"] - self._limits.job_bytes
            if surplus <= 0:
                continue
            # Its blocks are not put together meanwhile.
            self._connection.execute(sa.select(logs.c.id).where(logs.c.id == log.id).with_for_update())
            query = sa.select(blocks.c.id, blocks.c.start, blocks.c.stop).where(blocks.c.log_id == log.id)
            gone = []
            for row in self._connection.execute(query.order_by(blocks.c.start)):
                if surplus <= 0:
                    break
                gone.append(row.id)
                surplus -= row.stop - row.start
                log.row["stored"] -= row.stop - row.start
                log.submission.bytes -= row.stop - row.start
            remove_blocks(self._connection, gone)

    def _update(self) -> None:
        for names, changed in ((STATE, False), ((*STATE, *FACTS), True)):
            mine = [log for log in self._logs.values() if log.new_facts is changed]
            rows = [{"id": log.id, **{name: log.row[name] for name in names}} for log in mine]
            _update_rows(self._connection, logs, rows)
        touched = {log.submission.id: log.submission for log in self._logs.values()}
        sums = [{"id": one.id, "bytes": one.bytes, "logs": one.logs} for one in touched.values()]
        _update_rows(self._connection, submissions, sums)


def _as_rows(table: sa.Table, rows: Sequence[dict[str, Any]]) -> sa.TableValuedAlias:
    """Return rows as Postgres' unnest() gives them: one short statement, whatever the number of rows."""
    columns = [table.c[name] for name in rows[0]]
    arrays = [
        sa.bindparam(None, [row[each.name] for row in rows], type_=ARRAY(each.type)) for each in columns
    ]
    named = [sa.column(each.name, each.type) for each in columns]
    return sa.func.unnest(*arrays).table_valued(*named, name="new").render_derived()


def _update_rows(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Update rows by their id."""
    if not rows:
        return
    names = [name for name in rows[0] if name != "id"]
    if connection.dialect.name == "sqlite":
        update = sa.update(table).where(table.c.id == sa.bindparam("of_id"))
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
        named = [{"of_id": row["id"], **{f"new_{name}": row[name] for name in names}} for row in rows]
        connection.execute(update.values(values), named)
    else:
        new = _as_rows(table, rows)
        values = {name: new.c[name] for name in names}
        connection.execute(sa.update(table).where(table.c.id == new.c.id).values(values))


def _not_in(taken: Iterable[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    """Return the parts of a span that no other span covers."""
    free = []
    for first, last in taken:
        if first > start:
            free.append((start, first))
        start = max(start, last)
    return [*free, (start, stop)] if start < stop else free


def add_blocks(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert blocks and their words."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        insert = sa.insert(blocks).returning(blocks.c.id, sort_by_parameter_order=True)
        numbers = connection.execute(insert, rows).scalars().all()
    else:
        new, names = _as_rows(blocks, rows), list(rows[0])
        chosen = sa.select(*(new.c[name] for name in names))
        made = sa.insert(blocks).from_select(names, chosen).returning(*_BLOCK)
        of = {(row.log_id, row.start): row.id for row in connection.execute(made)}
        numbers = [of[row["log_id"], row["start"]] for row in rows]
    add_words(connection, [(number, row["data"]) for number, row in zip(numbers, rows, strict=True)])


def add_words(connection: Connection, found: Iterable[tuple[int, bytes]]) -> None:
    """Index the words of blocks."""
    rows = [{"id": number, "words": words_of(data)} for number, data in found]
    statement = _ADD[connection.dialect.name]
    if connection.dialect.name == "sqlite":
        connection.execute(statement, rows)
    else:
        columns = {"ids": [row["id"] for row in rows], "words": [row["words"] for row in rows]}
        connection.execute(statement, columns)


def remove_words(connection: Connection, found: Iterable[tuple[int, bytes]]) -> None:
    """Take the words of blocks out of the index; FTS5 without content must be told them again."""
    rows = [{"id": number, "words": words_of(data)} for number, data in found]
    connection.execute(_REMOVE[connection.dialect.name], rows)


def remove_blocks(connection: Connection, numbers: Sequence[int]) -> None:
    """Remove blocks and their words."""
    if not numbers:
        return
    mine = blocks.c.id.in_(numbers)
    if connection.dialect.name == "sqlite":
        found = connection.execute(sa.select(blocks.c.id, blocks.c.data).where(mine)).all()
        remove_words(connection, [(row.id, row.data) for row in found])
    connection.execute(sa.delete(blocks).where(mine))
