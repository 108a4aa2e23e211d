"""Patterns in logs of every shape; the result depends on the bytes alone."""

from __future__ import annotations

import gzip
import re
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.joblogs import finder, scanner
from include.joblogs.regex_safety import explodes
from include.joblogs.scanner import Pattern, Scan, Scanner

EXAMPLES = Path(__file__).parent / "examples"
ERROR = Pattern(name="error", literals=("Error", "FATAL"), regex=r"(?:Error|FATAL)\S* (?P<what>\w+)")
PLAIN = Pattern(name="killed", literals=("Killed",), regex=None)
ANY_CASE = Pattern(
    name="memory", literals=("Out Of memory",), regex=r"out of (?P<what>MEMORY)", ignore_case=True
)
PATTERNS = (ERROR, PLAIN, ANY_CASE)


def scan(*blocks: bytes, patterns: tuple[Pattern, ...] = PATTERNS, **given: int) -> Scan:
    """Return the scan of some bytes."""
    return Scanner(patterns, **given).scan_blocks(blocks)


def told(found: Scan) -> list[tuple[str, int, str]]:
    """Return the hits without their groups."""
    return [(hit.pattern, hit.line, hit.text) for hit in found.hits]


def test_hits_come_in_order_with_line_and_groups() -> None:
    found = scan(b"start\n  Error: bad\nKilled\nall fine\nkilled\nOUT of memory at 3\nFATAL x\n")
    assert told(found) == [
        ("error", 2, "Error: bad"),
        ("killed", 3, "Killed"),
        ("memory", 6, "OUT of memory at 3"),
        ("error", 7, "FATAL x"),
    ]
    assert [hit.groups for hit in found.hits] == [
        (("what", "bad"),), (), (("what", "memory"),), (("what", "x"),),
    ]  # fmt: skip
    assert found.counts == {"error": 2, "killed": 1, "memory": 1}
    assert (found.lines, found.problem, found.stopped) == (7, "", ())
    assert found.last["error"].line == 7


def test_a_line_counts_once_for_a_pattern() -> None:
    found = scan(b"Killed Killed Killed\nError a Error b FATAL c\n")
    assert found.counts == {"killed": 1, "error": 1}


def test_a_later_text_of_a_line_is_tried_where_the_line_is_long() -> None:
    line = b"Error!\0" + b"." * 10_000 + b" Error: late\n"
    assert scan(b"\n" + line).counts == {"error": 1}
    (hit,) = scan(b"\n" + line).hits
    assert hit.line == 2
    assert hit.groups == (("what", "late"),)


def test_texts_within_texts_are_found() -> None:
    patterns = tuple(
        Pattern(name=text, literals=(text,)) for text in ("bad_alloc", "std::bad_alloc", "alloc", "bad")
    )
    assert scan(b"std::bad_alloc\n", patterns=patterns).counts.keys() == {p.name for p in patterns}


def test_the_first_and_the_last_hits_are_kept_and_all_are_counted() -> None:
    found = scan(b"".join(b"Killed %d\n" % number for number in range(1, 101)), keep=2)
    assert [hit.text for hit in found.hits] == ["Killed 1", "Killed 2"]
    assert found.last["killed"].text == "Killed 100"
    assert found.counts == {"killed": 100}


def test_text_is_cleaned_before_the_regex_sees_it() -> None:
    (hit,) = scan(b"\x1b[31mError:\x1b[0m\x00\tbad \xff\x07\r\n").hits
    assert hit.text == "Error: bad \N{REPLACEMENT CHARACTER}"
    assert scan(b"\x1b[1mError\x1b[0m bad").hits[0].groups == (("what", "bad"),)


def test_a_progress_bar_is_one_line_of_which_the_part_is_shown() -> None:
    found = scan(b" 10%\r 20%\r Error: bad\r 30%\nnext\n")
    assert told(found) == [("error", 1, "Error: bad")]
    assert found.tail == ((1, "30%"), (2, "next"))


def test_a_very_long_line_costs_no_memory_and_shows_what_was_found() -> None:
    def blocks():
        yield from [b"z" * 1_000_000] * 60
        yield b"Error: bad" + b"y" * 500
        yield from [b"z" * 1_000_000] * 60
        yield b"\nKilled"

    tracemalloc.start()
    found = Scanner(PATTERNS).scan_blocks(blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6
    assert [(hit.pattern, hit.line) for hit in found.hits] == [("error", 1), ("killed", 2)]
    assert "Error: bad" in found.hits[0].text
    assert len(found.hits[0].text) <= 300
    assert found.size == 120_000_517


def test_the_tail_is_of_lines_that_are_not_blank() -> None:
    found = scan(b"".join(b"line %d\n\n   \n" % number for number in range(100)), tail=3)
    assert found.tail == ((292, "line 97"), (295, "line 98"), (298, "line 99"))
    assert scan(b"").tail == ()
    assert scan(b"one\ntwo").tail == ((1, "one"), (2, "two"))
    assert all(len(text) <= 300 for _, text in scan(b"x" * 100_000).tail)


def test_binary_junk_is_said_and_searched_all_the_same() -> None:
    found = scan(bytes(1000) + b"\nKilled\n" + bytes(1000))
    assert found.problem == "it is binary: 2000 of its 2008 bytes are NUL"
    assert told(found) == [("killed", 2, "Killed")]


def test_a_log_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    found = Scanner(PATTERNS).scan(str(tmp_path / "none"))
    assert (found.problem, found.hits, found.lines) == ("there is no such file", (), 0)


def test_a_packed_log_and_a_cut_one(tmp_path: Path) -> None:
    text = b"".join(b"%d\n" % number for number in range(200_000)) + b"Killed\n"
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(text))
    whole = Scanner(PATTERNS).scan(str(path))
    assert told(whole) == [("killed", 200_001, "Killed")]
    path.write_bytes(gzip.compress(b"Killed\n" + text)[:-5000])
    cut = Scanner(PATTERNS).scan(str(path))
    assert told(cut) == [("killed", 1, "Killed")]
    assert cut.problem.startswith("the gzip data are cut after ")


def test_the_true_cause_stands_above_the_file_that_was_not_found() -> None:
    patterns = (
        Pattern(name="no file", literals=("file was not found",)),
        Pattern(name="auth", literals=("Auth failed",), regex=r"\[FATAL\] Auth failed(?:: (?P<why>.*))?"),
    )
    found = Scanner(patterns).scan(str(EXAMPLES / "auth_failed.log"))
    assert [(hit.pattern, hit.line) for hit in found.hits] == [("auth", 4), ("auth", 5), ("no file", 7)]
    assert found.hits[1].groups == (("why", "token has expired"),)


def test_a_text_in_every_line_is_given_up() -> None:
    log = b"".join(b"Error!event%d\nKilled\n" % number for number in range(300_000)) + b"FATAL end\n"
    began = time.perf_counter()
    found = scan(log)
    assert time.perf_counter() - began < 20
    assert found.stopped == ("error", "killed")
    assert found.counts == {"killed": scanner.MAX_COUNT}
    assert found.lines == 600_001


def test_a_slow_regex_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "MAX_SECONDS", 0.2)
    slow = Pattern(name="slow", literals=("aaaa",), regex=r"a*a*a*b")
    log = (b"a" * 100 + b"\n") * 100_000
    found = scan(log, patterns=(slow, PLAIN))
    assert found.stopped == ("slow",)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (Pattern(name="a", literals=()), "has no literal"),
        (Pattern(name="a", literals=("ab",)), "not 3 to 256 printable ASCII"),
        (Pattern(name="a", literals=("naïve",)), "not 3 to 256 printable ASCII"),
        (Pattern(name="a", literals=("a\nb",)), "not 3 to 256 printable ASCII"),
        (Pattern(name="a", literals=("abc",), regex="("), "is no regex"),
        (Pattern(name="a", literals=("abc",), regex=r"abc(\w+)+$"), "search for ever"),
        (PLAIN, "two patterns are called 'killed'"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern: Pattern, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Scanner((PLAIN, pattern))


@pytest.mark.parametrize(
    "regex",
    [
        r"(a+)+$",
        r"(?:\w*\s*)*x",
        r"(?P<a>(?:b|c+)*)+",
        r"x(?=(a*)+b)",
        r"(?i)((a{1,9})){20}",
        r"(?:a|aa)+!",
        r"(?:x?\w)+!",
        r"(?:a|a)+!",
        r"(?:ab|abab|c)+!",
        r"(?:a(?:b?|c?))+!",
        r"(?:a(?:b?)?)+!",
        r"(?:(?:a+)+b)++",
        r"(?i)(?:[a-f]x?|X)+!",
        r"(?:.*,.*;)+!(?s:(?:.|\n)+x)",
        r"(a)(?:(?(1)a|b)|a)+!",
        r"(?:(a)\1?)+!",
    ],
)
def test_an_exploding_regex_is_told(regex: str) -> None:
    assert explodes(regex)


@pytest.mark.parametrize(
    "regex",
    [
        r"a+b*",
        r"(?:\.\w+)*",
        r"(\d{1,3}\.){3}\d+",
        r"(?:a+)++$",
        r"(?>a+)+$",
        r"(?:ab|cd)*",
        r"(?:[a-z]+, )+x",
        r"(?:a?)*",
        r"(?:\w+\W)+x",
        r"(?:a{3})+",
        r"(?:.*\n)*",
        r"(?:[a-z]+[A-Z])+",
        r"(?:abc|abd|x)*",
        r"(?:\w|-)+",
        r"(?:\w|\d)*!",
        r"(?:→ā*)+",
        r"(?:key=\w*(?:, |;))*",
        r"(?:a|aa){1,9}!",
    ],
)
def test_a_harmless_regex_is_let_through(regex: str) -> None:
    assert not explodes(regex)


def test_no_patterns_still_give_lines_and_tail() -> None:
    found = scan(b"a\nb\n", patterns=())
    assert (found.lines, found.tail) == (2, ((1, "a"), (2, "b")))


PIECES = st.sampled_from(
    [b"Error", b"Error: bad", b"FATAL x", b"Killed", b"out of MEMORY", b"Kil", b"led", b"\n", b"\r\n", b"\r",
     b" ", b"\0", b"\xff\xc3", b"\x1b[31m", b"\x1b", b"x" * 40, b"." * 700, b"\n\n", b"e", "é".encode()]
)  # fmt: skip
LOGS = st.lists(PIECES, max_size=60).map(b"".join)
SMALL = {"PIECE": 64, "BEFORE": 50, "AFTER": 90, "_MARGIN": 100, "_TAIL": 200, "_FEW": 8}


@settings(max_examples=400, deadline=None)
@given(log=LOGS, cuts=st.lists(st.integers(0, 3000), max_size=10), fold=st.booleans())
def test_blocks_do_not_matter(log: bytes, cuts: list[int], fold: bool) -> None:
    patterns = PATTERNS if fold else PATTERNS[:2]
    bounds = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    blocks = [log[start:end] for start, end in pairwise(bounds)]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(finder, name, value)
        whole = scan(log, patterns=patterns)
        assert scan(*blocks, patterns=patterns) == whole
        patch.setattr(finder, "PIECE", 10_000_000)
        assert scan(log, patterns=patterns) == whole
    assert all(len(hit.text) <= 300 for hit in whole.hits)
    assert whole.lines == log.count(b"\n") + (not log.endswith(b"\n") and log != b"")
    for hit in whole.hits:
        assert hit.line <= whole.lines


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["Error: bad", "Killed", "x", "", "out of memory"]), max_size=30))
def test_line_ends_do_not_matter(lines: list[str]) -> None:
    unix, dos = (end.join(line.encode() for line in lines) for end in (b"\n", b"\r\n"))
    assert told(scan(unix)) == told(scan(dos))
    assert scan(unix).tail == scan(dos).tail
    assert scan(unix).lines == scan(dos).lines


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000))
def test_junk_never_raises(junk: bytes) -> None:
    found = scan(junk, patterns=(*PATTERNS, Pattern(name="x", literals=("   ",), regex="(?P<a>.*)")))
    assert len(found.tail) <= scanner.TAIL
