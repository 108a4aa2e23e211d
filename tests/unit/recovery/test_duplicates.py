"""Why a process left more than one good output: by the ads, and by the event log where it can be read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from include.batch.condor_ads import job_ad
from include.recovery.duplicates import EventLogs

if TYPE_CHECKING:
    from include.batch.pool import JobAd

EXAMPLE = Path(__file__).parents[1] / "joblogs" / "examples" / "double_runs.log"
ONCE, SHADOW_KILLED, ROLLED_BACK, REMOVED_AFTER_END = 0, 3, 5, 8
"""Processes of the example."""


def ad(process: int, log: str | None, **attributes: Any) -> JobAd:
    more = {} if log is None else {"UserLog": log}
    return job_ad("ap1", {"ClusterId": 123, "ProcId": process, "JobStatus": 4, **more, **attributes})


@pytest.mark.parametrize(
    ("process", "says"),
    [
        (ONCE, []),
        (SHADOW_KILLED, ["ran twice, ended once", "the shadow was killed"]),
        (ROLLED_BACK, ["ran twice, ended twice", "the job queue was rolled back"]),
        (REMOVED_AFTER_END, ["it was removed (event 009) as well as ended"]),
    ],
)
def test_the_event_log_tells_what_the_ad_cannot(process: int, says: list[str]) -> None:
    told = EventLogs().tell(ad(process, str(EXAMPLE)))
    assert bool(told) == bool(says)
    assert all(each in told for each in [*says, f"{EXAMPLE} of 123.{process}@ap1"] if told)


def test_a_log_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.log"
    shutil.copyfile(EXAMPLE, path)
    logs = EventLogs()
    assert logs.tell(ad(SHADOW_KILLED, str(path)))
    path.unlink()
    assert logs.tell(ad(ROLLED_BACK, str(path)))


@pytest.mark.parametrize("log", [None, "relative.log", "/no/such/log", "/dev/zero", "/a\x00b", "/"])
def test_without_a_log_nothing_is_told(log: str | None) -> None:
    assert EventLogs().tell(ad(SHADOW_KILLED, log)) == ""


def test_the_log_of_another_job_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "junk.log"
    path.write_bytes(b"\x00\xff" * 5000 + EXAMPLE.read_bytes()[:100])
    assert EventLogs().tell(ad(SHADOW_KILLED, str(path))) == ""
    assert EventLogs().tell(ad(SHADOW_KILLED, str(EXAMPLE), ClusterId=124)) == ""
