"""Many patterns in one log, in one pass: the first lines that fit each, their number, and the log's end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.joblogs.finder import Finder
from include.joblogs.patterns import Pattern, Table, table
from include.joblogs.stream import LogStream
from include.joblogs.text import clean, shorten

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping

__all__ = ["Hit", "Pattern", "Scan", "Scanner", "Scanning"]

KEEP = 3
"""Hits of a pattern that are kept, if the caller does not say."""
TAIL = 20
"""Lines of the log's end that are kept."""
MAX_COUNT = 5_000
"""Hits of a pattern after which it is no longer searched for."""
MAX_SEARCHES = 50_000
"""Lines that a pattern's regular expression is tried on; it is no longer searched for after that."""
MAX_SECONDS = 2.0
"""Seconds that a pattern's regular expression may use of one log."""
MAX_GROUP = 200
"""Characters of a named group's text."""
_BINARY = 0.1
"""Share of NUL bytes from which a log is called binary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One line that fits a pattern."""

    pattern: str
    line: int
    """From 1; only \\n ends a line."""
    text: str
    """Cleaned, at most 300 characters round what was found."""
    groups: tuple[tuple[str, str], ...]
    """(name, text) of the named groups that took part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one pass over a log found."""

    path: str
    size: int
    """Bytes that were read, unpacked."""
    lines: int
    hits: tuple[Hit, ...]
    """The first ones of each pattern, in order of line."""
    last: Mapping[str, Hit]
    """Pattern → its last hit, also where that is one of the first."""
    counts: Mapping[str, int]
    """Pattern → lines that fit; at most MAX_COUNT. Patterns without a hit are left out."""
    stopped: tuple[str, ...]
    """Patterns given up within the log: there may be more hits than counted, and a later last one."""
    tail: tuple[tuple[int, str], ...]
    """(line, text) of the last non-blank lines, in order; at most 64 kB of the log's end."""
    problem: str
    """Why not all was read, or why it is no text; empty if all is well."""


class Scanner:
    """Patterns made ready; one scanner serves any number of logs and threads."""

    def __init__(self, patterns: Iterable[Pattern], *, keep: int = KEEP, tail: int = TAIL) -> None:
        """Compile the patterns; ValueError says what is wrong with one."""
        self._table, self._keep, self._tail = table(patterns), keep, tail

    def scan(self, path: str) -> Scan:
        """Read a log, packed or not; what cannot be read is said in the scan's `problem`, never raised."""
        stream = LogStream(path)
        scanning = self.begin(path)
        for block in stream:
            scanning.feed(block)
        return scanning.finish(problem=stream.problem)

    def scan_blocks(self, blocks: Iterable[bytes], path: str = "") -> Scan:
        """Search bytes from anywhere; the result does not depend on how they are cut into blocks."""
        scanning = self.begin(path)
        for block in blocks:
            scanning.feed(block)
        return scanning.finish()

    def begin(self, path: str = "") -> Scanning:
        """Return a scan to be fed block by block, for a stream that others read as well."""
        return Scanning(self._table, path, keep=self._keep, tail=self._tail)


class _Progress:
    """What is known so far of one pattern."""

    __slots__ = ("count", "first", "last", "line", "searches", "seconds", "stopped", "window")

    def __init__(self) -> None:
        self.count = self.searches = self.line = 0
        self.seconds = 0.0
        self.stopped = False
        self.window = (-1, -1)
        self.first: list[Hit] = []
        self.last: tuple[int, str | bytes, re.Match[str] | None] | None = None


class Scanning:
    """One log that is being scanned. Feed blocks, then `finish`."""

    def __init__(self, table: Table, path: str, *, keep: int, tail: int) -> None:
        self._table, self._path, self._keep, self._tail = table, path, keep, tail
        self._progress = [_Progress() for _ in table.patterns]
        self._finder = Finder(table.texts, self, fold=table.fold)
        self._text = ((-1, -1), "")

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the log."""
        self._finder.feed(block)

    def passed(self, data: memoryview) -> None:
        """Take what was searched: nothing to do with it."""

    def found(self, text: int, start: int) -> None:
        """Take a place where a literal stands."""
        for owner in self._table.owners[text]:
            progress = self._progress[owner.pattern]
            if progress.stopped:
                continue
            if owner.exact is not None and not self._finder.buffer.startswith(owner.exact, start):
                continue
            line = self._finder.line_at(start)
            if line != progress.line or progress.count == 0:
                self._try(owner.pattern, progress, line, start)

    def _try(self, number: int, progress: _Progress, line: int, start: int) -> None:
        """See whether the line fits a pattern that has no hit in it yet."""
        finder, regex = self._finder, self._table.regexes[number]
        bounds = finder.window(start)
        if regex is None:
            self._hit(number, progress, line, finder.buffer[bounds[0] : bounds[1]], None)
            return
        window = (finder.base + bounds[0], finder.base + bounds[1])
        if window == progress.window:
            return
        progress.window = window
        if self._text[0] != window:
            self._text = (window, finder.text(bounds))
        began = time.perf_counter()
        match = regex.search(self._text[1])
        progress.seconds += time.perf_counter() - began
        progress.searches += 1
        if match is not None:
            self._hit(number, progress, line, self._text[1], match)
        if progress.searches >= MAX_SEARCHES or progress.seconds > MAX_SECONDS:
            self._stop(number, progress)

    def _hit(
        self, number: int, progress: _Progress, line: int, text: str | bytes, match: re.Match[str] | None
    ) -> None:
        progress.line = line
        progress.count += 1
        progress.last = (line, text, match)
        if len(progress.first) < self._keep:
            progress.first.append(self._made(number, progress.last))
        if progress.count >= MAX_COUNT:
            self._stop(number, progress)

    def _stop(self, number: int, progress: _Progress) -> None:
        progress.stopped = True
        self._finder.retire(
            text
            for text in self._table.texts_of[number]
            if all(self._progress[owner.pattern].stopped for owner in self._table.owners[text])
        )

    def _made(self, number: int, found: tuple[int, str | bytes, re.Match[str] | None]) -> Hit:
        pattern = self._table.patterns[number]
        line, data, match = found
        text = clean(data)
        if match is not None:
            around = match.start()
        else:
            low = text.lower() if pattern.ignore_case else text
            wanted = (each.lower() if pattern.ignore_case else each for each in pattern.literals)
            around = max(0, min((at for each in wanted if (at := low.find(each)) >= 0), default=0))
        groups = match.groupdict() if match is not None else {}
        return Hit(
            pattern=pattern.name,
            line=line,
            text=shorten(text, around=around),
            groups=tuple((name, shorten(told, limit=MAX_GROUP)) for name, told in groups.items() if told),
        )

    def finish(self, *, problem: str = "") -> Scan:
        """Return what was found; `problem` is the stream's."""
        self._finder.finish()
        found = list(enumerate(self._progress))
        hits = [(hit.line, number, hit) for number, progress in found for hit in progress.first]
        nuls, size = self._finder.nuls, self._finder.size
        if not problem and nuls > size * _BINARY:
            problem = f"it is binary: {nuls} of its {size} bytes are NUL"
        names = [pattern.name for pattern in self._table.patterns]
        return Scan(
            path=self._path,
            size=size,
            lines=self._finder.lines,
            hits=tuple(hit for _, _, hit in sorted(hits, key=lambda each: each[:2])),
            last={names[at]: self._made(at, told.last) for at, told in found if told.last is not None},
            counts={names[at]: told.count for at, told in found if told.count},
            stopped=tuple(names[at] for at, told in found if told.stopped),
            tail=tuple(self._finder.tail(self._tail)),
            problem=problem,
        )
