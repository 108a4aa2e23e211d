"""`prodsys check --folder` on what a folder of logs may hold besides plain logs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from include.checks.log_endings import Ending, ending_of
from include.cli import app

if TYPE_CHECKING:
    from click.testing import Result

EXAMPLES = Path(__file__).parents[1] / "joblogs" / "examples"
GOOD = "Art has completed and will exit with status 0.\n"


def prodsys(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.fixture
def outstage(tmp_path: Path) -> Path:
    """A folder of a mu2egrid job: its log with the manifest, and the file that this lists."""
    data = b"the events" * 100
    head = (EXAMPLES / "mu2e_ok.log").read_bytes().partition(b"# mu2egrid manifest")[0]
    listed = "\n".join(
        [
            "# mu2egrid manifest",
            f"# -rw-r--r-- 1 mu2e mu2e {len(data)} Nov 24 03:00 dts.root",
            "#" + "-" * 40,
            "# algorithm: sha256sum",
            f"{hashlib.sha256(data).hexdigest()}  dts.root",
        ]
    )
    log = head + listed.encode() + b"\n"
    selfcheck = hashlib.sha256(log).hexdigest()
    (tmp_path / "job.log").write_bytes(log + f"# mu2egrid manifest selfcheck: {selfcheck}  -\n".encode())
    (tmp_path / "dts.root").write_bytes(data)
    return tmp_path


def test_the_files_of_a_manifest_are_compared(outstage: Path) -> None:
    log, file = str(outstage / "job.log"), outstage / "dts.root"
    found = ending_of(log)
    assert (found.ending, "1 files beside it have the right size" in found.reason) == (Ending.OK, True)
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(data)
    assert ending_of(log).ending is Ending.OK
    found = ending_of(log, files="read")
    assert (found.ending, found.reason.partition(":")[0]) == (Ending.FAILED, "wrong sha256")
    file.write_bytes(data[:-1])
    found = ending_of(log)
    assert (found.ending, found.reason.partition(":")[0]) == (Ending.FAILED, "wrong size")
    assert found.evidence.endswith(": dts.root")
    assert ending_of(log, files="not").ending is Ending.OK
    file.unlink()
    assert ending_of(log).ending is Ending.OK, "a folder of logs alone has none of the files"


def test_an_event_log_is_told_from_a_jobs(tmp_path: Path) -> None:
    path = tmp_path / "job.123.log"
    shutil.copyfile(EXAMPLES / "double_runs.log", path)
    found = ending_of(str(path))
    assert found.ending is Ending.FAILED
    assert found.reason == "event log of 13 jobs: 8 ok, 3 failed, 2 not complete, 6 ran more than once"
    assert "123.8 ran once, ended once; it was removed (event 009) as well as ended" in found.evidence
    path.write_bytes(b"000 (7.000.000) 11/24 01:00:00 Job submitted\n...\n")
    assert ending_of(str(path)).ending is Ending.NOT_COMPLETE


def test_the_line_of_gnu_time_is_the_evidence() -> None:
    found = ending_of(str(EXAMPLES / "time_long.log"))
    assert (found.ending, found.reason) == (Ending.FAILED, "what GNU time measured ended by signal 9")
    assert ":2: Command being timed" in found.evidence


def test_pipes_links_and_names_that_are_no_text_hang_and_break_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "job.log")
    os.mkfifo(tmp_path / "a" / "report.json")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "job.log").write_text("hello\n")
    os.mkfifo(tmp_path / "b" / "report.json")
    (tmp_path / "zero.log").symlink_to("/dev/zero")
    (tmp_path / "dir.log").mkdir()
    (tmp_path / os.fsdecode(b"\xff\xfe.log")).write_bytes(b"\x00\xff\n" * 1000)
    for more in ([], ["--json"]):
        result = prodsys("--folder", str(tmp_path), *more)
        assert (result.exit_code, result.exception and type(result.exception)) == (1, SystemExit)
    assert [item["ending"] for item in json.loads(result.stdout)] == ["not complete"] * 4


@pytest.mark.parametrize(
    ("answer", "ending", "said"),
    [
        ('{"outcome": "passed"}', "ok", ""),
        ('{"outcome": "failed", "reason": "too short"}', "failed", "mine.sh says failed: too short"),
        ('{"outcome": "unknown", "reason": "later"}', "not complete", "says unknown: later"),
        ("nonsense", "not complete", "gave no verdict"),
    ],
)
def test_a_check_of_ones_own_on_each_good_log(tmp_path: Path, answer: str, ending: str, said: str) -> None:
    logs, script = tmp_path / "logs", tmp_path / "mine.sh"
    logs.mkdir()
    (logs / "good.log").write_text(GOOD)
    (logs / "bad.log").write_text(GOOD.replace("0", "65"))
    script.write_text(f"#!/bin/sh\ncat >> {tmp_path}/told; echo >> {tmp_path}/told\necho '{answer}'\n")
    script.chmod(0o755)
    result = prodsys("--folder", str(logs), "--script", str(script), "--json")
    bad, good = json.loads(result.stdout)
    assert (good["ending"], said in good["reason"]) == (ending, True)
    assert bad["ending"] == "failed"
    (told,) = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines() if line]
    assert (told["scope"], told["job"]["log"]) == ("job", str(logs / "good.log"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--check", "root"], "--check is one of exit, size, checksum, not 'root'"),
        (["--stage", "gen"], "--stage, --run and --dag-run are for campaigns"),
        (["--script", "/no/such/script"], "is not a file that can be executed"),
    ],
)
def test_options_that_a_folder_does_not_take(tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "good.log").write_text(GOOD)
    result = prodsys("--folder", str(tmp_path), *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_script_needs_a_folder() -> None:
    result = prodsys("demo.z", "--script", "/bin/true")
    assert (result.exit_code, "--script is for --folder" in result.stderr) == (2, True)
