"""`prodsys nodes`."""

from __future__ import annotations

import getpass
import json
import time
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from include.bookkeeping.ledger import Ledger
from include.campaign.states import ActionKind
from include.cli import app
from tests import ledger_records as records

if TYPE_CHECKING:
    from pathlib import Path

NODES, JOBS = 10, 12


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger in which every job on wn9 failed within a second, and one in twelve elsewhere, just now."""
    place, now = f"sqlite:///{tmp_path}/ledger.db", time.time()
    with Ledger(place) as ledger:
        ledger.upgrade()
        plan = records.campaign_plan(subruns=NODES * JOBS)
        ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=1, now=now)
        tag = records.intend(ledger, "gen", ranges=[(n, n) for n in range(NODES * JOBS)])
        jobs = []
        for n in range(NODES * JOBS):
            node, hole = n % NODES, n % NODES == NODES - 1
            ended = {"host": f"slot1@wn{node}", "site": "FNAL", "ended_at": now - 60}
            code = int(hole or n // NODES == 0)
            jobs.append(records.job(n, exit_code=code, wall_s=1.0 if hole else 900.0, **ended))
        ledger.record_jobs(tag, jobs)
        ledger.record_node_facts([records.fact("wn9", now, mu2e=511, cms=None)])
    return place


def prodsys(*arguments: str, ledger: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["nodes", *arguments], env={"PRODSYS_LEDGER": ledger})


def test_the_table_names_the_black_hole_first(url: str) -> None:
    result = prodsys(ledger=url)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "10 nodes with jobs that ended in the last 24 h, or excluded; 1 suspected"
    rows = [line.split() for line in lines if line.strip().startswith("wn")]
    assert rows[0] == ["wn9", "FNAL", "0", "12", "12", "yes", "mu2e", "511"]
    assert rows[1] == ["wn0", "FNAL", "11", "1", "0"]
    assert ["cms", "?"] in [line.split() for line in lines]
    assert lines[-1].startswith("suspected: all 12 jobs failed on wn9, 12 of them fast; at the rate of ")


def test_the_same_as_json(url: str) -> None:
    found = json.loads(prodsys("--json", "--since", "1h", ledger=url).stdout)
    assert found["until"] - found["since"] == pytest.approx(3600)
    first, second = found["nodes"][:2]
    assert 0 < first.pop("chance") < 0.01
    assert first.pop("suspicion").startswith("all 12 jobs failed on wn9")
    assert first == {
        "host": "wn9", "site": "FNAL", "good": 0, "bad": 12, "bad_fast": 12,
        "cvmfs": {"mu2e": 511, "cms": None}, "excluded_until": None,
    }  # fmt: skip
    assert (second["host"], second["suspicion"], second["cvmfs"]) == ("wn0", None, {})
    assert len(found["nodes"]) == NODES
    nothing = json.loads(prodsys("--json", "--since", "30 s", ledger=url).stdout)
    assert (nothing["nodes"], nothing["exclusions"]) == ([], [])


def test_excluding_and_lifting(url: str) -> None:
    result = prodsys("exclude", "wn7", "--for", "36h", "--why", "Its fan is broken.", ledger=url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("node wn7 is excluded until 20")
    assert result.stdout.endswith(" UTC: Its fan is broken.\n")
    assert prodsys("exclude", "FNAL", "--site", "--why", "x", "--json", ledger=url).exit_code == 0
    found = json.loads(prodsys("--json", ledger=url).stdout)
    (node, site) = found["exclusions"]
    assert (node["kind"], node["name"], node["by"]) == ("node", "wn7", getpass.getuser())
    assert node["until"] - node["since"] == pytest.approx(36 * 3600)
    assert (site["kind"], site["until"] - site["since"]) == ("site", pytest.approx(24 * 3600))
    assert {row["host"]: row["excluded_until"] for row in found["nodes"]}["wn7"] == node["until"]
    shown = prodsys(ledger=url).stdout
    assert f"by {getpass.getuser()}: Its fan is broken.\n" in shown
    assert prodsys("lift", "wn7", ledger=url).stdout == "node wn7 is no longer excluded\n"
    again = prodsys("lift", "wn7", ledger=url)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "node wn7 is not excluded in the ledger" in again.stderr
    with Ledger(url) as ledger:
        done = ledger.actions()
        assert [each.kind for each in done] == [ActionKind.EXCLUDE, ActionKind.EXCLUDE, ActionKind.LIFT]
        assert [each.name for each in ledger.exclusions(time.time())] == ["FNAL"]


def test_a_node_without_jobs_is_shown_while_excluded(url: str) -> None:
    prodsys("exclude", "far.away", "--why", "x", ledger=url)
    rows = json.loads(prodsys("--json", ledger=url).stdout)["nodes"]
    assert rows[-1]["host"] == "far.away"
    assert (rows[-1]["good"], rows[-1]["site"]) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "often"], "is not a time"),
        (["exclude", "wn1", "--why", "x", "--for", "0 h"], "no time at all"),
        (["exclude", "wn1"], "--why"),
    ],
)
def test_wrong_usage(url: str, arguments: list[str], message: str) -> None:
    result = prodsys(*arguments, ledger=url)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_ledger_that_is_not_there(tmp_path: Path) -> None:
    result = prodsys(ledger=f"sqlite:///{tmp_path}/none.db")
    assert result.exit_code == 1
    assert "prodsys ledger upgrade" in result.stderr
    assert CliRunner().invoke(app, ["nodes"], env={"PRODSYS_LEDGER": None}).exit_code == 2


@pytest.mark.parametrize("name", ["wn1, wn2", "", 'wn"1', "wn1\n", "slot1@wn1", "w\udcffn", "x" * 256])
def test_an_impossible_name_is_refused(url: str, name: str) -> None:
    result = prodsys("exclude", name, "--why", "x", ledger=url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "that can be excluded: give one name of letters, digits and . _ - only" in result.stderr
    assert json.loads(prodsys("--json", ledger=url).stdout)["exclusions"] == []
    with Ledger(url) as ledger:
        assert ledger.actions() == []
    assert prodsys("lift", name, ledger=url).exit_code == 1


def test_a_site_with_a_blank_is_refused(url: str) -> None:
    result = prodsys("exclude", "US CMS", "--site", "--why", "x", ledger=url)
    assert result.exit_code == 1
    assert "'US CMS' is not the name of a site that can be excluded" in result.stderr
    assert "has no blanks" in result.stderr


def test_escapes_and_line_breaks_of_the_reason_are_taken_out(url: str) -> None:
    why = "its\x1b[31m fan\r\nis\x1b]0;title\x07 \u202ebroken\udcff"
    result = prodsys("exclude", "wn7", "--why", why, ledger=url)
    assert result.stdout.endswith(" UTC: its fan is broken\n")
    with Ledger(url) as ledger:
        assert [each.reason for each in ledger.exclusions(time.time())] == ["its fan is broken"]
    empty = prodsys("exclude", "wn8", "--why", "\x1b[0m \n", ledger=url)
    assert (empty.exit_code, "say why" in empty.stderr) == (2, True)


def test_what_the_ledger_has_is_cleaned_before_it_is_shown(url: str) -> None:
    now = time.time()
    with Ledger(url) as ledger:
        ledger.exclude(records.exclusion("wn7", now, by="ann\x1b[2J"))
        ledger.record_node_facts([records.fact("wn9", now, **{"mu2e\x1b]0;x\x07": 511})])
    shown = prodsys(ledger=url).stdout
    assert not [char for char in shown if char != "\n" and not char.isprintable()]
    assert " by ann: " in shown
    assert prodsys("lift", "w\x1b[2Jn", ledger=url).stderr.startswith("node wn is not excluded")
