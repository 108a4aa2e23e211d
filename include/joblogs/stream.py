"""Any log opened safely: regular files only, unpacked on the way, never more than a limit, nothing raised."""

from __future__ import annotations

import bz2
import errno
import lzma
import os
import stat
import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK = 1 << 20
"""Bytes that are read, or unpacked, at a time."""
MAX_SIZE = 4 << 30
"""Unpacked bytes that are read of a log at most."""
MAX_LINE = 8192
"""Bytes of a line that `lines` keeps."""
_MAX_MEMBERS = 1_000_000
_MAX_WINDOW = 256 << 20
"""Bytes of memory that an xz file may ask for; more means that it was not packed by the usual levels."""


class Packing(StrEnum):
    """How a log is compressed, told by its first bytes, not by its name."""

    PLAIN = "plain"
    """Not compressed."""
    GZIP = "gzip"
    """.gz, also of several members."""
    BZIP2 = "bzip2"
    """.bz2, also of several streams."""
    XZ = "xz"
    """.xz, also of several streams."""
    ZSTD = "zstd"
    """.zst: recognised, but not read. Python 3.11 to 3.13 cannot unpack it."""


_MAGIC = (
    (b"\x1f\x8b", Packing.GZIP),
    (b"BZh", Packing.BZIP2),
    (b"\xfd7zXZ\x00", Packing.XZ),
    (b"\x28\xb5\x2f\xfd", Packing.ZSTD),
)


class _Unpacker(Protocol):
    """One member of a compressed file."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the ways of the other two."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        held = self._inner.unconsumed_tail
        return self._inner.decompress(held + data if held else data, max_length)


def _unpacker(packing: Packing) -> _Unpacker:
    if packing is Packing.GZIP:
        return _Gzip()
    if packing is Packing.BZIP2:
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MAX_WINDOW)


class LogStream:
    """The bytes of one log, in blocks; what goes wrong ends them and is said in `problem`.

    Iterate once. Never raises on what the file is or holds. A FIFO, a device, a folder or a symbolic link is
    not opened as a log: that is a problem and no bytes. At most `limit` unpacked bytes are given.
    """

    def __init__(self, path: str, *, limit: int = MAX_SIZE, block: int = BLOCK) -> None:
        self.path, self._limit, self._block = path, limit, block
        self.size = 0
        """Unpacked bytes given so far."""
        self.problem = ""
        """One sentence on why it ended early; empty if it did not."""
        self.packing = Packing.PLAIN
        self.changed: float | None = None
        """When the file was last written, epoch seconds."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            self.problem = _why_not(error)
            return
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                self.problem = "it is not a regular file"
                return
            self.changed = status.st_mtime
            yield from self._bounded(self._raw(handle))
        finally:
            os.close(handle)

    def _bounded(self, raw: Iterator[bytes]) -> Iterator[bytes]:
        first = next(raw, b"")
        while 0 < len(first) < 6 and (more := next(raw, b"")):
            first += more
        self.packing = next((name for magic, name in _MAGIC if first.startswith(magic)), Packing.PLAIN)
        if self.packing is Packing.ZSTD:
            self.problem = "it is compressed with zstd, which cannot be read here; unpack it with unzstd"
            return
        blocks = self._plain(first, raw) if self.packing is Packing.PLAIN else self._unpacked(first, raw)
        for block in blocks:
            left = self._limit - self.size
            if len(block) > left:
                self.size += left
                self.problem = f"only the first {self._limit} bytes were read"
                yield block[:left]
                return
            self.size += len(block)
            yield block

    def _raw(self, handle: int) -> Iterator[bytes]:
        """Yield the file's own bytes until its end or an error of the file system."""
        try:
            while data := os.read(handle, self._block):
                yield data
        except OSError as error:
            self.problem = f"reading stopped: {error.strerror}"

    @staticmethod
    def _plain(first: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
        if first:
            yield first
        yield from raw

    def _unpacked(self, first: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
        """Yield unpacked blocks, member after member; a broken or cut one ends them."""
        magic = next(magic for magic, name in _MAGIC if name is self.packing)
        rest: bytes = first
        for _ in range(_MAX_MEMBERS):
            member = _unpacker(self.packing)
            try:
                yield from self._member(member, rest, raw)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError) as error:
                self.problem = f"the {self.packing} data are broken after {self.size} bytes: {error}"
                return
            if not member.eof:
                self.problem = self.problem or f"the {self.packing} data are cut after {self.size} bytes"
                return
            rest = member.unused_data.lstrip(b"\0")
            while len(rest) < len(magic) and (more := next(raw, b"")):
                rest = (rest + more).lstrip(b"\0")
            if not rest:
                return
            if not rest.startswith(magic):
                self.problem = f"something else follows the {self.packing} data: not read"
                return
        self.problem = f"it has more than {_MAX_MEMBERS} {self.packing} members: the others were not read"

    def _member(self, member: _Unpacker, data: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
        while not member.eof:
            if block := member.decompress(data, self._block):
                yield block
            data = b""
            if member.needs_input and not member.eof:
                data = next(raw, b"")
                if not data:
                    return


def _why_not(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError):
        if error.errno == errno.ELOOP:
            return "it is a symbolic link: not followed"
        return f"it cannot be opened: {error.strerror}"
    return "its name has a NUL"


def lines(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    r"""Yield (number from 1, the line without \n or \r\n), at most MAX_LINE bytes of each."""
    number, kept = 1, b""
    for block in blocks:
        first, *others = block.split(b"\n")
        kept += first[: max(0, MAX_LINE - len(kept))]
        for other in others:
            yield number, _ended(kept)
            number += 1
            kept = other
    if kept:
        yield number, _ended(kept)


def _ended(line: bytes) -> bytes:
    return line[:MAX_LINE].removesuffix(b"\r")
