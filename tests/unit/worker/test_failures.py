"""A job that fails says where and why, and publishes nothing."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest


def test_non_zero_exit_is_kept(job: Any) -> None:
    job.good_script("echo last words >&2\nexit 7\n")
    code, text = job.run()
    report = job.report()
    assert code == 7
    assert (report["exit_code"], report["exit_signal"], report["failed_at"]) == (7, None, "script")
    assert report["error"] == "the script exited with 7"
    assert report["outputs"] == []
    assert job.published() == []
    assert "last words" in text
    assert "last words" in Path(report["log"]).read_text()


def test_killed_by_signal(job: Any) -> None:
    job.script("kill -SEGV $$\n")
    code, _ = job.run()
    report = job.report()
    assert code == 128 + signal.SIGSEGV
    assert (report["exit_code"], report["exit_signal"]) == (None, signal.SIGSEGV)
    assert report["failed_at"] == "script"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("true\n", "there is no file dts.000012_00000003.txt; the script left: nothing"),
        ('echo x > "$PRODSYS_OUTPUT_DIR/dts.12_3.txt"\n', "the script left: dts.12_3.txt"),
        (': > "$PRODSYS_OUTPUT"\n', "dts.000012_00000003.txt is empty"),
        ('mkdir "$PRODSYS_OUTPUT"\n', "there is no file dts.000012_00000003.txt"),
    ],
    ids=["none", "wrong name", "empty", "folder"],
)
def test_missing_output(job: Any, script: str, sentence: str) -> None:
    job.script(script)
    code, _ = job.run()
    report = job.report()
    assert code == 82
    assert (report["exit_code"], report["failed_at"]) == (0, "outputs")
    assert sentence in report["error"]
    assert job.published() == []


def test_script_not_there(job: Any) -> None:
    code, _ = job.run()
    report = job.report()
    assert code == 127
    assert (report["exit_code"], report["failed_at"]) == (None, "script")
    assert report["error"] == f"the script work.sh is not in {job.sent}"


def test_interpreter_not_there(job: Any) -> None:
    job.good_script(interpreter="/no/such/interpreter")
    assert job.run()[0] == 127
    assert "is its interpreter here?" in job.report()["error"]


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_input_that_cannot_be_read(job: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "input.root"
    if kind == "folder":
        path.mkdir()
    job.document["units"][0]["inputs"] = {"signal": [str(path)]}
    job.good_script()
    code, _ = job.run()
    report = job.report()
    assert code == 81
    assert (report["exit_code"], report["failed_at"]) == (None, "inputs")
    assert str(path) in report["error"]


def test_outstage_that_cannot_be_written(job: Any) -> None:
    job.outstage.write_text("a file in the place of the folder")
    job.good_script()
    code, _ = job.run()
    report = job.report()
    assert code == 83
    assert (report["exit_code"], report["failed_at"], report["outputs"]) == (0, "outstage", [])
    assert str(job.outstage) in report["error"]


def test_disk_full_leaves_nothing_half_done(job: Any) -> None:
    # A limit on file sizes makes a write fail in the middle of the copy; the script lifts it for itself.
    job.script('ulimit -S -f unlimited\nhead -c 65536 /dev/zero > "$PRODSYS_OUTPUT"\n')
    job.write_job_file()
    limited = "trap '' XFSZ; ulimit -S -f 40; exec \"$@\""
    command = ["bash", "-c", limited, "bash", *job.program, "run", "job.json"]
    done = subprocess.run(
        command, cwd=job.scratch, env=job.environment, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 83, done.stdout
    report = job.report()
    assert report["failed_at"] == "outstage"
    assert "File too large" in report["error"]
    assert job.published() == []


def test_log_area_that_cannot_be_written_puts_the_report_on_stdout(job: Any) -> None:
    job.logs.write_text("a file in the place of the folder")
    job.good_script()
    code, text = job.run()
    assert code == 0
    assert len(job.published()) == 1
    (line,) = (line for line in text.splitlines() if "could not write the report" in line)
    report = json.loads(line.split("here it is: ", 1)[1])
    assert report["selfcheck"] == job.selfcheck(report)
    assert report["log"] is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "version is 2"),
        ({"units": "three"}, "units of the file is 'three'"),
        ({"run": "12"}, "run of the file is '12'"),
        ({"run": True}, "run of the file is True"),
        ({"outstage": "relative/path"}, "outstage relative/path is not absolute"),
        ({"arguments": ["{evnts}"]}, "template {evnts}: known names are events, process, run, seed, subrun"),
        ({"arguments": ["{run.__class__}"]}, "template {run.__class__}"),
        ({"arguments": ["{run"]}, "template {run"),
        ({"outputs": []}, "there is no output"),
        ({"outputs": [{"name": "x", "file_name": "../x.root"}]}, "no plain file name"),
        ({"script": None}, "script is null"),
    ],
)
def test_bad_job_file_is_reported(job: Any, change: dict[str, Any], sentence: str) -> None:
    job.document.update(change)
    job.good_script()
    code, text = job.run()
    report = job.report()
    assert code == 84, text
    assert (report["exit_code"], report["failed_at"]) == (None, "inputs")
    assert sentence in report["error"]
    assert job.published() == []


def test_missing_key_is_reported(job: Any) -> None:
    del job.document["outputs"]
    assert job.run()[0] == 84
    assert job.report()["error"] == "job.json: the file has no outputs"


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"logs": 3}', '{"logs": "relative"}', "\x00"])
def test_job_file_without_a_place_for_reports(job: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)
    code, said = job.tool("run", path)
    assert code == 84
    assert "job.json" in said


def test_process_without_unit(job: Any) -> None:
    job.environment["PROCESS"] = "2"
    job.good_script()
    code, _ = job.run()
    assert code == 84
    assert job.report()["error"] == "job.json: process 2 has no unit, there are 2"
