"""Logs for the pages from what jobs send: before the job has ended, and where the file cannot be read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from include.bookkeeping.overview_records import JobPlace
from include.logserver.records import JobEnd
from include.logserver.store import LogStore
from include.progress.job_log import FileLogs
from include.progress.sent_logs import FirstThatHas, SentLogs
from tests.ledger_records import execution
from tests.unit.logserver.conftest import CLAIMS, FACTS, NOW, post

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLACE = JobPlace(
    dag_id=CLAIMS.dag_id, tranche="t", run=CLAIMS.run, stage=CLAIMS.stage, tag=CLAIMS.tag, submission_id=1,
    process=0, first_subrun=FACTS.first_subrun or 0, last_subrun=0, recovery=0, job_id="77.2@ap1.pool",
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LogStore]:
    with LogStore(f"sqlite:///{tmp_path}/logs.db") as opened:
        opened.upgrade()
        yield opened


def test_a_job_that_runs_shows_what_it_has_sent(store: LogStore) -> None:
    assert SentLogs(store).tail(PLACE, None) is None
    store.append([post(b"one\n<b>two</b>\nthr", facts=FACTS), post(b"late\n", offset=100)])
    tail = SentLogs(store).tail(PLACE, None)
    assert tail is not None
    assert tail.lines[:2] == ("one", "<b>two</b>")
    assert "bytes did not arrive" in "\n".join(tail.lines)
    assert tail.source.endswith("from wn3.example.org, still coming in")
    store.append([post(b"", offset=105, at=NOW + 1, end=JobEnd(exit_code=0))])
    ended = SentLogs(store).tail(PLACE, None)
    assert ended is not None
    assert "still" not in ended.source


def test_all_that_a_job_without_a_report_has_sent(store: LogStore, tmp_path: Path) -> None:
    source = FirstThatHas([FileLogs([str(tmp_path)]), SentLogs(store)])
    assert source.whole(PLACE, None) is None
    store.append([post(b"one\ntwo", facts=FACTS)])
    whole = source.whole(PLACE, None)
    assert whole is not None
    assert b"".join(whole) == b"one\ntwo"


def test_another_submissions_job_of_the_same_subrun_is_not_shown(store: LogStore) -> None:
    store.append([post(b"one\n", facts=FACTS)])
    assert SentLogs(store).tail(replace(PLACE, tag=f"{PLACE.tag}1"), None) is None


def test_the_file_comes_first_and_what_was_sent_where_there_is_none(store: LogStore, tmp_path: Path) -> None:
    sent = post(b"sent\n", facts=FACTS)
    store.append([sent])
    job = execution(0, execution=sent.execution, log=str(tmp_path / "job.log"))
    source = FirstThatHas([FileLogs([str(tmp_path)]), SentLogs(store)])
    whole = source.whole(PLACE, job)
    assert whole is not None
    assert b"".join(whole) == b"sent\n"
    (tmp_path / "job.log").write_bytes(b"file\n")
    tail = source.tail(PLACE, job)
    assert tail is not None
    assert tail.lines == ("file",)


def test_without_an_answer_of_the_store_there_is_no_log(tmp_path: Path) -> None:
    with LogStore(f"sqlite:///{tmp_path}/nothing.db") as store:
        assert SentLogs(store).tail(PLACE, None) is None
        assert SentLogs(store).whole(PLACE, execution(0)) is None
