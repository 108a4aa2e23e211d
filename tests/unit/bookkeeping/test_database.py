"""URLs, SQLite files that cannot be used, and importing."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa

from include.bookkeeping import database, schema
from include.bookkeeping.ledger import Ledger
from include.errors import LedgerError, LedgerUnavailable
from tests.ledger_records import NOW, TRANCHE, campaign_plan
from tests.postgres import as_ordinary_user


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ledger.db", "'ledger.db' is not a database URL: use sqlite:////absolute/path"),
        ("", "is not a database URL"),
        ("mysql://localhost/x", "the ledger cannot live in mysql: use sqlite"),
    ],
)
def test_urls_that_are_no_ledger(url, message):
    with pytest.raises(LedgerError, match=re.escape(message)):
        Ledger(url)


def test_a_missing_file_is_named_and_not_created(tmp_path):
    path = tmp_path / "none.db"
    for act in (lambda ledger: ledger.tranches("demo.z"), lambda ledger: ledger.current_revision()):
        with (
            Ledger(f"sqlite:///{path}") as ledger,
            pytest.raises(LedgerError, match="prodsys ledger upgrade") as caught,
        ):
            act(ledger)
        assert str(path) in str(caught.value)
    assert not path.exists()


def test_a_path_with_spaces_and_a_folder_that_is_not_there_yet(tmp_path):
    path = tmp_path / "with a space" / "and % sign" / "ledger 1.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        assert ledger.upgrade() == schema.HEAD
        assert (
            ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)[0].run == 1000
        )
    assert path.stat().st_size > 0


def test_a_read_only_file_is_named(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.upgrade()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    script = (
        "import sys\nfrom include.bookkeeping.ledger import Ledger\nfrom include.errors import LedgerError\n"
        "from tests.ledger_records import campaign_plan\n"
        "try:\n    Ledger(sys.argv[1]).reserve(campaign_plan(), tranche='t', dag_run_id='r',"
        " slices=1, now=1.0)\n"
        "except LedgerError as error:\n    print(error)\nelse:\n    print('written')\n"
    )
    command = [*as_ordinary_user(), sys.executable, "-c", script, f"sqlite:///{path}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    finally:
        tmp_path.chmod(0o755)
    assert str(path) in done.stdout
    assert "readonly" in done.stdout


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("these are notes\n" * 100)
    with Ledger(f"sqlite:///{path}") as ledger, pytest.raises(LedgerError, match=r"notes\.txt") as caught:
        ledger.upgrade()
    assert "not a database" in str(caught.value)
    assert type(caught.value) is LedgerError


def test_a_locked_database_is_unavailable_and_a_refused_record_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "LOCK_WAIT_S", 0)
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url) as ledger, Ledger(url) as other:
        ledger.upgrade()
        with ledger._write(), pytest.raises(LedgerUnavailable, match="database is locked"):
            other.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
        with pytest.raises(LedgerError, match="no such table") as caught, other._write() as connection:
            connection.exec_driver_sql("DELETE FROM no_such_table")
        assert type(caught.value) is LedgerError


def test_a_server_that_is_not_there_is_named_without_the_password():
    with (
        Ledger("postgresql://someone:secret@127.0.0.1:1/ledger") as ledger,
        pytest.raises(LedgerUnavailable) as caught,
    ):
        ledger.current_revision()
    assert "someone:***@127.0.0.1:1/ledger" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "passes"),
    [
        ("25006", True),  # read-only: a standby
        ("57P01", True),  # shut down by its administrator
        ("57P02", True),  # shut down by a crash
        ("57P03", True),  # starting up
        ("25P02", False),  # a statement after one that failed
        ("42P01", False),  # no such table
    ],
)
def test_what_a_change_over_of_servers_says_passes(state, passes):
    original = psycopg.errors.lookup(state)("cannot execute UPDATE in a read-only transaction")
    assert database.may_pass(original) is (state == "25006"), "only SQLAlchemy's kinds are known otherwise"
    error = sa.exc.DBAPIError.instance("UPDATE", {}, original, psycopg.Error)
    assert database.may_pass(error) is passes


def test_connections_to_a_standby_are_dropped():
    for state, dropped in (("25006", True), ("42P01", False)):
        original = psycopg.errors.lookup(state)("no")
        context = SimpleNamespace(original_exception=original, is_disconnect=False)
        database._on_postgres_error(context)
        assert context.is_disconnect is dropped
    with Ledger("postgresql://someone@127.0.0.1:1/ledger") as ledger:
        assert sa.event.contains(ledger._engine, "handle_error", database._on_postgres_error)


@pytest.mark.parametrize("module", ["include.bookkeeping.records", "include.bookkeeping.commands"])
def test_what_is_imported_while_parsing_does_not_load_sqlalchemy(module):
    script = (
        f"import sys, {module}\nprint([m for m in ('sqlalchemy', 'alembic', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_opening_a_ledger_does_not_load_alembic(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url) as ledger:
        ledger.upgrade()
    script = (
        "import sys\nfrom include.bookkeeping.ledger import Ledger\nLedger(sys.argv[1]).tranches('demo.z')\n"
        "print([m for m in ('alembic', 'pandas') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script, url]
    assert (
        subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip() == "[]"
    )
