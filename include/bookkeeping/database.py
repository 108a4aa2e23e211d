"""The ledger's connection: transactions that are safe with several writers, errors that say where."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module
from sqlalchemy.dialects import postgresql, sqlite  # noqa: TID253  see above

from include.bookkeeping import schema
from include.bookkeeping.tables import slices, submissions
from include.errors import LedgerError, LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from sqlalchemy.engine import URL, Connection, Engine, Row

LOCK_WAIT_S = 30
"""How long a writer waits for another before it gives up, seconds."""

WRITES = "prodsys_writes"
"""Execution option of connections that write: SQLite then locks at BEGIN, so that no update is lost."""

_SQLITE_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
"""Primary codes (the low byte) of what may be over at the next try: https://sqlite.org/rescode.html."""

_READ_ONLY = "25006"
"""SQLSTATE of a server that is a standby, as the old or the new one is for seconds while they change over."""

IN_LIMIT = 10_000
"""Values in one `IN (…)`; SQLite takes 32,766 variables a statement."""

UPGRADE = "prodsys ledger upgrade"


class Database:
    """A database of ours: its URL, its connections."""

    def __init__(self, url: str) -> None:
        """Prepare for `url`, `sqlite:////absolute/path` or `postgresql://…`; connect at first use."""
        self._url = ledger_url(url)
        self._engine = ledger_engine(self._url)
        self._at_head = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; it may be used again afterwards."""
        self._engine.dispose()

    @property
    def place(self) -> str:
        """The database's URL without a password, for messages."""
        return self._url.render_as_string(hide_password=True)


class LedgerDatabase(Database):
    """Base of the ledger's parts: their transactions."""

    def upgrade(self) -> str:
        """Create the tables or bring them to the newest revision; return that revision."""
        with self._explained():
            if self._sqlite_file is not None:
                self._sqlite_file.parent.mkdir(parents=True, exist_ok=True)
                with folder_lock(self._sqlite_file.parent):
                    schema.use_wal(self._engine)
            with self._engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
                schema.upgrade(connection)
        return schema.HEAD

    def current_revision(self) -> str | None:
        """Return the database's revision; None where there are no tables yet."""
        self._require_file()
        with self._explained(), self._engine.connect() as connection, connection.begin():
            return schema.revision(connection)

    def problems(self) -> list[str]:
        """Return what is wrong with the database itself, one sentence each; empty where all is well."""
        with self._read() as connection:
            return schema.problems(connection)

    @property
    def _sqlite_file(self) -> Path | None:
        named = self._url.get_backend_name() == "sqlite" and self._url.database
        return Path(named) if named and named != ":memory:" and not named.startswith("file:") else None

    def _require_file(self) -> None:
        """Refuse a missing SQLite file, which SQLite would silently create."""
        if self._sqlite_file is not None and not self._sqlite_file.exists():
            raise LedgerError(f"there is no ledger at {self._sqlite_file}: create it with `{UPGRADE}`")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.IntegrityError as error:
            raise LedgerError(f"ledger {self.place} refused a record: {cause(error)}") from error
        except (OverflowError, UnicodeEncodeError) as error:  # the drivers' own, of what no column takes
            raise LedgerError(f"ledger {self.place} cannot take a value: {cause(error)}") from error
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
            message = f"ledger {self.place} cannot be used: {cause(error)}"
            kind = LedgerUnavailable if may_pass(error) else LedgerError
            raise kind(message) from error

    @contextmanager
    def _transaction(self, options: Mapping[str, Any]) -> Iterator[Connection]:
        if not self._at_head:
            self._require_file()
        with (
            self._explained(),
            self._engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            self._require_head(connection)
            yield connection

    def _write(self) -> Any:
        """Begin a transaction that writes: all of it happens, or nothing."""
        return self._transaction({WRITES: True})

    def _read(self) -> Any:
        """Begin a transaction that reads: all its statements see the same moment."""
        if self._engine.dialect.name == "postgresql":
            return self._transaction({"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        return self._transaction({})

    def _require_head(self, connection: Connection) -> None:
        if self._at_head:
            return
        found = schema.revision(connection)
        if found == schema.HEAD:
            self._at_head = True
            return
        if found is None or found in schema.REVISIONS:
            raise LedgerError(
                f"ledger {self.place} is at revision {found or 'none'}, this prodsys needs {schema.HEAD}: "
                f"run `{UPGRADE}`"
            )
        raise LedgerError(
            f"ledger {self.place} is at revision {found}, newer than this prodsys ({schema.HEAD}): "
            "use the one that upgraded it, or a newer one"
        )


def ledger_url(url: str) -> URL:
    """Parse the URL of a ledger; LedgerError where it is not one of SQLite or Postgres."""
    try:
        parsed = sa.engine.make_url(url)
    except sa.exc.ArgumentError as error:
        raise LedgerError(
            f"{url!r} is not a database URL: use sqlite:////absolute/path/ledger.db or "
            "postgresql://user@host/database"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    raise LedgerError(f"the ledger cannot live in {backend}: use sqlite:////absolute/path or postgresql://…")


def ledger_engine(url: URL) -> Engine:
    """Build the engine for `url`."""
    if url.get_backend_name() == "postgresql":
        engine = sa.create_engine(url, pool_pre_ping=True, json_serializer=_json)
        sa.event.listen(engine, "connect", _on_postgres_connect)
        sa.event.listen(engine, "handle_error", _on_postgres_error)
        return engine
    engine = sa.create_engine(url, connect_args={"timeout": LOCK_WAIT_S}, json_serializer=_json)
    sa.event.listen(engine, "connect", _on_sqlite_connect)
    sa.event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _on_postgres_connect(connection: Any, _record: object) -> None:
    """Let each query be planned for its own values: psycopg prepares what it sends often.

    A plan for any campaign is one for all of them: https://www.postgresql.org/docs/current/sql-prepare.html
    """
    connection.execute("SET plan_cache_mode = force_custom_plan")
    connection.commit()


def _on_postgres_error(context: Any) -> None:
    """Have a standby's connections dropped, so that the next try finds the server that writes."""
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True


def _on_sqlite_connect(connection: Any, _record: object) -> None:
    """Set what SQLite forgets between connections; BEGIN is ours, see `_on_sqlite_begin`."""
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _on_sqlite_begin(connection: Connection) -> None:
    """Take the write lock at once: a deferred transaction fails, without waiting, when it upgrades its lock.

    Source: https://sqlite.org/lang_transaction.html#deferred_immediate_and_exclusive_transactions
    """
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder's lock: processes that change a new file's journal mode at once can starve each other."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def may_pass(error: BaseException) -> bool:
    """Return whether an error says that the database is away or busy, not that something is wrong with it.

    psycopg's OperationalError and InterfaceError are about the server and the connection to it, also where it
    shuts down or starts (57P01 to 57P03) and where transactions collide
    (https://www.psycopg.org/psycopg3/docs/api/errors.html); that it is a standby is an InternalError.
    sqlite3's OperationalError is about anything, so its code decides.
    """
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in _SQLITE_PASSING
    if getattr(original, "sqlstate", None) == _READ_ONLY:
        return True
    broken = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
    return isinstance(error, broken) or getattr(error, "connection_invalidated", False)


def cause(error: BaseException) -> str:
    """Return the database's own words, in one line."""
    original = getattr(error, "orig", None) or error
    words = " ".join(str(original).split())
    if "database is locked" in words:
        return f"{words} (another process has held it for over {LOCK_WAIT_S} s)"
    return words


def upsert(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    only_if: Callable[[Any], sa.ColumnElement[bool]] | None = None,
) -> None:
    """Insert `rows`; where `key` is there already, update the rest.

    `only_if` is given the new row's columns and says whether the row that is there may be updated.
    Rows go in the order of their keys, so that two writers never wait for each other in a circle; of equal
    keys the last row counts.
    """
    if not rows:
        return
    last = {tuple(row[name] for name in key): row for row in rows}
    ordered = [last[each] for each in sorted(last)]
    insert = insert_into(connection, table)
    changed = {name: insert.excluded[name] for name in rows[0] if name not in key}
    where = only_if(insert.excluded) if only_if else None
    at_once = _as_one_table(connection, table, ordered)
    if at_once is not None:
        insert = insert.from_select(list(ordered[0]), at_once)
    statement = insert.on_conflict_do_update(index_elements=list(key), set_=changed, where=where)
    if at_once is not None:
        connection.execute(statement)
    elif where is not None or not _as_plain_tuples(connection, table, statement, ordered):
        connection.execute(statement, ordered)


def _as_plain_tuples(
    connection: Connection, table: sa.Table, statement: sa.Insert, rows: Sequence[Mapping[str, Any]]
) -> bool:
    """Execute `statement` for each of `rows` as SQLite's driver takes them; return whether it could be.

    SQLAlchemy's own way of a row costs twice what SQLite's writing of it does.
    """
    if connection.dialect.name != "sqlite":
        return False
    compiled = statement.compile(dialect=connection.dialect, column_keys=list(rows[0]))
    places = compiled.positiontup or []
    if sorted(places) != sorted(rows[0]):  # a default, or a value in the statement itself
        return False
    columns = {name: [row[name] for row in rows] for name in places}
    for name, how in _binders(connection, table, places).items():
        columns[name] = [how(value) for value in columns[name]]
    connection.exec_driver_sql(compiled.string, list(zip(*columns.values(), strict=True)))
    return True


def _binders(
    connection: Connection, table: sa.Table, names: Iterable[str]
) -> dict[str, Callable[[Any], Any]]:
    """Return name → what turns a value of that column into one for the driver, for those that need it."""
    kinds = {name: table.c[name].type.dialect_impl(connection.dialect) for name in names}
    found = {name: kind.bind_processor(connection.dialect) for name, kind in kinds.items()}
    return {name: how for name, how in found.items() if how is not None}


def _as_one_table(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> sa.Select[Any] | None:
    """Return a SELECT of `rows` from one JSON text, None where the database or a value does not allow that.

    Postgres takes one statement of 10,000 rows in a third of the time of 10,000 statements.
    """
    if connection.dialect.name != "postgresql":
        return None
    changes = _binders(
        connection, table, (name for name in rows[0] if not isinstance(table.c[name].type, sa.JSON))
    )
    plain = [{**row, **{name: how(row[name]) for name, how in changes.items()}} for row in rows]
    try:
        text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    except ValueError:  # NaN or infinity, which a column takes and JSON does not
        return None
    source = sa.text(f"json_populate_recordset(CAST(NULL AS {table.name}), CAST(:prodsys_rows AS json))")
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in rows[0]]
    return sa.select(*columns).select_from(source.bindparams(prodsys_rows=text))


def rows_given(
    connection: Connection, columns: Sequence[sa.Column[Any]], rows: Sequence[Mapping[str, Any]]
) -> sa.FromClause:
    """Return `rows` as a table to select from; however many, they go to the database as one JSON value.

    `columns` gives names and types. A list of VALUES would have a parameter each: compiling a thousand rows
    costs 0.2 CPU-s, and an executemany is a statement each.
    """
    given = sa.literal(list(rows), sa.JSON)
    if connection.dialect.name == "postgresql":
        plain = [sa.column(each.name, each.type) for each in columns]
        found = sa.func.json_to_recordset(given).table_valued(*plain)
        return found.render_derived(name="given", with_types=True)
    each_row = sa.func.json_each(given).table_valued("value")
    parts = [
        sa.func.json_extract(each_row.c.value, f"$.{each.name}", type_=each.type).label(each.name)
        for each in columns
    ]
    return sa.select(*parts).select_from(each_row).subquery("given")


def insert_if_new(connection: Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert `row` unless a unique key of it is there already; return whether it was inserted."""
    statement = insert_into(connection, table).values(**row).on_conflict_do_nothing()
    # Not rowcount: on Postgres it is -1 where SQLAlchemy adds a RETURNING of its own.
    return connection.execute(statement.returning(*table.primary_key)).first() is not None


def insert_into(connection: Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT of the connection's own kind, which knows `on_conflict_do_update`."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def submission_row(connection: Connection, tag: str, *, lock: bool = False) -> Row[Any]:
    """Return the row of `tag`, locked for this transaction if asked; LedgerError if there is none."""
    query = sa.select(submissions).where(submissions.c.tag == tag)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).one_or_none()
    if row is None:
        raise LedgerError(f"the ledger has no submission {tag}: record its intent first")
    return row


def slice_row(connection: Connection, *, experiment: str, run: int, lock: bool = False) -> Row[Any]:
    """Return the slice that has `run`, locked for this transaction if asked; LedgerError if there is none."""
    query = sa.select(slices).where(slices.c.experiment == experiment, slices.c.run == run)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).one_or_none()
    if row is None:
        raise LedgerError(f"the ledger has no slice with run {run} of experiment {experiment}")
    return row
