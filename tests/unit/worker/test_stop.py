"""Signals, and executions at the same time."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest


def test_two_executions_at_once_never_collide(job: Any) -> None:
    ad = job.base / "job.ad"
    ad.write_text('ClusterId = 77\nProcId = 0\nNumJobStarts = 1\nGlobalJobId = "ap1#77.0#1790000000"\n')
    job.environment["_CONDOR_JOB_AD"] = str(ad)
    job.good_script(f'touch "{job.base}/started.$$"\nwhile [ ! -e "{job.base}/go" ]; do sleep 0.02; done\n')
    first, second = job.start(), job.start()
    job.wait_until(lambda: len(list(job.base.glob("started.*"))) == 2)
    (job.base / "go").touch()
    for process in (first, second):
        process.communicate(timeout=60)
        assert process.returncode == 0
    reports = job.reports()
    assert len({report["execution"] for report in reports}) == 2
    assert all(report["execution"].startswith("77.0.1-") for report in reports)
    assert [path.name for path in job.published()] == sorted(report["execution"] for report in reports)
    assert {report["schedd"] for report in reports} == {"ap1"}
    assert {report["global_job_id"] for report in reports} == {"ap1#77.0#1790000000"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_in_the_middle(job: Any, number: signal.Signals) -> None:
    job.script(f'echo begun\ntouch "{job.base}/begun"\nsleep 600 & wait\n')
    process = job.start()
    job.wait_until((job.base / "begun").exists)
    process.send_signal(number)
    process.communicate(timeout=30)
    report = job.report()
    assert process.returncode == 128 + number
    assert (report["exit_code"], report["exit_signal"], report["failed_at"]) == (None, number, "script")
    assert f"told to stop by signal {number.value}" in report["error"]
    assert "begun" in Path(report["log"]).read_text()


def test_script_that_ends_well_after_a_signal_is_no_success(job: Any) -> None:
    job.good_script(f"trap 'exit 0' TERM\ntouch \"{job.base}/begun\"\nwhile true; do sleep 0.05; done\n")
    process = job.start()
    job.wait_until((job.base / "begun").exists)
    process.terminate()
    process.communicate(timeout=30)
    report = job.report()
    assert process.returncode == 128 + signal.SIGTERM
    assert (report["exit_code"], report["failed_at"]) == (0, "script")
    assert job.published() == []


def test_script_that_ignores_the_signal_is_killed_after_the_grace(job: Any) -> None:
    job.script(f"trap '' TERM\ntouch \"{job.base}/begun\"\nwhile true; do sleep 0.05; done\n")
    process = job.start("--grace", "0.3")
    job.wait_until((job.base / "begun").exists)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL
    assert job.report()["exit_signal"] == signal.SIGKILL


def test_what_the_script_leaves_running_is_ended(job: Any) -> None:
    job.good_script(f'sleep 600 &\necho $! > "{job.base}/pid"\n')
    assert job.run()[0] == 0
    pid = int((job.base / "pid").read_text())

    def gone() -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state == "Z"

    job.wait_until(gone)
