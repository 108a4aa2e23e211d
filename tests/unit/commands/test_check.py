"""`prodsys check`: a dry run over what jobs left, and over folders of logs."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from include.bookkeeping.ledger import Ledger
from include.campaign.plan import UserCheckPlan
from include.cli import app
from tests.unit.checks.conftest import NOW, TAG, make_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["make_site"]


def prodsys(*arguments: str, ledger: str = "") -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["check", *arguments], env={"PRODSYS_LEDGER": ledger} if ledger else {})


@pytest.fixture
def past(tmp_path: Path, make_site: Callable[..., Any]) -> tuple[Any, str]:
    """A submission of three jobs, two of them good and accepted, one failed; and the ledger's URL."""
    script = tmp_path / "check.sh"
    script.write_text("""#!/bin/sh\necho '{"outcome": "failed", "reason": "odd spectrum"}'\n""")
    script.chmod(0o755)
    wide = UserCheckPlan(
        name="spectrum", scope="stage", script=str(script), entry="", arguments=(), timeout_s=20
    )
    site = make_site(3, user_checks=(wide,))
    site.plan = replace(site.plan, campaign_checks=(replace(wide, name="totals", scope="campaign"),))
    site.execute(0)
    site.execute(1)
    site.fail(2, 7)
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(url) as ledger:
        ledger.upgrade()
        ledger.reserve(site.plan, tranche="t1", dag_run_id="r", slices=1, now=NOW)
        sent = site.submission
        ledger.intend(
            tag=TAG, dag_id="demo.z", tranche="t1", run=1000, stage="gen", recovery=0,
            units=sent.units, work_dir=sent.work_dir, now=NOW,
        )  # fmt: skip
        ledger.record_submitted(TAG, clusters=sent.clusters, message="", now=NOW)
        judgement = site.judge()
        ledger.record_jobs(TAG, judgement.jobs)
        ledger.record_executions(TAG, judgement.executions)
        ledger.record_outputs(TAG, judgement.outputs, now=NOW)
        ledger.settle(
            TAG, verdicts=judgement.verdicts, accept=judgement.accept, reject=judgement.reject, now=NOW
        )
    return site, url


def dump(url: str) -> list[str]:
    """Return all that the ledger holds."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        return list(database.iterdump())


def test_a_past_submission_by_its_tag(past: tuple[Any, str]) -> None:
    _, url = past
    before = dump(url)
    result = prodsys(TAG, "--no-pool", ledger=url)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith(f"{TAG}: 3 jobs checked, 2 accepted, 1 missing; nothing was recorded\n")
    assert "  process 2, subrun 2: missing, exit failed: exit code 7 from generate.py" in result.stdout
    assert "job.log:1: it broke" in result.stdout
    assert "check spectrum of the stage failed: odd spectrum\n" in result.stdout
    assert dump(url) == before


def test_what_was_accepted_is_looked_at_again(past: tuple[Any, str]) -> None:
    site, url = past
    next(site.outstage.glob("41.1.*/*.root")).write_bytes(b"damaged since")
    found = json.loads(
        prodsys("demo.z", "--stage", "gen", "--run", "1000", "--no-pool", "--json", ledger=url).stdout
    )
    (submission,) = found["submissions"]
    assert (found["campaign"], found["stage"], found["run"], found["good"]) == ("demo.z", "gen", 1000, False)
    assert [unit["state"] for unit in submission["units"]] == ["accepted", "missing", "missing"]
    assert submission["units"][1]["verdicts"][-1]["check"] == "size"
    assert [item["check"] for item in submission["units"][0]["verdicts"]] == [
        "exit", "outputs", "size", "checksum", "root",
    ]  # fmt: skip
    (wide,) = found["wide_checks"]
    assert (wide["check"], wide["outcome"]) == ("spectrum", "failed")


def test_one_check_only(past: tuple[Any, str]) -> None:
    _, url = past
    result = prodsys(TAG, "--check", "size", "--no-pool", "--json", ledger=url)
    found = json.loads(result.stdout)
    verdicts = [[item["check"] for item in unit["verdicts"]] for unit in found["submissions"][0]["units"]]
    assert verdicts == [["size"], ["size"], []]
    assert found["wide_checks"] == []
    wrong = prodsys(TAG, "--check", "sise", "--no-pool", ledger=url)
    assert (wrong.exit_code, wrong.stderr) == (
        1,
        "stage gen has no check 'sise' (did you mean 'size'?)\n",
    )


def test_the_checks_of_a_campaign(past: tuple[Any, str]) -> None:
    _, url = past
    result = prodsys("demo.z", "--dag-run", "t1", ledger=url)
    assert (result.exit_code, result.stdout) == (1, "check totals of the campaign failed: odd spectrum\n")
    wrong = prodsys("demo.z", "--dag-run", "t1", "--check", "total", ledger=url)
    assert wrong.stderr == "demo.z has no such check of scope campaign (did you mean 'totals'?)\n"
    assert prodsys("demo.z", "--dag-run", "t2", ledger=url).exit_code == 1


def test_a_good_submission_exits_with_0(past: tuple[Any, str]) -> None:
    site, url = past
    site.execute(2, start=2)
    result = prodsys(TAG, "--check", "outputs", "--no-pool", ledger=url)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "give either a submission (its tag, or a campaign), or --folder"),
        ((TAG, "--folder", "/"), 2, "give either a submission"),
        ((TAG, "--stage", "gen"), 2, "a tag names its stage and run"),
        (("demo.z",), 2, "with a campaign, give --stage and --run too"),
        (("demo.z", "--stage", "gen", "--run", "5"), 1, "run 5 of demo.z is not in the ledger"),
        (("demo.y", "--stage", "gen", "--run", "1000"), 1, "(did you mean 'demo.z'?)"),
        (("demo.z", "--stage", "gem", "--run", "1000"), 1, "has no stage 'gem'"),
        (("demo.z/t1/001000/gen/recovery-5",), 1, "has no submission demo.z/t1/001000/gen/recovery-5"),
    ],
)
def test_wrong_usage(past: tuple[Any, str], arguments: tuple[str, ...], code: int, message: str) -> None:
    result = prodsys(*arguments, "--no-pool", ledger=past[1])
    assert result.exit_code == code
    plain = " ".join(result.stderr.replace("│", " ").split())
    assert message in plain


def test_a_ledger_is_needed() -> None:
    assert prodsys(TAG).exit_code == 2


GNU_TIME = "1.0user 0.1system 0:02.00elapsed 55%CPU (0avgtext+0avgdata 9000maxresident)k\n"
LOGS = {
    "ok.log": ("ok", "Art has completed and will exit with status 0.\n"),
    "bad.log": ("failed", "one\nArt has completed and will exit with status 65.\nmore\n"),
    "jobsub.out": ("ok", "Tue Nov 24 03:00:00 UTC 2026 gen.sh COMPLETED with exit status 0\n"),
    "deep/jobsub.err": ("failed", "Tue Nov 24 03:00:00 UTC 2026 gen.sh COMPLETED with exit status 3\n"),
    "time.log": ("failed", "Command terminated by signal 9\n" + GNU_TIME),
    "cut.log": ("not complete", "Begin processing the 1st record\nBegin processing the 2nd"),
    "wrapper.log": ("failed", "mu2eprodsys origFCL = a.fcl\nError from x: mu2e -c a.fcl: exit code 65\n"),
    "running.log": ("not complete", "mu2eprodsys origFCL = a.fcl\nRunning the command: time mu2e -c a.fcl\n"),
    "a/job.log": ("ok", "whatever\n"),
    "b/job.log": ("failed", "it broke\n"),
}  # fmt: skip


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A folder of logs of many kinds."""
    folder = tmp_path / "logs"
    for name, (_, text) in LOGS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "a" / "report.json").write_text('{"exit_code": 0, "failed_at": null}')
    (folder / "b" / "report.json").write_text(
        '{"exit_code": 2, "failed_at": "script", "error": "it\\nended with 2"}'
    )
    (folder / "notes.txt").write_text("no log")
    return folder


def test_a_folder_of_logs(logs: Path) -> None:
    result = prodsys("--folder", str(logs), "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    found = {item["log"].removeprefix(f"{logs}/"): item for item in json.loads(result.stdout)}
    assert {name: item["ending"] for name, item in found.items()} == {
        name: ending for name, (ending, _) in LOGS.items()
    }
    assert found["bad.log"]["evidence"] == f"{logs}/bad.log:2: {LOGS['bad.log'][1].splitlines()[1]}"
    assert found["b/job.log"]["reason"] == "prodsys_job reported: it ended with 2"
    assert found["b/job.log"]["evidence"] == f"{logs}/b/job.log:1: it broke"
    assert found["cut.log"]["evidence"] == f"{logs}/cut.log:2: Begin processing the 2nd"
    assert found["running.log"]["reason"].startswith("the log ends without 'mu2egrid exit status'")


def test_a_folder_as_text(logs: Path) -> None:
    result = prodsys("--folder", str(logs))
    assert result.stdout.startswith("10 logs: 3 ok, 5 failed, 2 not complete\n")
    assert (
        f"  {logs}/bad.log: failed: art ended with status 65\n    evidence: {logs}/bad.log:2: Art"
        in result.stdout
    )
    good = logs / "a"
    assert prodsys("--folder", str(good)).exit_code == 0


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        assert prodsys("--folder", str(folder)).exit_code == 2
