"""Revisions of the ledger's tables: which there are, which a database has, how it gets to the newest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.identity_table import metadata  # the last module that adds tables to it

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy.engine import Connection, Engine

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
"""Every revision in `migrations/versions`, oldest first; here, so that opening one does not load alembic."""

HEAD = REVISIONS[-1]
"""The revision that this code works with."""

MIGRATIONS = Path(__file__).parent / "migrations"

UPGRADE_LOCK = 7_063_481
"""Key of the Postgres advisory lock that lets one upgrade run at a time."""


def alembic_config(connection: Connection | None = None) -> Config:
    """Return alembic's configuration, for `connection` where there is one."""
    from alembic.config import Config

    config = Config()
    # alembic's options go through ConfigParser, which takes % for interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Bring the database to HEAD inside the caller's transaction."""
    from alembic import command

    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(UPGRADE_LOCK)))
    if revision(connection) != HEAD:
        command.upgrade(alembic_config(connection), "head")


def revision(connection: Connection) -> str | None:
    """Return the database's revision, None where it has none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def use_wal(engine: Engine) -> None:
    """Let SQLite's readers and its writer work at once; the file remembers it."""
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        if raw is not None and raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            raw.execute("PRAGMA journal_mode = WAL")


def problems(connection: Connection) -> list[str]:
    """Return where the database differs from the tables, and what SQLite finds damaged."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    found = [
        f"the tables differ from revision {HEAD}: {change}" for change in compare_metadata(context, metadata)
    ]
    if connection.dialect.name == "sqlite":
        integrity = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        found += [f"damaged file: {line}" for line in integrity if line != "ok"]
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        found += [f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there" for row in broken]
    return found
