"""`prodsys report`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from include.bookkeeping.ledger import Ledger
from include.cli import app
from tests import report_records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ledger of tests/report_records.py; the working folder is the temporary one."""
    monkeypatch.chdir(tmp_path)
    place = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(place) as ledger:
        ledger.upgrade()
        report_records.fill(ledger)
    return place


def prodsys(*arguments: str, ledger: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments], env={"PRODSYS_LEDGER": ledger, "COLUMNS": "200"})


def test_a_campaign_as_a_page(url: str, tmp_path: Path) -> None:
    result = prodsys("demo/z", ledger=url)
    assert (result.exit_code, result.stderr) == (0, "")
    page = tmp_path / "report_demo.z.html"
    assert result.stdout == f"demo.z: {page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_campaign_as_json(url: str, tmp_path: Path) -> None:
    found = json.loads(prodsys("demo.z", "--json", "--dag-run", "manual__1", ledger=url).stdout)
    assert found["total"]["accepted"] == 5
    assert list(tmp_path.glob("*.html")) == []


def test_a_week(url: str, tmp_path: Path) -> None:
    result = prodsys("--week", "2027-01-15", "--experiment", "demo", "-o", "deep/week.html", ledger=url)
    assert result.exit_code == 0, result.output
    assert "Week of 2027-01-11, demo" in (tmp_path / "deep/week.html").read_text(encoding="utf-8")
    found = json.loads(prodsys("2027-01-17", "--week", "--json", ledger=url).stdout)
    assert [each["name"] for each in found["campaigns"]] == ["demo.z", "other.y"]
    assert json.loads(prodsys("--week", "--json", ledger=url).stdout)["title"].endswith("all experiments")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "say which campaign"),
        (["demo.z", "--experiment", "demo"], 2, "--experiment goes with --week"),
        (["--week", "2027-01-15", "--dag-run", "x"], 2, "--dag-run goes with a campaign"),
        (["--week", "demo.z"], 2, "'demo.z' is no date such as 2026-11-23"),
        (["demo.y"], 1, "did you mean 'demo.z'?"),
        (["demo.z", "--dag-run", "manual_1"], 1, "did you mean 'manual__1'?"),
        (["demo.z", "-o", "ledger.db/x.html"], 1, "ledger.db/x.html cannot be written"),
    ],
)
def test_what_makes_no_sense_is_refused(url: str, arguments: list[str], code: int, words: str) -> None:
    result = prodsys(*arguments, ledger=url)
    assert result.exit_code == code, result.output
    assert words in result.stderr


def test_a_ledger_that_is_not_there(tmp_path: Path) -> None:
    result = prodsys("demo.z", ledger=f"sqlite:///{tmp_path}/none.db")
    assert result.exit_code == 1
    assert "prodsys ledger upgrade" in result.stderr
