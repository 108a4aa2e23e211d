"""HTCondor's job event log, read as a stream: junk is skipped, every event knows its line.

The format is the text form of the job event log; the codes are those of "Job Event Log Codes" in the HTCondor
manual. An event is a line `CODE (CLUSTER.PROC.SUBPROC) DATE TIME TEXT`, more lines, and a line `...`. The
date is `2026-11-24`, or without a year `11/24` as older schedds write it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING

from include.joblogs.stream import LogStream, lines
from include.joblogs.text import clean, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_DETAILS = 40
"""Lines of an event that are kept after its first."""
_HEADER = re.compile(
    rb"(?P<code>\d{3}) \((?P<cluster>\d{1,15})\.(?P<process>-?\d{1,15})\.-?\d{1,15}\)"
    rb" (?P<date>(?:\d{4}-\d\d-|\d\d/)\d\d)[ T](?P<clock>\d\d:\d\d:\d\d)(?:[.,]\d{1,9})?"
    rb"(?P<zone>Z|[+-]\d\d:?\d\d)? (?P<text>.*)",
    re.DOTALL,
)
_DAY = 86_400.0
_MAX_HOURS = 10_000


class EventCode(IntEnum):
    """The codes that tell how often a job ran, and how that ended."""

    SUBMIT = 0
    """The job entered the queue."""
    EXECUTE = 1
    """The job's program was started on a node."""
    EVICTED = 4
    """The job left its node before it ended, or it ended and was put back into the queue."""
    TERMINATED = 5
    """The job's program ended, and the job with it."""
    IMAGE_SIZE = 6
    """A new figure for the memory that the job uses."""
    SHADOW_EXCEPTION = 7
    """The schedd's side of the job broke down."""
    ABORTED = 9
    """The job was removed from the queue."""
    HELD = 12
    """The job was put on hold."""
    RELEASED = 13
    """The job was released from hold."""
    DISCONNECTED = 22
    """The schedd's side lost its connection to the node; the program may go on."""
    RECONNECTED = 23
    """The connection is back: the same execution goes on."""
    RECONNECT_FAILED = 24
    """The connection could not be made again: the job goes back into the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of one job."""

    code: int
    cluster: int
    process: int
    """-1 for an event of the whole cluster."""
    time: float | None
    """Epoch seconds; None where the date has no year and nothing tells it, or is none."""
    text: str
    """The rest of the first line, cleaned, at most 300 characters."""
    line: int
    """Number of the first line, from 1."""
    details: tuple[str, ...]
    """The lines after it, cleaned, at most 40 of 300 characters."""
    complete: bool
    """Whether its end was there: the last event of a log that is cut, or being written, may lack it."""


class EventLog:
    """The events of one log, in the order in which they were written. Iterate once; never raises on content.

    Times without a zone are taken for this machine's local time. Dates without a year are of the last year in
    which they are not after `not_after` (epoch seconds; default: when the file was last written).
    """

    def __init__(
        self, path: str, *, not_after: float | None = None, codes: frozenset[int] | None = None
    ) -> None:
        """Read the log at `path`; with `codes`, only their events are given, which is faster."""
        self._stream = LogStream(path)
        self._not_after, self._codes = not_after, codes
        self.skipped = 0
        """Non-blank lines outside of any event."""

    @property
    def problem(self) -> str:
        """One sentence on why not all was read; empty if all was."""
        return self._stream.problem

    def __iter__(self) -> Iterator[Event]:
        return self._events(iter(self._stream))

    def _events(self, blocks: Iterator[bytes]) -> Iterator[Event]:
        first = next(blocks, b"")
        limit = self._not_after if self._not_after is not None else self._stream.changed
        reader = _Reader(lines(chain((first,), blocks)), limit, self._codes)
        yield from reader
        self.skipped = reader.skipped


def events(blocks: Iterable[bytes], *, not_after: float | None = None) -> Iterator[Event]:
    """Yield the events in bytes from anywhere."""
    return iter(_Reader(lines(blocks), not_after, None))


class _Reader:
    """Lines into events."""

    def __init__(
        self, numbered: Iterator[tuple[int, bytes]], not_after: float | None, codes: frozenset[int] | None
    ) -> None:
        self._numbered, self._not_after, self._codes = numbered, not_after, codes
        self._hours: dict[bytes, float | None] = {}
        self.skipped = 0

    def __iter__(self) -> Iterator[Event]:
        head: re.Match[bytes] | None = None
        started, details = 0, list[bytes]()
        for number, line in self._numbered:
            found = _HEADER.fullmatch(line) if line[:1].isdigit() else None
            if found is not None or line.rstrip() == b"...":
                if head is not None and self._wanted(head):
                    yield self._event(head, started, details, complete=found is None)
                head, started, details = found, number, []
            elif head is None:
                self.skipped += bool(line.strip())
            elif len(details) < MAX_DETAILS:
                details.append(line)
        if head is not None and self._wanted(head):
            yield self._event(head, started, details, complete=False)

    def _wanted(self, head: re.Match[bytes]) -> bool:
        return self._codes is None or int(head["code"]) in self._codes

    def _event(self, head: re.Match[bytes], line: int, details: list[bytes], *, complete: bool) -> Event:
        return Event(
            code=int(head["code"]),
            cluster=int(head["cluster"]),
            process=int(head["process"]),
            time=self._time(head["date"], head["clock"], head["zone"] or b""),
            text=shorten(clean(head["text"])),
            line=line,
            details=tuple([shorten(text) for text in map(clean, details) if text]),
            complete=complete,
        )

    def _time(self, date: bytes, clock: bytes, zone: bytes) -> float | None:
        # Turning a date into seconds is slow, and whole logs are of a few hours. Zones change on the hour.
        hour = self._hour(date + b" " + clock[:2] + zone)
        return None if hour is None else hour + int(clock[3:5]) * 60 + int(clock[6:8])

    def _hour(self, date: bytes) -> float | None:
        if date not in self._hours:
            if len(self._hours) > _MAX_HOURS:
                self._hours.clear()
            self._hours[date] = _epoch(date.decode("ascii"), self._not_after)
        return self._hours[date]


def _epoch(date: str, not_after: float | None) -> float | None:
    """Return the begin of an hour, `2026-11-24 01` or `11/24 01` with or without a zone, in epoch seconds."""
    try:
        if date[2] != "/":
            zone = date[13:].replace("Z", "+00:00")
            return datetime.fromisoformat(f"{date[:13]}:00{zone}").timestamp()
        if not_after is None:
            return None
        year = time.localtime(not_after).tm_year
        for candidate in (year, year - 1, year - 2, year - 3, year - 4):
            if (found := _old_date(date, candidate)) is not None and found <= not_after + _DAY:
                return found
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _old_date(date: str, year: int) -> float | None:
    try:
        return datetime.strptime(f"{year}/{date[:8]}", "%Y/%m/%d %H").timestamp()  # noqa: DTZ007  local
    except ValueError:
        return None
