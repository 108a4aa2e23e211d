"""Evidence is fit to be shown; messages of one kind have one signature."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.joblogs.signatures import MAX_SIGNATURE, signature
from include.joblogs.text import clean, last_segment, shorten


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"  plain text \r\n", "plain text"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"a\tb\x00c\x7f", "a bc"),
        ("right\u202eleft\u200b\ufeff", "rightleft"),
        ("line\u2028break\x85", "linebreak"),
        ("half \ud83d pair", "half  pair"),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
        ("naïve é 日本", "naïve é 日本"),
        (b"\x1b", ""),
    ],
)
def test_clean(raw: bytes | str, text: str) -> None:
    assert clean(raw) == text


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_what_is_clean_can_be_shown(raw: bytes | str) -> None:
    text = clean(raw)
    assert "\x1b" not in text
    assert not set(text) & {chr(code) for code in range(32)}
    text.encode("utf-8")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100), st.integers(0, 100), st.integers(3, 40))
def test_shorten_keeps_what_is_asked_for(text: str, around: int, limit: int) -> None:
    short = shorten(text, around=around, limit=limit)
    assert len(short) <= limit
    assert short.strip("…") in text or "…" in text
    if around < len(text) and limit > 8:
        marked = "".join("#" if at == around else "." for at in range(len(text)))
        assert "#" in shorten(marked, around=around, limit=limit)


def test_the_last_part_of_a_progress_bar() -> None:
    assert last_segment(b"10%\r20%\r  \r") == b"20%"
    assert last_segment(b"\r\r") == b""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "cet::exception: file '/pnfs/a_003.root' was not found on wn17.fnal.gov at 2026-11-24 01:02:03",
            "cet::exception: file <str> was not found on <host> at <date>",
        ),
        (
            "%MSG-s ArtException:  PostEndJob 24-Nov-2026 01:02:03 CST id 17",
            "%MSG-s ArtException: PostEndJob <date> id <n>",
        ),
        ("Tue Nov 24 01:02:03 UTC 2026 started", "<date> started"),
        ("0x7ffe12ab in dead01beef of 123e4567-e89b-12d3-a456-426614174000", "<hex> in <hex> of <uuid>"),
        ("open root://door.example.edu:1094//pnfs/x.art; No such file", "open <path>; No such file"),
        ("cannot read /a/b/c.txt: errno 5", "cannot read <path>: errno <n>"),
        ("step -1.5e-3 MeV, 12.5%", "step <n> MeV, <n>%"),
        ("slot1_2@wn1.pool left 10.0.0.1:9618", "<host> left <host>"),
        ("std::bad_alloc", "std::bad_alloc"),
        ("don't stop", "don't stop"),
        ("", ""),
    ],
)  # fmt: skip
def test_signature(message: str, expected: str) -> None:
    assert signature(message) == expected


def test_messages_of_one_kind_have_one_signature() -> None:
    kind = "Fatal Root Error: error reading {} bytes from file /pnfs/x/{:08d}.art on wn{}.fnal.gov"
    assert len({signature(kind.format(n * 97, n, n)) for n in range(500)}) == 1


@settings(max_examples=1500, deadline=None)
@given(
    st.one_of(
        st.text(max_size=400), st.text(alphabet="ab <>n'\"`/.:-+0123eEx_@=()Nov,dateT\té\\", max_size=200)
    )
)
def test_a_signature_is_its_own(text: str) -> None:
    short = signature(text)
    assert len(short) <= MAX_SIGNATURE
    assert signature(short) == short


@pytest.mark.parametrize(
    "unit", ["a", "1", "'", '"', "a.", "/", "<n", "1.1:", "-1", "ab12", "Nov 1 ", "\x1b["]
)
def test_no_message_takes_long(unit: str) -> None:
    began = time.perf_counter()
    signature(unit * 20_000)
    assert time.perf_counter() - began < 1
