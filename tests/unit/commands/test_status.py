"""`prodsys status`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from include.bookkeeping.ledger import Ledger
from include.campaign.states import Outcome
from include.cli import app
from tests import ledger_records as records
from tests import report_records

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


def told(folder: Path) -> str:
    """The ledger of tests/report_records.py."""
    place = f"sqlite:///{folder}/ledger.db"
    with Ledger(place) as ledger:
        ledger.upgrade()
        report_records.fill(ledger)
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


def test_the_bars_of_one_campaign(url: str) -> None:
    """The latest dag_run alone: the other has no slice in flight."""
    assert "0/4 accepted, 4 waiting" in prodsys("demo.z", ledger=url).stdout
    found = json.loads(prodsys("demo.z", "--json", ledger=url).stdout)["now"]
    assert [(each["dag_run"], each["stages"][0]["subruns"]) for each in found] == [("later", 4)]


def test_all_campaigns_as_text_and_as_json(tmp_path: Path) -> None:
    place = told(tmp_path)
    result = prodsys(ledger=place)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("demo.z: asks, 20.8 %\n    ! gen: 1 subrun held\n")
    gen = next(line for line in result.stdout.splitlines() if line.startswith("gen"))
    assert re.search(r"gen +█{15,}▓+▒+H+ +50\.0 % +4/8 accepted, 2 running, 1 idle, 1 held", gen)
    assert "█ accepted" in result.stdout
    first, other = json.loads(prodsys("--json", ledger=place).stdout)["campaigns"]
    assert (first["campaign"], first["standing"], other["campaign"]) == ("demo.z", "asks", "other.y")
    stage = first["stages"][0]
    assert {name: stage[name] for name in ("stage", "subruns", "accepted", "running", "idle", "held")} == {
        "stage": "gen", "subruns": 8, "accepted": 4, "running": 2, "idle": 1, "held": 1,
    }  # fmt: skip
    assert {"rate", "outlook", "end", "early", "late"} <= set(stage)


def test_an_empty_ledger_says_so(tmp_path: Path) -> None:
    place = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(place) as ledger:
        ledger.upgrade()
    assert "no campaign is under way" in prodsys(ledger=place).stdout
    assert json.loads(prodsys("--json", "--all", ledger=place).stdout)["campaigns"] == []


def watched(*arguments: str, ledger: str, encoding: str) -> tuple[list[str], int]:
    """Watch until the same line came twice, then send Ctrl-C; return the lines and the exit code."""
    program = "from include.cli import app; app()"
    command = [sys.executable, "-c", program, "status", "--watch", "--every", "0.1", *arguments]
    environment = {
        **os.environ,
        "PRODSYS_LEDGER": ledger,
        "PYTHONIOENCODING": encoding,
        "PYTHONUNBUFFERED": "1",
    }
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding=encoding, env=environment)
    assert child.stdout is not None
    lines: list[str] = []
    try:
        for line in child.stdout:
            lines.append(line)
            if sum('"demo.z"' in each or each.startswith("demo.z:") for each in lines) == 2:
                break
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
    return lines, child.returncode


def test_watching_in_a_pipe_ends_with_ctrl_c_and_needs_no_unicode(tmp_path: Path) -> None:
    lines, code = watched(ledger=told(tmp_path), encoding="ascii")
    assert code == 0
    assert any(re.match(r"gen +#{15,}=+-+H+ ", line) for line in lines)


def test_watching_as_json_is_a_line_a_look(tmp_path: Path) -> None:
    lines, code = watched("--json", ledger=told(tmp_path), encoding="utf-8")
    assert code == 0
    first, second = (json.loads(line) for line in lines)
    assert first["at"] < second["at"]
    assert first["campaigns"][0]["campaign"] == "demo.z"


def test_watching_what_is_not_there_ends_at_once(url: str) -> None:
    result = prodsys("demo.y", "--watch", ledger=url)
    assert result.exit_code == 1
    assert "did you mean 'demo.z'?" in result.stderr
