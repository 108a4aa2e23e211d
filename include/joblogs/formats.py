"""What the known wrappers and programs say in one log, told in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.joblogs.finder import Finder
from include.joblogs.mu2e_log import Mu2eCollector, Mu2eGridLog
from include.joblogs.program_logs import (
    ArtCollector,
    ArtLog,
    JobsubCollector,
    JobsubLog,
    TimeCollector,
    TimeUsage,
)
from include.joblogs.stream import LogStream
from include.joblogs.wrapper_facts import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from include.joblogs.scanner import Scan, Scanner
    from include.joblogs.wrapper_facts import Collector

MAX_FOUND = 5_000
"""Places of one text that are looked at; later ones are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """What one log says of the job; what it does not say is None, or empty."""

    path: str
    size: int
    """Bytes that were read, unpacked."""
    lines: int
    mu2e: Mu2eGridLog | None
    jobsub: JobsubLog | None
    art: ArtLog | None
    times: tuple[TimeUsage, ...]
    """Reports of GNU time, in order."""
    problem: str
    """Why not all was read or looked at; empty if all was."""


class FactsReader:
    """One log whose facts are being read. Feed blocks, then `finish`."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._mu2e, self._jobsub = Mu2eCollector(), JobsubCollector()
        self._art, self._time = ArtCollector(), TimeCollector()
        self._collectors: tuple[Collector, ...] = (self._mu2e, self._jobsub, self._art, self._time)
        takers: dict[str, list[Callable[[Found], None]]] = {}
        for collector in self._collectors:
            for text, take in collector.takes.items():
                takers.setdefault(text, []).append(take)
        self._names, self._takers = tuple(takers), tuple(takers.values())
        self._left = [MAX_FOUND] * len(takers)
        self._finder = Finder([text.encode() for text in takers], self)

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the log."""
        self._finder.feed(block)

    def found(self, text: int, start: int) -> None:
        """Take a place where one of the texts stands."""
        if self._left[text] == 0:
            return
        finder = self._finder
        self._left[text] -= 1
        if self._left[text] == 0:
            finder.retire((text,))
        found = Found(
            line=finder.line_at(start),
            text=finder.text(finder.window(start)),
            start=finder.base + start,
            after=lambda count: finder.lines_after(start, count),
        )
        for take in self._takers[text]:
            take(found)

    def passed(self, data: memoryview) -> None:
        """Pass bytes on to the collectors."""
        self._mu2e.passed(data)

    def finish(self, *, problem: str = "") -> LogFacts:
        """Return what was found; `problem` is the stream's."""
        self._finder.finish()
        given_up = [name.strip() for name, left in zip(self._names, self._left, strict=True) if left == 0]
        if given_up:
            also = f"{given_up[0]!r} stands in it {MAX_FOUND} times or more: the rest was not looked at"
            problem = f"{problem}; {also}" if problem else also
        return LogFacts(
            path=self._path,
            size=self._finder.size,
            lines=self._finder.lines,
            mu2e=self._mu2e.result(),
            jobsub=self._jobsub.result(),
            art=self._art.result(),
            times=self._time.result(),
            problem=problem,
        )


def read_facts(path: str) -> LogFacts:
    """Read a log, packed or not; what cannot be read is said in `problem`, never raised."""
    stream, reader = LogStream(path), FactsReader(path)
    for block in stream:
        reader.feed(block)
    return reader.finish(problem=stream.problem)


def facts_of_blocks(blocks: Iterable[bytes], path: str = "") -> LogFacts:
    """Read bytes from anywhere; the result does not depend on how they are cut into blocks."""
    reader = FactsReader(path)
    for block in blocks:
        reader.feed(block)
    return reader.finish()


def understand(path: str, scanner: Scanner) -> tuple[Scan, LogFacts]:
    """Read a log once, for patterns and for facts."""
    stream, scanning, reader = LogStream(path), scanner.begin(path), FactsReader(path)
    for block in stream:
        scanning.feed(block)
        reader.feed(block)
    return scanning.finish(problem=stream.problem), reader.finish(problem=stream.problem)
