"""Reading logs: which there are, their tail, all of them, as lines that are fit to be shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.errors import NoSuchLog
from include.logserver.database import LogDatabase
from include.logserver.lines import LONGEST_LINE, lines_of
from include.logserver.records import LARGEST_OFFSET, LogInfo, LogLine, LogPiece, Where
from include.logserver.tables import blocks, logs, refusals, submissions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Connection, Row

TAIL_BYTES = 64 << 10
PIECE_BYTES = 256 << 10
EVERYTHING = Where()
_PLAIN = ("dag_id", "stage", "run", "tag")
_OWN = ("execution", "cluster", "process", "schedd", "site", "category")
_INFO = [
    *(logs.c[name] for name in LogInfo.__dataclass_fields__ if name not in _PLAIN),
    *(submissions.c[name] for name in _PLAIN),
]


class LogReading(LogDatabase):
    """The part of the store that shows logs."""

    def logs(self, where: Where = EVERYTHING, *, limit: int = 100, offset: int = 0) -> list[LogInfo]:
        """Return the logs that are meant, those that began last first."""
        with self._read() as connection:
            return infos(connection, conditions(where), order=logs.c.id.desc(), limit=limit, offset=offset)

    def campaigns(self) -> list[str]:
        """Return the campaigns that logs are of, EXPERIMENT.NAME, in order."""
        query = sa.select(submissions.c.dag_id).distinct().order_by(submissions.c.dag_id)
        with self._read() as connection:
            return list(connection.execute(query).scalars())

    def log(self, number: int) -> LogInfo:
        """Return one log; NoSuchLog if there is none of that id."""
        with self._read() as connection:
            return _one(connection, number)

    def tail(self, number: int, *, max_bytes: int = TAIL_BYTES) -> LogPiece:
        """Return a log's last whole lines; NoSuchLog if there is none of that id.

        Go on with `since(number, piece.stop)`: nothing is shown twice, and what is not there is a line with
        `missing` bytes.
        """
        with self._read() as connection:
            log = _one(connection, number)
            start = max(0, log.have - max_bytes)
            piece = _piece(connection, log, start, max_bytes=max_bytes)
        if start == 0 or len(piece.lines) < 2 or piece.lines[0].missing:
            return piece
        first = piece.lines[1]  # the first line is most likely half a line
        return LogPiece(lines=piece.lines[1:], start=first.offset, stop=piece.stop)

    def since(self, number: int, offset: int, *, max_bytes: int = PIECE_BYTES) -> LogPiece:
        """Return whole lines from `offset` on, none if nothing is new; NoSuchLog if there is none of that id.

        While the job runs, a last line that has no end yet is left for the next call.
        """
        with self._read() as connection:
            return _piece(connection, _one(connection, number), max(0, offset), max_bytes=max_bytes)

    def whole(self, number: int, *, max_bytes: int = PIECE_BYTES) -> Iterator[LogPiece]:
        """Yield all of a log, piece by piece; no transaction is open in between."""
        offset = 0
        while True:
            piece = self.since(number, offset, max_bytes=max_bytes)
            if piece.lines:
                yield piece
            if piece.stop <= offset:
                return
            offset = piece.stop

    def raw(self, number: int) -> Iterator[bytes]:
        """Yield a log's bytes as the job sent them, to be saved, never to be shown; gaps are left out."""
        place = -1
        while True:
            query = sa.select(blocks.c.start, blocks.c.data).order_by(blocks.c.start).limit(4)
            with self._read() as connection:
                found = connection.execute(
                    query.where(blocks.c.log_id == number, blocks.c.start > place)
                ).all()
            for row in found:
                place = row.start
                yield row.data
            if not found:
                return

    def refusals(self, since: str = "") -> dict[str, dict[str, int]]:
        """Return day (UTC, YYYY-MM-DD) → reason → posts that were refused, from the day `since` on."""
        found: dict[str, dict[str, int]] = {}
        query = sa.select(refusals).where(refusals.c.day >= since).order_by(refusals.c.day, refusals.c.reason)
        with self._read() as connection:
            for row in connection.execute(query):
                found.setdefault(row.day, {})[row.reason] = int(row._mapping["count"])  # noqa: SLF001  public
        return found


def conditions(where: Where) -> list[sa.ColumnElement[bool]]:
    """Return what is asked of logs and their submissions, without the times."""
    asked = [
        submissions.c[name] == getattr(where, name) for name in _PLAIN if getattr(where, name) is not None
    ]
    asked += [logs.c[name] == getattr(where, name) for name in _OWN if getattr(where, name) is not None]
    if where.subrun is not None:
        asked += [logs.c.first_subrun <= where.subrun, logs.c.last_subrun >= where.subrun]
    if where.host is not None:
        short = logs.c.host.startswith(f"{where.host}.", autoescape=True)
        asked.append(sa.or_(logs.c.host == where.host, short))
    if where.since is not None:
        asked.append(logs.c.seen >= where.since)
    if where.until is not None:
        asked.append(logs.c.began <= where.until)
    return asked


def infos(
    connection: Connection,
    asked: Sequence[sa.ColumnElement[bool]],
    *,
    order: Any = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[LogInfo]:
    """Return the logs that fulfil all conditions."""
    query = sa.select(*_INFO).join_from(logs, submissions).where(*asked).order_by(order)
    return [_info(row) for row in connection.execute(query.limit(limit).offset(offset))]


def _info(row: Row[Any]) -> LogInfo:
    values = dict(row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
    return LogInfo(**{**values, "node": json.loads(values["node"])})


def _one(connection: Connection, number: int) -> LogInfo:
    found = infos(connection, [logs.c.id == number]) if 0 <= number < LARGEST_OFFSET else []
    if not found:
        raise NoSuchLog(f"there is no log {number}: it expired, or never was")
    return found[0]


def _piece(connection: Connection, log: LogInfo, start: int, *, max_bytes: int) -> LogPiece:
    """Return the lines from `start` on, of `max_bytes` at most and a block more."""
    lines: list[LogLine] = []
    stop, read = start, 0
    query = sa.select(blocks.c.start, blocks.c.stop, blocks.c.data).where(
        blocks.c.log_id == log.id, blocks.c.stop > start
    )
    rest, rest_at = b"", start
    options = {"yield_per": 4}
    with connection.execute(query.order_by(blocks.c.start), execution_options=options) as found:
        for row in found:
            if read >= max_bytes:
                break
            if row.start > stop:
                lines += _shown(rest, rest_at)
                lines.append(LogLine(offset=stop, text="", missing=row.start - stop))
                rest, rest_at = b"", row.start
            data = rest + bytes(row.data)[max(0, stop - row.start) :]
            cut = _whole_lines(data)
            lines += _shown(data[:cut], rest_at)
            rest, rest_at = data[cut:], rest_at + cut
            stop, read = row.stop, read + row.stop - row.start
    if rest and log.ended is not None and stop >= log.have:
        lines += _shown(rest, rest_at)
        rest = b""
    return LogPiece(lines=tuple(lines), start=start, stop=stop - len(rest))


def _whole_lines(data: bytes) -> int:
    """Return where the last line that has an end ends; a very long line counts as one without waiting."""
    cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
    if data.endswith(b"\r"):  # its \n may be in the next block
        cut = max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1
    while len(data) - cut > LONGEST_LINE:
        cut += LONGEST_LINE
    return cut


def _shown(data: bytes, start: int) -> list[LogLine]:
    return [LogLine(offset=offset, text=text) for offset, text in lines_of(data, start)]
