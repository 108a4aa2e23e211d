"""Logs of every kind of file: what can be read is read, and the rest is said, never raised."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.joblogs.stream import MAX_LINE, LogStream, Packing, lines

if TYPE_CHECKING:
    from pathlib import Path

TEXT = b"".join(b"line %d of a log\n" % number for number in range(50_000))
PACKERS = {Packing.GZIP: gzip.compress, Packing.BZIP2: bz2.compress, Packing.XZ: lzma.compress}


def read(path: Path, **given: int) -> tuple[bytes, LogStream]:
    """Return all bytes, and the stream when it has ended."""
    stream = LogStream(str(path), **given)
    return b"".join(stream), stream


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("members", [1, 3])
def test_packed_logs_are_told_by_their_first_bytes(tmp_path: Path, packing: Packing, members: int) -> None:
    path = tmp_path / "job.log"
    path.write_bytes(PACKERS[packing](TEXT) * members)
    data, stream = read(path)
    assert data == TEXT * members
    assert (stream.problem, stream.packing, stream.size) == ("", packing, len(TEXT) * members)


@pytest.mark.parametrize("packing", PACKERS)
def test_a_cut_packed_log_gives_what_was_there(tmp_path: Path, packing: Packing) -> None:
    path = tmp_path / "job.log.gz"
    packed = PACKERS[packing](TEXT + os.urandom(3_000_000))
    path.write_bytes(packed[:-20_000])
    data, stream = read(path)
    assert len(data) > len(TEXT)
    assert data.startswith(TEXT)
    assert "are cut after" in stream.problem


@pytest.mark.parametrize("packing", PACKERS)
def test_a_broken_packed_log_is_said(tmp_path: Path, packing: Packing) -> None:
    path = tmp_path / "job.log"
    packed = bytearray(PACKERS[packing](os.urandom(100_000)))
    packed[len(packed) // 2 :] = os.urandom(len(packed) - len(packed) // 2)
    path.write_bytes(bytes(packed))
    data, stream = read(path)
    assert len(data) <= 100_000
    assert "are broken after" in stream.problem or "are cut after" in stream.problem


@pytest.mark.parametrize("packing", PACKERS)
def test_a_bomb_ends_at_the_limit(tmp_path: Path, packing: Packing) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(PACKERS[packing](bytes(20_000_000)))
    biggest = total = 0
    stream = LogStream(str(path), limit=5_000_000)
    for block in stream:
        biggest, total = max(biggest, len(block)), total + len(block)
    assert total == stream.size == 5_000_000
    assert biggest <= 1 << 20
    assert stream.problem == "only the first 5000000 bytes were read"


def test_an_xz_log_that_wants_too_much_memory_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "log.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}]
    path.write_bytes(lzma.compress(b"x" * 100, filters=filters))
    data, stream = read(path)
    assert data == b""
    assert "broken" in stream.problem


def test_what_follows_packed_data_is_said(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(TEXT) + b"\0" * 1000)
    assert read(path)[1].problem == ""
    path.write_bytes(gzip.compress(TEXT) + b"job ended\n")
    data, stream = read(path)
    assert data == TEXT
    assert stream.problem == "something else follows the gzip data: not read"


def test_zstd_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    data, stream = read(path)
    assert data == b""
    assert "zstd" in stream.problem


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"text\n")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    problems = {name: read(tmp_path / name)[1].problem for name in ("link", "pipe", "none", ".", "a\0b")}
    assert problems == {
        "link": "it is a symbolic link: not followed",
        "pipe": "it is not a regular file",
        "none": "there is no such file",
        ".": "it is not a regular file",
        "a\0b": "its name has a NUL",
    }


def test_a_plain_log_is_given_whole_and_an_empty_one_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"", b"x", TEXT * 4):
        path.write_bytes(text)
        data, stream = read(path)
        assert (data, stream.problem, stream.size) == (text, "", len(text))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="ab\r\n\0", max_size=20).map(str.encode), max_size=8))
def test_lines_do_not_depend_on_the_blocks(blocks: list[bytes]) -> None:
    whole = b"".join(blocks)
    expected = [line.removesuffix(b"\r") for line in whole.split(b"\n")]
    if not whole.split(b"\n")[-1]:
        expected.pop()
    assert list(lines(blocks)) == list(enumerate(expected, 1))


def test_long_lines_are_cut_and_counted_right() -> None:
    blocks = [b"x" * 5000] * 10 + [b"\nshort\r\n", b"y" * 20_000]
    assert [(number, len(line)) for number, line in lines(blocks)] == [(1, MAX_LINE), (2, 5), (3, MAX_LINE)]


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300), magic=st.sampled_from([b"", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00"]))
def test_no_file_raises(tmp_path_factory: pytest.TempPathFactory, data: bytes, magic: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(magic + data)
    read(path, limit=1_000_000)
