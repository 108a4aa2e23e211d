"""The log server's connection: its own database, its own revisions."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import WRITES, Database, cause, folder_lock, may_pass
from include.bookkeeping.schema import use_wal
from include.errors import LedgerError, LogsError, LogsUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.engine import Connection

REVISIONS = ("0001",)
"""Every revision in `migrations/versions`, oldest first."""
HEAD = REVISIONS[-1]
VERSION_TABLE = "log_version"
MIGRATIONS = Path(__file__).parent / "migrations"
UPGRADE_LOCK = 7_063_482
"""Key of the Postgres advisory lock that lets one upgrade run at a time."""
SEARCH_LIMIT_S = 10
"""Seconds that Postgres may take for one statement that reads."""
UPGRADE = "prodsys logs --upgrade"


class LogDatabase(Database):
    """Base of the store's parts: their transactions."""

    def __init__(self, url: str) -> None:
        """Prepare for `url`, `sqlite:////absolute/path` or `postgresql://…`; connect at first use."""
        try:
            super().__init__(url)
        except LedgerError as error:
            raise LogsError(f"the logs' database: {error}") from error
        if self.is_sqlite:
            sa.event.listen(self._engine, "connect", _sync_less)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded default."""
        return self._url.get_backend_name() == "sqlite"

    def upgrade(self) -> str:
        """Create the tables or bring them to the newest revision; return that revision."""
        with self._explained():
            if self.is_sqlite:
                folder = Path(str(self._url.database)).parent
                folder.mkdir(parents=True, exist_ok=True)
                with folder_lock(folder):
                    use_wal(self._engine)
            with self._engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
                self._upgrade(connection)
        return HEAD

    def _upgrade(self, connection: Connection) -> None:
        from alembic import command
        from alembic.config import Config

        inspector = sa.inspect(connection)
        for table, whose in (("admissions", "the ledger"), ("dag_run", "Airflow")):
            if inspector.has_table(table):
                raise LogsError(f"{self.place} is the database of {whose}: the logs need one of their own")
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADE_LOCK)))
        if _revision(connection) == HEAD:
            return
        config = Config()
        # alembic's options go through ConfigParser, which takes % for interpolation.
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        config.attributes.update(connection=connection, version_table=VERSION_TABLE)
        command.upgrade(config, "head")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.SQLAlchemyError, sqlite3.Error, OSError, OverflowError, UnicodeError) as error:
            kind = LogsUnavailable if may_pass(error) else LogsError
            raise kind(f"the logs' database {self.place} cannot be used: {cause(error)}") from error

    @contextmanager
    def _transaction(self, options: Mapping[str, Any]) -> Iterator[Connection]:
        if self.is_sqlite and not self._at_head and not Path(str(self._url.database)).exists():
            where = f"there is no database of logs at {self._url.database}"
            raise LogsError(f"{where}: create it with `{UPGRADE}`")
        with (
            self._explained(),
            self._engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            if not self._at_head:
                found = _revision(connection)
                if found != HEAD:
                    where = f"the logs' database {self.place} is at revision {found or 'none'}"
                    what = f"this prodsys needs {HEAD}"
                    raise LogsError(f"{where}, {what}: run `{UPGRADE}`, or the prodsys that upgraded it")
                self._at_head = True
            yield connection

    def _write(self) -> Any:
        """Begin a transaction that writes: all of it happens, or nothing."""
        return self._transaction({WRITES: True})

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """Begin a transaction that reads: all its statements see the same moment."""
        if self.is_sqlite:
            with self._transaction({}) as connection:
                yield connection
            return
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._transaction(options) as connection:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{SEARCH_LIMIT_S}s'")
            yield connection


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: sa.Select[Any] = sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))
    found: str | None = connection.scalar(version)
    return found


def _sync_less(connection: Any, _record: object) -> None:
    """Leave syncing to checkpoints: a machine's crash may cost the last seconds of logs, not the database.

    Source: https://sqlite.org/pragma.html#pragma_synchronous
    """
    connection.execute("PRAGMA synchronous = NORMAL")
