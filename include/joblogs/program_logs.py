"""What jobsub's wrapper, art or LArSoft, and GNU time say in a job's log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.joblogs.text import shorten
from include.joblogs.wrapper_facts import Fact, Found, decimal, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_SEVERE = 5
"""Severe messages that are kept; all are counted, up to the limit of one text."""
MAX_TIMES = 10
"""Reports of GNU time that are kept."""
_COMPLETED = re.compile(r"(\S+) COMPLETED with exit status (-?\d{1,10})$")
_BEGIN = re.compile(r"BEGIN EXECUTION (.+)$")
_SIGNAL = re.compile(r"received signal ([A-Z]{2,6})$")
_CUT = re.compile(r"jobsub:---- (truncated after|resumed for last) (\d{1,18}) bytes--")
_ART = re.compile(r"Art has completed and will exit with status (-?\d{1,10})\.")
_EVENTS = re.compile(
    r"TrigReport Events total = (\d{1,18}) passed = (\d{1,18}) failed = (\d{1,18})", re.IGNORECASE
)
_TIME = re.compile(r"TimeReport CPU = ([\d.]{1,16}) Real = ([\d.]{1,16})")
_MEMORY = re.compile(r"MemReport +VmPeak = ([\d.]{1,16}) +VmHWM = ([\d.]{1,16})")
_SEVERE = re.compile(r"%MSG-s (.+)")
_SHORT = re.compile(
    r"([\d.]{1,16})user ([\d.]{1,16})system ([\d:.]{1,20})elapsed .*?(\d{1,15})maxresident\)k", re.DOTALL
)
_KILLED = re.compile(r"Command (?:terminated by signal (\d{1,4})|exited with non-zero status (\d{1,4}))")
_LONG = {
    "User time (seconds): ": "user",
    "System time (seconds): ": "system",
    "Maximum resident set size (kbytes): ": "rss",
    "Elapsed (wall clock) time (h:mm:ss or m:ss): ": "elapsed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsubLog:
    """What jobsub's wrapper says; what it does not say is None."""

    executable: Fact[str] | None
    """The script with its arguments."""
    exit_status: Fact[int] | None
    signal: Fact[str] | None
    """Name of the signal that the wrapper got, such as TERM; it exits with 255 then."""
    cut_after: Fact[int] | None
    """Bytes of the head that were kept of a log that was too long: line numbers after it are too small."""
    resumed: Fact[int] | None
    """Bytes of its tail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtLog:
    """What art says; what it does not say is None."""

    exit_status: Fact[int] | None
    events: Fact[int] | None
    """Events run, by the last TrigReport; the next two likewise."""
    passed: int | None
    failed: int | None
    cpu_s: float | None
    wall_s: float | None
    peak_mb: float | None
    """VmPeak."""
    resident_mb: float | None
    """VmHWM."""
    severe: tuple[Fact[str], ...]
    """First line in each of the first severe messages (%MSG-s): what is wrong, not who says so."""
    severe_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeUsage:
    """One report of GNU time; what it does not say is None."""

    user_s: float | None
    system_s: float | None
    elapsed_s: float | None
    max_rss_kb: int | None
    exit_status: int | None
    """Only where time says it: other than 0, or in the long form."""
    signal: int | None
    line: int
    text: str


class JobsubCollector:
    """Collects what jobsub's wrapper says."""

    def __init__(self) -> None:
        self._texts: dict[str, Fact[str]] = {}
        self._numbers: dict[str, Fact[int]] = {}

    @property
    def takes(self) -> Mapping[str, Callable[[Found], None]]:
        """Return the lines that it looks at."""
        return {
            " COMPLETED with exit status ": self._completed,
            " BEGIN EXECUTION ": self._began,
            "received signal ": self._signal,
            "jobsub:---- ": self._cut,
        }

    def _completed(self, found: Found) -> None:
        if match := _COMPLETED.search(found.text):
            self._numbers["exit"] = found.fact(int(match[2]))
            self._texts.setdefault("exe", found.fact(match[1]))

    def _began(self, found: Found) -> None:
        if match := _BEGIN.search(found.text):
            self._texts["exe"] = found.fact(match[1])

    def _signal(self, found: Found) -> None:
        if match := _SIGNAL.match(found.text):
            self._texts.setdefault("signal", found.fact(match[1]))

    def _cut(self, found: Found) -> None:
        if match := _CUT.match(found.text):
            self._numbers.setdefault(match[1], found.fact(int(match[2])))

    def passed(self, data: memoryview) -> None:
        """Take bytes: not needed."""

    def result(self) -> JobsubLog | None:
        """Return the facts; None if jobsub's wrapper says nothing."""
        if not (self._numbers or "exe" in self._texts):
            return None
        return JobsubLog(
            executable=self._texts.get("exe"),
            exit_status=self._numbers.get("exit"),
            signal=self._texts.get("signal"),
            cut_after=self._numbers.get("truncated after"),
            resumed=self._numbers.get("resumed for last"),
        )


class ArtCollector:
    """Collects what art says."""

    def __init__(self) -> None:
        self._status: Fact[int] | None = None
        self._events: Fact[int] | None = None
        self._split: tuple[int | None, int | None] = (None, None)
        self._time: tuple[float | None, float | None] = (None, None)
        self._memory: tuple[float | None, float | None] = (None, None)
        self._severe: list[Fact[str]] = []
        self._severe_count = 0

    @property
    def takes(self) -> Mapping[str, Callable[[Found], None]]:
        """Return the lines that it looks at."""
        return {
            "Art has completed and will exit": self._completed,
            "TrigReport Events ": self._trigger,
            "TimeReport CPU": self._times,
            "MemReport  VmPeak": self._peak,
            "%MSG-s ": self._message,
        }

    def _completed(self, found: Found) -> None:
        if match := _ART.search(found.text):
            self._status = found.fact(int(match[1]))

    def _trigger(self, found: Found) -> None:
        if match := _EVENTS.match(" ".join(found.text.split())):
            self._events = found.fact(int(match[1]))
            self._split = (int(match[2]), int(match[3]))

    def _times(self, found: Found) -> None:
        if match := _TIME.match(" ".join(found.text.split())):
            self._time = (decimal(match[1]), decimal(match[2]))

    def _peak(self, found: Found) -> None:
        if match := _MEMORY.match(found.text):
            self._memory = (decimal(match[1]), decimal(match[2]))

    def _message(self, found: Found) -> None:
        if (match := _SEVERE.match(found.text)) is None:
            return
        self._severe_count += 1
        if len(self._severe) < MAX_SEVERE:
            lines = found.after(4)
            at, text = next(((at, line) for at, line in enumerate(lines, 1) if line), (0, match[1]))
            said = shorten(text if text != "%MSG" else match[1])
            self._severe.append(Fact(value=said, line=found.line + at, text=said))

    def passed(self, data: memoryview) -> None:
        """Take bytes: not needed."""

    def result(self) -> ArtLog | None:
        """Return the facts; None if art says nothing."""
        if self._status is None and self._events is None and not self._severe:
            return None
        return ArtLog(
            exit_status=self._status,
            events=self._events,
            passed=self._split[0],
            failed=self._split[1],
            cpu_s=self._time[0],
            wall_s=self._time[1],
            peak_mb=self._memory[0],
            resident_mb=self._memory[1],
            severe=tuple(self._severe),
            severe_count=self._severe_count,
        )


class TimeCollector:
    """Collects the reports of GNU time, in its default and its long form (-v)."""

    def __init__(self) -> None:
        self._reports: list[TimeUsage] = []
        self._ending: tuple[int | None, int | None, int] = (None, None, -2)

    @property
    def takes(self) -> Mapping[str, Callable[[Found], None]]:
        """Return the lines that it looks at."""
        return {
            "Command terminated by signal ": self._ended,
            "Command exited with non-zero status ": self._ended,
            "maxresident)k": self._short,
            "Command being timed: ": self._long,
        }

    def _ended(self, found: Found) -> None:
        if match := _KILLED.search(found.text):
            self._ending = (whole(match[2]), whole(match[1]), found.line)

    def _short(self, found: Found) -> None:
        if match := _SHORT.search(found.text):
            self._add(found, match[1], match[2], match[3], match[4], None)

    def _long(self, found: Found) -> None:
        told: dict[str, str] = {}
        status = None
        for line in found.after(24):
            for label, name in _LONG.items():
                if line.startswith(label):
                    told[name] = line[len(label) :]
            if line.startswith("Exit status: "):
                status = whole(line[13:])
                break
        get = told.get
        self._add(found, get("user"), get("system"), get("elapsed"), get("rss"), status)

    def _add(
        self,
        found: Found,
        user: str | None,
        system: str | None,
        elapsed: str | None,
        rss: str | None,
        status: int | None,
    ) -> None:
        near = found.line - self._ending[2] == 1
        if len(self._reports) >= MAX_TIMES:
            del self._reports[1]
        self._reports.append(
            TimeUsage(
                user_s=decimal(user),
                system_s=decimal(system),
                elapsed_s=_clock(elapsed),
                max_rss_kb=whole(rss),
                exit_status=self._ending[0] if near and self._ending[0] is not None else status,
                signal=self._ending[1] if near else None,
                line=found.line,
                text=shorten(found.text),
            )
        )

    def passed(self, data: memoryview) -> None:
        """Take bytes: not needed."""

    def result(self) -> tuple[TimeUsage, ...]:
        """Return the reports, in order; of very many the first and the last ones."""
        return tuple(self._reports)


def _clock(text: str | None) -> float | None:
    """Return the seconds in `1:02:03` or `2:03.45`."""
    if text is None:
        return None
    seconds = 0.0
    for part in text.split(":"):
        value = decimal(part)
        if value is None:
            return None
        seconds = seconds * 60 + value
    return seconds
