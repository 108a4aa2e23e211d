"""`prodsys triage`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from include.bookkeeping.ledger import Ledger
from include.bookkeeping.records import DiagnosisRecord, NodeFact
from include.campaign.states import JobStatus, Outcome, Remedy
from include.cli import app
from include.recovery import background
from tests import ledger_records as records

if TYPE_CHECKING:
    from pathlib import Path

RULE = """\
rules:
  strange:
    category: code
    rank: root
    when: {log: 'strange thing'}
    cause: 'a strange thing happened'
    advice: 'read about strange things'
    remedy: none
    examples: [{exit: 3, log: a strange thing, cause: a strange thing happened}]
"""


def diagnosis(process: int, **changes: object) -> DiagnosisRecord:
    """Return a diagnosis of one process."""
    values: dict[str, object] = {
        "process": process, "first_subrun": process, "last_subrun": process, "category": "unclassified",
        "rule": "", "cause": "no rule fits: it exited with 3", "evidence": "job.log:1: strange thing 9",
        "advice": "read the log", "remedy": Remedy.SAME, "job_id": f"7.{process}@ap1", "host": "wn1",
        "site": None, "exit_code": 3, "exit_signal": None, "at": records.NOW,
        "signature": "strange thing <n>",
    }  # fmt: skip
    return DiagnosisRecord(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger with three failures: one strange with its log, one strange without, one held for memory."""
    place = f"sqlite:///{tmp_path}/ledger.db"
    log = tmp_path / "0.log"
    log.write_text("begin\na strange thing\n")
    with Ledger(place) as ledger:
        ledger.upgrade()
        ledger.reserve(
            records.campaign_plan(), tranche=records.TRANCHE, dag_run_id="r", slices=1, now=records.NOW
        )
        tag = records.intend(ledger, "gen")
        jobs = [records.job(0, exit_code=3), records.job(1, exit_code=3)]
        held = records.job(
            2, status=JobStatus.HELD, exit_code=None, hold_code=34, hold_subcode=102, reason="too much memory"
        )
        ledger.record_jobs(tag, [*jobs, held])
        ledger.record_executions(tag, [records.execution(0, exit_code=3, error="x", log=str(log))])
        verdicts = [records.verdict(n, Outcome.FAILED) for n in range(3)]
        ledger.settle(tag, verdicts=verdicts, accept=[], reject=[], now=records.NOW)
        memory = {"category": "memory", "rule": "held-memory", "remedy": Remedy.MORE_MEMORY, "cause": "held"}
        ledger.record_diagnoses(tag, [diagnosis(0), diagnosis(1), diagnosis(2, **memory)], now=records.NOW)
    return place


def prodsys(*arguments: str, ledger: str | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["triage", *arguments], env={"PRODSYS_LEDGER": ledger})


def test_groups_of_the_ledger(url: str) -> None:
    result = prodsys("demo/z", ledger=url)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "triage: 3 failed jobs, 3 subruns, 2 causes"
    assert lines[1].startswith("1. gen: 2 subruns: no rule fits")
    assert "    2 x strange thing <n>" in lines


def test_groups_as_json(url: str) -> None:
    found = json.loads(prodsys("--json", "--stage", "gen", ledger=url).stdout)
    assert [one["jobs"] for one in found["groups"]] == [2, 1]
    assert found["candidates"] == [{"signature": "strange thing <n>", "jobs": 2}]
    assert found["cells"][0]["jobs"] == 2
    assert json.loads(prodsys("--json", "--run", "7", ledger=url).stdout)["groups"] == []


def test_failures_are_compared_with_the_jobs_that_went_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty jobs on ten nodes, of which the one with an old CVMFS fails all of its six."""
    place = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(place) as ledger:
        ledger.upgrade()
        ledger.reserve(
            records.campaign_plan(subruns=40), tranche=records.TRANCHE, dag_run_id="r", slices=1, now=1.0
        )
        tag = records.intend(ledger, "gen", ranges=[(n, n) for n in range(40)])
        ledger.record_submitted(tag, clusters=(("ap1", 7, 40),), message="", now=records.NOW)
        node = {n: "old" if n < 6 else f"wn{n % 9}" for n in range(40)}
        ledger.record_jobs(
            tag, [records.job(n, host=f"slot1@{node[n]}", exit_code=3 * (n < 6)) for n in range(40)]
        )
        ledger.record_diagnoses(tag, [diagnosis(n, host="old") for n in range(6)], now=records.NOW)
        for host in set(node.values()):
            cvmfs = (("sw.example.org", 7 - (host == "old")),)
            fact = NodeFact(host=host, site=None, seen_at=1.0, facts=(), cvmfs=cvmfs)
            ledger.record_node_facts([fact])
    told = " ".join(prodsys("demo.z", ledger=place).output.split())
    assert "unusual: all 6 are on node old, which had 15 % of jobs" in told
    assert "all 6 failures were on nodes with sw.example.org at revision < 7 (1 node)" in told
    monkeypatch.setattr(background, "MOST_JOBS", 39)
    told = prodsys("demo.z", ledger=place).output
    assert ("triage: 6 failed jobs" in told, "on node" in told) == (True, False)


def test_replay_tells_what_would_change_and_writes_nothing(url: str, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(RULE)
    before = (tmp_path / "ledger.db").read_bytes()
    result = prodsys("demo.z", "--replay", "--rules", str(tmp_path / "rules"), ledger=url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "replay: 3 past failures judged again, 2 of them without a log; 1 would be judged otherwise",
        "1 x unclassified (same) -> code/strange (none)",
        "    example: gen, job 7.0@ap1",
        "    before: no rule fits: it exited with 3 (job.log:1: strange thing 9)",
        f"    now: a strange thing happened ({tmp_path}/0.log:2: a strange thing)",
    ]
    assert (tmp_path / "ledger.db").read_bytes() == before
    same = json.loads(prodsys("--replay", "--json", ledger=url).stdout)
    assert (same["judged"], same["changes"]) == (3, [])


def test_a_replay_knows_what_was_asked_for_and_what_nobody_remembers(url: str) -> None:
    """By the same rules nothing changes: not for memory, a recovered cut file, or a duplicate."""
    with Ledger(url) as ledger:
        tag = records.intend(ledger, "gen", recovery=1)
        killed = records.job(0, cluster=8, exit_code=None, exit_signal=9, memory_mb=490)
        ledger.record_jobs(tag, [killed, *(records.job(n, cluster=8) for n in (1, 2))])
        memory = diagnosis(
            0, category="memory", rule="ended-out-of-memory", remedy=Remedy.MORE_MEMORY, exit_code=None,
            exit_signal=9, job_id="8.0@ap1",
        )  # fmt: skip
        cut = diagnosis(1, category="data", rule="output-cut", exit_code=None, job_id="8.1@ap1")
        twice = diagnosis(2, category="duplicate", remedy=Remedy.NONE, exit_code=0, job_id="8.2@ap1")
        ledger.record_diagnoses(tag, [memory, cut, twice], now=records.NOW)
    found = json.loads(prodsys("--replay", "--json", ledger=url).stdout)
    assert (found["judged"], found["overtaken"], found["changes"]) == (4, 1, [])
    assert "not judged: 1, whose outputs failed a check" in prodsys("--replay", ledger=url).stdout


def test_logs_by_hand(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("Traceback (most recent call last):\nMemoryError\n")
    result = prodsys("--log", str(log), "--exit", "1")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:2] == [
        f"{log}: Python ran out of memory (MemoryError) [memory/python-memory]",
        f"    evidence: {log}:2: MemoryError",
    ]
    (found,) = json.loads(prodsys("--log", str(log), "--json").stdout)["diagnoses"]
    assert found["remedy"] == "more-memory"
    assert "there is no such log" in prodsys("--log", str(tmp_path / "b")).stderr


def test_the_rules(tmp_path: Path) -> None:
    listed = prodsys("rules").stdout
    assert any(line.startswith("held-memory ") for line in listed.splitlines())
    assert "all examples of" in prodsys("rules", "--check").stdout
    (tmp_path / "a.yaml").write_text(RULE.replace("log: a strange thing", "log: a normal thing"))
    wrong = prodsys("rules", "--check", "--rules", str(tmp_path))
    assert wrong.exit_code == 1
    assert "rule strange, example 1: strange should decide" in wrong.stderr
    (tmp_path / "a.yaml").write_text("rules: [")
    refused = prodsys("rules", "--rules", str(tmp_path))
    assert (refused.exit_code, "a.yaml:2" in refused.stderr) == (1, True)


def test_wrong_usage(url: str) -> None:
    nowhere = prodsys()
    assert (nowhere.exit_code, "say which ledger" in nowhere.stderr) == (2, True)
    assert "did you mean 'demo.z'?" in prodsys("demo.y", ledger=url).stderr
    assert "--since 'soon' is no time" in prodsys("--since", "soon", ledger=url).stderr
    assert prodsys("--since", "2026-11-01", ledger=url).exit_code == 0
    assert prodsys("--since", "2 d", "--all", ledger=url).exit_code == 0


def test_values_that_no_database_takes(url: str) -> None:
    for arguments in (["--run", "9" * 23], ["demo\udcff"], ["--stage", "g\udcff"], ["--tranche", "\udcff"]):
        result = prodsys(*arguments, ledger=url)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "cannot take a value" in result.stderr


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_log_whose_name_is_not_utf_8(tmp_path: Path, options: list[str]) -> None:
    log = tmp_path / "\udcff.log"
    log.write_text("MemoryError\n")
    result = prodsys("--log", str(log), *options)
    assert (result.exit_code, result.stderr) == (0, "")
    if options:
        assert json.loads(result.stdout)["diagnoses"][0]["log"] == str(log)
