"""`prodsys status`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from include.bookkeeping.ledger import Ledger
from include.campaign.states import Outcome
from include.cli import app
from tests import ledger_records as records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger with two dag_runs; in the first, one subrun of gen is accepted and one failed."""
    place = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(place) as ledger:
        ledger.upgrade()
        plan = records.campaign_plan()
        ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=2, now=records.NOW)
        ledger.reserve(plan, tranche="later", dag_run_id="r", slices=1, now=records.NOW + 1)
        tag = records.intend(ledger, "gen")
        made = records.output("gen", 0)
        ledger.record_outputs(tag, [made], now=records.NOW)
        verdicts = [records.verdict(0), records.verdict(1, Outcome.FAILED)]
        accept = [(made.execution, made.name)]
        ledger.settle(tag, verdicts=verdicts, accept=accept, reject=[], now=records.NOW)
    return place


def prodsys(*arguments: str, ledger: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["status", *arguments], env={"PRODSYS_LEDGER": ledger})


def test_status_as_text(url: str) -> None:
    result = prodsys("demo.z", ledger=url)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert result.stdout.startswith("demo.z, dag_run manual__1: 2 slices, runs 1000..1001\n")
    assert ["gen", "8", "1", "1", "6", "0", "12.5", "%"] in lines
    assert "gen: 1 subruns failed, exit: it exited with 1\n" in result.stdout
    assert "    example: run 1000, subrun 1: it exited with 1\n" in result.stdout
    assert "    evidence: job.log:3\n" in result.stdout
    assert "demo.z, dag_run later: 1 slices, runs 1002..1002\n" in result.stdout


def test_status_as_json(url: str) -> None:
    found = json.loads(prodsys("demo/z", "--json", ledger=url).stdout)
    assert found["campaign"] == "demo.z"
    first, later = found["dag_runs"]
    assert (first["dag_run"], first["slices"], first["first_run"], first["last_run"]) == (
        "manual__1", 2, 1000, 1001,
    )  # fmt: skip
    assert first["stages"][0] == {
        "stage": "gen", "subruns": 8, "accepted": 1, "missing": 1, "unknown": 6, "duplicates": 0,
        "complete": 0.125,
    }  # fmt: skip
    (cause,) = first["causes"]
    assert (cause["cause"], cause["jobs"], cause["run"], cause["subrun"]) == ("it exited with 1", 1, 1000, 1)
    assert (later["dag_run"], later["causes"]) == ("later", [])


def test_a_campaign_that_has_no_dag_run(url: str) -> None:
    result = prodsys("demo.y", ledger=url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no dag_run of demo.y is in the ledger" in result.stderr
    assert "did you mean 'demo.z'?" in result.stderr


def test_a_ledger_that_is_not_there(tmp_path: Path) -> None:
    result = prodsys("demo.z", ledger=f"sqlite:///{tmp_path}/none.db")
    assert result.exit_code == 1
    assert "prodsys ledger upgrade" in result.stderr
