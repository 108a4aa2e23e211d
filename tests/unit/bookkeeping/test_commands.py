"""`prodsys ledger …`."""

from __future__ import annotations

import sqlite3

import pytest
from typer.testing import CliRunner

from include.bookkeeping.commands import app
from include.bookkeeping.schema import HEAD


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


def run(*words, env=None):
    return CliRunner().invoke(app, list(words), env=env)


def test_upgrade_then_check(url):
    first, again = run("upgrade", "--ledger", url), run("upgrade", env={"PRODSYS_LEDGER": url})
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.stdout == again.stdout == f"ledger {url} is at revision {HEAD}\n"
    checked = run("check", "--ledger", url)
    assert (checked.exit_code, checked.stdout) == (0, f"ledger {url} is whole, at {HEAD}\n")


def test_check_of_nothing_says_what_to_run(url):
    checked = run("check", "--ledger", url)
    assert checked.exit_code == 1
    assert "prodsys ledger upgrade" in checked.stderr


def test_check_names_a_difference_and_a_broken_reference(url, tmp_path):
    run("upgrade", "--ledger", url)
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        database.execute("DROP INDEX uq_outputs_one_accepted")
        database.execute("INSERT INTO clusters VALUES (99, 'ap1', 1, 1, 0, NULL)")
    database.close()
    checked = run("check", "--ledger", url)
    assert checked.exit_code == 1
    assert "uq_outputs_one_accepted" in checked.stdout
    assert "of clusters refers to a row of submissions that is not there" in checked.stdout
