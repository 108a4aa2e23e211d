"""Posts in, lines out."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from include.bookkeeping.ledger import Ledger
from include.errors import LogsError, NoSuchLog
from include.logserver.database import HEAD
from include.logserver.records import JobEnd, Limits, Where
from include.logserver.store import LogStore
from tests.unit.logserver.conftest import CLAIMS, FACTS, NOW, RECO, post, text_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_log_is_read_while_it_grows(store: LogStore) -> None:
    (stored,) = store.append([post(b"one\ntwo\nthr", facts=FACTS)])
    assert (stored.have, stored.refused) == (11, "")
    (log,) = store.logs()
    assert (log.tag, log.dag_id, log.stage, log.run) == (CLAIMS.tag, "demo.z", "gen", 1000)
    assert (log.job_id, log.host, log.site) == ("77.2@ap1.pool", "wn3.example.org", "FNAL")
    assert (log.began, log.seen, log.ended, log.have, log.stored, log.size) == (NOW, NOW, None, 11, 11, 11)
    piece = store.tail(log.id)
    assert [(line.offset, line.text) for line in piece.lines] == [(0, "one"), (4, "two")]
    assert store.since(log.id, piece.stop).lines == ()
    store.append([post(b"ee\nfour", offset=11, at=NOW + 5, size=30)])
    piece = store.since(log.id, piece.stop)
    assert [(line.offset, line.text) for line in piece.lines] == [(8, "three")]
    store.append([post(b"", offset=18, at=NOW + 6, end=JobEnd(exit_code=3, failed_at="script", error="no"))])
    piece = store.since(log.id, piece.stop)
    assert [line.text for line in piece.lines] == ["four"]
    log = store.log(log.id)
    assert (log.ended, log.exit_code, log.failed_at, log.error) == (NOW + 6, 3, "script", "no")
    assert (log.size, log.have) == (30, 18)
    assert text_of(store, log.id) == ["one", "two", "three", "four"]
    assert b"".join(store.raw(log.id)) == b"one\ntwo\nthree\nfour"


def test_repeated_overlapping_and_late_posts_change_nothing_that_is_stored(store: LogStore) -> None:
    store.append([post(b"aaaa\n"), post(b"aaaa\n"), post(b"XXXX\nbbbb\n")])
    store.append([post(b"dddd\n", offset=15), post(b"YYYYYcccc\nZZ", offset=5)])
    (log,) = store.logs()
    assert (log.have, log.stored) == (20, 20)
    assert text_of(store, log.id) == ["aaaa", "bbbb", "cccc", "dddd"]


def test_a_gap_is_shown_and_can_be_filled(store: LogStore) -> None:
    store.append([post(b"one\nhalf"), post(b"three\n", offset=100)])
    (log,) = store.logs()
    assert (log.have, log.stored) == (106, 14)
    assert text_of(store, log.id) == ["one", "half", 92, "three"]
    store.append([post(b" a line\n" + b"." * 83 + b"\n", offset=8)])
    assert text_of(store, log.id) == ["one", "half a line", "." * 83, "three"]


def test_the_tail_begins_with_a_whole_line(store: LogStore) -> None:
    lines = [f"line {n:04}\n".encode() for n in range(1000)]
    for n in range(0, 1000, 100):
        store.append([post(b"".join(lines[n : n + 100]), offset=n * 10)])
    (log,) = store.logs()
    piece = store.tail(log.id, max_bytes=105)
    assert [line.text for line in piece.lines] == [f"line {n:04}" for n in range(990, 1000)]
    assert (piece.start, piece.stop) == (9900, 10000)
    pieces = list(store.whole(log.id, max_bytes=1000))
    assert len(pieces) == 10
    assert sum(len(piece.lines) for piece in pieces) == 1000


def test_one_log_keeps_its_newest_bytes(store: LogStore) -> None:
    store.limits = Limits(job_bytes=100)
    for n in range(40):
        store.append([post(f"line {n:04}\n".encode(), offset=10 * n)])
    (log,) = store.logs()
    assert (log.have, log.stored) == (400, 100)
    assert text_of(store, log.id) == [300, *(f"line {n:04}" for n in range(30, 40))]
    assert not store.search("0029").hits
    assert store.search("0030").hits


def test_a_submission_that_is_full_takes_heartbeats_only(store: LogStore) -> None:
    store.limits = Limits(submission_bytes=10)
    first, second, third = store.append([post(b"12345678\n"), post(b"more\n", offset=9), post(offset=14)])
    assert (first.refused, second.refused, third.refused) == ("", "submission-full", "")
    assert third.have == 9
    (other,) = store.append([post(b"a\n", claims=RECO)])
    assert other.refused == ""


def test_a_token_does_not_make_logs_without_end(store: LogStore) -> None:
    store.limits = Limits(executions_per_job=1)
    stored = store.append([post(b"x\n", execution=f"1.0.{n}-00000000") for n in range(110)])
    assert [each.refused for each in stored] == [""] * 104 + ["executions"] * 6
    assert len(store.logs(limit=1000)) == 104


def test_logs_are_found_by_what_they_are(store: LogStore) -> None:
    other = replace(FACTS, cluster=78, host="wn4")
    store.append([post(b"a\n", facts=FACTS)])
    store.append([post(b"b\n", claims=RECO, facts=other, execution="78.2.1-x", at=NOW + 9)])
    for where, stages in (
        (Where(dag_id="demo.z"), ["reco", "gen"]),
        (Where(stage="gen"), ["gen"]),
        (Where(run=1000, subrun=3), ["reco", "gen"]),
        (Where(run=1000, subrun=4), []),
        (Where(run=1001), []),
        (Where(cluster=78, process=2, schedd="ap1.pool"), ["reco"]),
        (Where(host="wn3"), ["gen"]),
        (Where(host="wn3.example.org"), ["gen"]),
        (Where(host="wn"), []),
        (Where(host="wn%"), []),
        (Where(execution="78.2.1-x"), ["reco"]),
        (Where(tag=RECO.tag), ["reco"]),
        (Where(since=NOW + 1), ["reco"]),
        (Where(until=NOW + 1), ["gen"]),
        (Where(site="' OR 1=1 --"), []),
        (Where(category="memory"), []),
    ):
        assert [log.stage for log in store.logs(where)] == stages, where
    assert store.categorise(CLAIMS.tag, {2: "memory", 3: "disk"}) == 1
    assert [log.stage for log in store.logs(Where(category="memory"))] == ["gen"]


@pytest.mark.parametrize("number", [1, -1, 2**63, 2**70])
def test_a_log_that_is_not_there_is_named(store: LogStore, number: int) -> None:
    for act in (store.log, store.tail, lambda n: store.since(n, 0)):
        with pytest.raises(NoSuchLog, match=re.escape(f"there is no log {number}")):
            act(number)


def test_a_database_must_be_there_and_the_logs_own(tmp_path: Path, url: str) -> None:
    with (
        LogStore(f"sqlite:///{tmp_path}/none.db") as store,
        pytest.raises(LogsError, match="prodsys logs --upgrade"),
    ):
        store.logs()
    with Ledger(url) as ledger:
        ledger.upgrade()
    with LogStore(url) as store, pytest.raises(LogsError, match="is the database of the ledger"):
        store.upgrade()
    with LogStore(url) as store, pytest.raises(LogsError, match="is at revision none"):
        store.logs()


def test_upgrading_twice_changes_nothing(store: LogStore) -> None:
    store.append([post(b"a\n")])
    assert store.upgrade() == HEAD
    assert len(store.logs()) == 1
