"""How many rows are written at once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module
from sqlalchemy.dialects import postgresql, sqlite  # noqa: TID253  see above

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection

Value = TypeVar("Value")

IN_LIMIT = 10_000
"""Values in one `IN (…)`; SQLite takes 32,766 variables a statement."""


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
    elif not _as_plain_tuples(connection, table, statement, ordered):
        connection.execute(statement, ordered)


def insert_all(connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert `rows`, none of which is there."""
    if rows and not _as_plain_tuples(connection, table, insert_into(connection, table), rows):
        connection.execute(sa.insert(table), rows)


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
    own = {name: value for name, value in compiled.params.items() if name not in rows[0]}
    once = len(set(places)) == len(places) and set(places) == {*rows[0], *own}
    if not once or None in own.values() or compiled.post_compile_params:
        return False  # a default, a value that is there twice, or a list of values
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns |= {name: [value] * len(rows) for name, value in own.items()}
    kinds = {name: table.c[name].type for name in rows[0]} | {name: compiled.binds[name].type for name in own}
    for name, how in _binders(connection, kinds).items():
        columns[name] = [how(value) for value in columns[name]]
    tuples = list(zip(*(columns[name] for name in places), strict=True))
    connection.exec_driver_sql(compiled.string, tuples)
    return True


def _binders(
    connection: Connection, kinds: Mapping[str, sa.types.TypeEngine[Any]]
) -> dict[str, Callable[[Any], Any]]:
    """Return name → what turns a value of that type into one for the driver, for those that need it."""
    dialect = connection.dialect
    found = {name: kind.dialect_impl(dialect).bind_processor(dialect) for name, kind in kinds.items()}
    return {name: how for name, how in found.items() if how is not None}


def _as_one_table(
    connection: Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> sa.Select[Any] | None:
    """Return a SELECT of `rows` from one JSON text, None where the database or a value does not allow that.

    Postgres takes one statement of 10,000 rows in a third of the time of 10,000 statements.
    """
    if connection.dialect.name != "postgresql":
        return None
    kinds = {name: table.c[name].type for name in rows[0]}
    changes = _binders(
        connection, {name: kind for name, kind in kinds.items() if not isinstance(kind, sa.JSON)}
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


def in_parts(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Yield `values` in parts that one `IN (…)` takes."""
    for start in range(0, len(values), IN_LIMIT):
        yield values[start : start + IN_LIMIT]
