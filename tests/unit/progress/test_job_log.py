"""Logs for the pages: their end, whole, and only from the campaign's own folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.bookkeeping.overview_records import JobPlace
from include.progress.job_log import TAIL_BYTES, FileLogs
from tests.ledger_records import execution

if TYPE_CHECKING:
    from pathlib import Path

    from include.bookkeeping.records import ExecutionRecord

PLACE = JobPlace(
    dag_id="d", tranche="t", run=1, stage="gen", tag="x", submission_id=1, process=0, first_subrun=0,
    last_subrun=0, recovery=0, job_id="7.0@ap1",
)  # fmt: skip


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def of(path: Path | str) -> ExecutionRecord:
    return execution(0, log=str(path))


def test_a_short_log_is_shown_whole_and_clean(logs: Path) -> None:
    (logs / "a.log").write_bytes(b"one\n\x1b[31mtwo\x1b[0m \xff\n<b>three</b>\x00\n")
    tail = FileLogs([str(logs)]).tail(PLACE, of(logs / "a.log"))
    assert tail is not None
    assert tail.lines == ("one", "two \ufffd", "<b>three</b>")
    assert tail.whole


def test_of_a_long_log_the_end_is_shown_from_a_lines_beginning(logs: Path) -> None:
    (logs / "a.log").write_text("".join(f"line {n:06d}\n" for n in range(20_000)))
    source = FileLogs([str(logs)])
    tail = source.tail(PLACE, of(logs / "a.log"))
    assert tail is not None
    assert not tail.whole
    assert tail.lines[-1] == "line 019999"
    assert all(len(line) == len("line 000000") for line in tail.lines)
    assert sum(map(len, tail.lines)) < TAIL_BYTES
    whole = source.whole(PLACE, of(logs / "a.log"))
    assert whole is not None
    assert b"".join(whole) == (logs / "a.log").read_bytes()


def test_nothing_outside_the_folders_is_read(logs: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("password")
    (logs / "link.log").symlink_to(secret)
    (logs / "folder").mkdir()
    source = FileLogs([str(logs), "", "relative"])
    wrong = [
        secret,
        logs / ".." / "secret",
        logs / "link.log",
        logs / "folder",
        logs / "none",
        "secret",
        "",
        "/x\0y",
    ]
    for path in wrong:
        assert source.tail(PLACE, of(path)) is None, path
        assert source.whole(PLACE, of(path)) is None, path
    assert source.tail(PLACE, None) is None
