"""Searching logs, and what a search cannot do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from include.errors import LogsError
from include.logserver.lines import LONGEST_LINE, Wanted, lines_of
from include.logserver.records import Before, Found, Where
from tests.unit.logserver.conftest import FACTS, NOW, RECO, post, text_of

if TYPE_CHECKING:
    from include.logserver.store import LogStore

HOSTILE = (
    b"<script>alert(1)</script> & \"'\n"
    b"\x1b[31mred\x1b[0m \x1b]0;title\x07word\n"
    b"nul\x00bell\x07back\x08\n"
    b"latin \xe9\xff\n"
    b"\xe2\x80\xaeright to left\n"
    b"10%\r20%\r\n"
)


def found(store: LogStore, text: str, where: Where | None = None) -> list[str]:
    return [hit.line.text for hit in store.search(text, where or Where()).hits]


@pytest.fixture
def logs(store: LogStore) -> LogStore:
    store.append([
        post(b"Begin processing event 17\nError in <TFile>: cannot open /pnfs/x_1.root\nfine\n", facts=FACTS)
    ])  # fmt: skip
    facts = replace(FACTS, cluster=78, host="wn4", site="BNL", first_subrun=7, last_subrun=7)
    store.append([
        post(b"error 42\nopen error\n\xc3\x84rger mit \xc3\x9cmlaut\n", claims=RECO, facts=facts, at=NOW + 60)
    ])  # fmt: skip
    return store


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("ERROR", ["open error", "error 42", "Error in <TFile>: cannot open /pnfs/x_1.root"]),
        ("open error", ["open error", "Error in <TFile>: cannot open /pnfs/x_1.root"]),
        ('"open error"', ["open error"]),
        ("err*", ["open error", "error 42", "Error in <TFile>: cannot open /pnfs/x_1.root"]),
        ("err", []),
        ("/pnfs/x_1.root", ["Error in <TFile>: cannot open /pnfs/x_1.root"]),
        ("event 42", []),
        ("begin fine", []),
        ("ümlaut", ["Ärger mit Ümlaut"]),
        ("'; DROP TABLE log_logs; --", []),
        ("NOT error", []),
        ("a:* | !b & (c)", []),
        ('unclosed "open err*', []),
    ],
)
def test_what_is_found(logs: LogStore, text: str, lines: list[str]) -> None:
    assert found(logs, text) == lines
    assert len(logs.logs()) == 2


def test_a_search_within_some_logs(logs: LogStore) -> None:
    for where, lines in (
        (Where(stage="reco"), ["error 42"]),
        (Where(stage="gen"), []),
        (Where(host="wn4", run=1000, subrun=7), ["error 42"]),
        (Where(cluster=77, process=2), []),
        (Where(site="BNL", since=NOW + 59, until=NOW + 61), ["error 42"]),
        (Where(since=NOW + 61), []),
    ):
        assert found(logs, "error 42", where) == lines, where
    (hit,) = logs.search("42").hits
    assert (hit.log.stage, hit.log.job_id, hit.line.offset, hit.at) == ("reco", "78.2@ap1.pool", 0, NOW + 60)


@pytest.mark.parametrize("text", ["", "  ", "***", '""', "%_", "\0"])
def test_nothing_to_search_for_is_said(store: LogStore, text: str) -> None:
    with pytest.raises(LogsError, match="nothing to search for in"):
        store.search(text)
    with pytest.raises(LogsError, match="16 words at most"):
        store.search(" ".join(str(n) for n in range(17)))


def test_pages_of_hits(store: LogStore) -> None:
    for n in range(90):
        store.append([post(f"line {n} hit\n".encode(), offset=1000 * n, execution=f"1.{n % 3}.0-0")])
    seen, before = [], None
    for _ in range(3):
        page = store.search("hit", limit=40, before=before)
        seen += [int(hit.line.text.split()[1]) for hit in page.hits]
        assert page.complete
        before = page.before
        if before is None:
            break
    assert seen == list(range(89, -1, -1))


def pages_of(store: LogStore, text: str, limit: int, most: int) -> list[Found]:
    """Return all pages of a search, each gone on from by its text, as over HTTP."""
    pages, before = list[Found](), None
    for _ in range(most):
        pages.append(store.search(text, limit=limit, before=before, seconds=60))
        if pages[-1].before is None:
            break
        before = Before.parse(str(pages[-1].before))
    return pages


@pytest.mark.parametrize("limit", [1, 3, 7, 10, 100])
def test_pages_end_within_blocks_and_lose_and_repeat_nothing(store: LogStore, limit: int) -> None:
    long = b"a" * LONGEST_LINE + b" a\n"  # a hit in its second piece
    data = [b"a\nno\r\na\r\n\na b\n", b"none\n", long + b"a", b"a\n" * 6, b"a"]
    for n, each in enumerate(data):
        store.append([post(each, offset=10_000 * n, execution=f"1.{n % 2}.0-0", at=NOW + n)])
    pages = pages_of(store, "a", limit, 30)
    assert {len(page.hits) for page in pages[:-1]} <= {limit}
    assert 0 < len(pages[-1].hits) <= limit
    seen = [(hit.line.offset, hit.line.text) for page in pages for hit in page.hits]
    assert seen == [
        (40_000, "a"),
        *((30_000 + 2 * n, "a") for n in reversed(range(6))),
        (20_000 + len(long), "a"), (20_000 + LONGEST_LINE, "a"),
        (10, "a b"), (6, "a"), (0, "a"),
    ]  # fmt: skip


def test_a_block_of_many_hits_is_cut_and_its_log_told_once(store: LogStore) -> None:
    facts = replace(FACTS, node=json.dumps({"cvmfs": {f"repository{n}": n for n in range(500)}}))
    store.append([post(b"a\n" * 32768, facts=facts)])
    page = store.search("a", limit=100)
    assert [hit.line.offset for hit in page.hits] == list(range(65534, 65334, -2))
    assert page.before is not None
    assert len(json.dumps(page.to_dict())) < 40_000
    assert [log["job_id"] for log in page.to_dict()["logs"]] == ["77.2@ap1.pool"]
    assert sum(len(each.hits) for each in pages_of(store, "a", 10_000, 9)) == 32768


def test_a_search_that_takes_too_long_says_so(logs: LogStore) -> None:
    page = logs.search("error", seconds=0)
    assert (page.hits, page.complete) == ((), False)


def test_a_hostile_log_is_text(store: LogStore) -> None:
    store.append([post(HOSTILE)])
    (log,) = store.logs()
    lines = text_of(store, log.id)
    assert lines[0] == "<script>alert(1)</script> & \"'"
    assert lines[1:] == [
        "red word", "nulbellback", "latin \ufffd\ufffd", "right to left", "10%", "20%",
    ]  # fmt: skip
    assert found(store, "word") == ["red word"]
    assert found(store, "31mred") == []
    assert b"".join(store.raw(log.id)) == HOSTILE


def test_a_line_without_end_is_shown_in_pieces(store: LogStore) -> None:
    chunk = b"x" * 65536
    for n in range(20):
        store.append([post(chunk, offset=n * len(chunk))])
    (log,) = store.logs()
    lines = text_of(store, log.id)
    assert {len(line) for line in lines[:-1]} == {LONGEST_LINE}
    assert len("".join(lines)) >= 20 * len(chunk) - LONGEST_LINE
    assert len(store.tail(log.id).lines) < 40


def test_lines_keep_their_offsets() -> None:
    assert list(lines_of(b"a\r\nb\rc\n\nd", 10)) == [(10, "a"), (13, "b"), (15, "c"), (17, ""), (18, "d")]


@pytest.mark.parametrize("text", ['a "b c" d* \'x', "é_ß 1.5e-3 ''''", "&|!():*<->", "x\\' \\\\"])
def test_queries_hold_nothing_but_words(text: str) -> None:
    try:
        wanted = Wanted.parse(text)
    except LogsError:
        return
    assert re.fullmatch(r"'\w+'(:\*)?( & '\w+'(:\*)?)*", wanted.tsquery())
    assert re.fullmatch(r'"\w+"\*?( "\w+"\*?)*', wanted.fts5())
