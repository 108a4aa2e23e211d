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

from include.bookkeeping import schema
from include.bookkeeping.tables import slices, submissions
from include.errors import LedgerError, LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
