"""What a job event log proves of each job: how often it ran, how often it ended, and why again.

More than one event 001 is more than one run; more than one event 005 is more than one end. The counters in a
job's ad do not prove it: NumJobStarts misses runs after a lost shadow, NumShadowStarts counts reconnections.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from include.joblogs.event_log import Event, EventCode, EventLog

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_JOBS = 100_000
"""Jobs of one log that are followed."""
MAX_KEPT = 20
"""Events of each kind that are kept of a job; all are counted."""
_HOLD_CODE = re.compile(r"Code (-?\d{1,9}) Subcode (-?\d{1,9})")
_EXIT = re.compile(
    r"\([01]\) (?:Normal termination \(return value (-?\d{1,10})\)|Abnormal termination \(signal (\d{1,4})\))"
)
_CODES: frozenset[int] = frozenset(EventCode) - {EventCode.IMAGE_SIZE}
_Kept = TypeVar("_Kept")


class Again(StrEnum):
    """Why a job was started once more; told by the events since its last start."""

    ROLLED_BACK = "rolled back"
    """It had ended, then its connection was looked for and not found: the job queue was rolled back."""
    AFTER_END = "after its end"
    """It had ended and was started again, with no lost connection in between."""
    NODE_LOST = "node lost"
    """The connection was lost and could not be made again: the starter or the startd died."""
    HELD = "held"
    """It was held and released."""
    REQUEUED = "requeued"
    """Its program ended, and max_retries or on_exit_remove put the job back into the queue."""
    EVICTED = "evicted"
    """It was put off its node: vacated, preempted or drained."""
    DISCONNECTED = "disconnected"
    """The connection was lost; the log does not tell what became of that run."""
    SHADOW_EXCEPTION = "shadow exception"
    """The schedd's side broke down, and said so."""
    SHADOW_LOST = "shadow lost"
    """Nothing lies between the two starts: the shadow was killed, and the first run may have gone on."""


_SENTENCES = {
    Again.ROLLED_BACK: "it had ended before the job queue was rolled back (events 005, 022, 024)",
    Again.AFTER_END: "it had ended (event 005) and was started once more",
    Again.NODE_LOST: "the starter or startd died (events 022, 024)",
    Again.HELD: "it was held and released (events 012, 013)",
    Again.REQUEUED: "its program ended and the job was put back into the queue (event 004, a retry)",
    Again.EVICTED: "it was evicted (event 004)",
    Again.DISCONNECTED: "the connection was lost (event 022) and no end of that run is in the log",
    Again.SHADOW_EXCEPTION: "the shadow broke down (event 007)",
    Again.SHADOW_LOST: "the shadow was killed: nothing lies between the two starts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """One start after the first."""

    why: Again
    line: int
    """Of the start, in the log."""
    time: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """One end of the job's program, with the job's end (005) or a retry (004)."""

    line: int
    time: float | None
    code: int | None
    """Exit code; None after a signal, or where the log does not tell."""
    signal: int | None
    requeued: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One hold."""

    line: int
    time: float | None
    code: int | None
    subcode: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHistory:
    """What one log tells of one job. The counts are of all events; the tuples keep the first 20."""

    cluster: int
    process: int
    sequence: tuple[tuple[int, int], ...]
    """(code, line) of the events that count, in order."""
    starts: int
    """Events 001."""
    terminated: int
    """Events 005."""
    evicted: int
    """Events 004, retries included."""
    requeued: int
    """Events 004 that say that the program had ended."""
    disconnected: int
    reconnected: int
    reconnect_failed: int
    aborted: int
    held: int
    released: int
    shadow_exceptions: int
    restarts: tuple[Restart, ...]
    exits: tuple[Exit, ...]
    holds: tuple[Hold, ...]
    hosts: tuple[str, ...]
    """Slot or address of each start."""
    abort_reason: str
    started: float | None
    """Time of the first start."""
    ended: float | None
    """Time of the last event 005 or 009."""
    last_code: int

    @property
    def ran_more_than_once(self) -> bool:
        """Whether its program was started on a node more than once."""
        return self.starts > 1

    @property
    def completed_more_than_once(self) -> bool:
        """Whether the job ended more than once, so that two outputs may exist."""
        return self.terminated > 1

    @property
    def aborted_after_end(self) -> bool:
        """Whether it was removed although it had ended: its output may exist."""
        return self.terminated > 0 and self.aborted > 0

    def why(self) -> str:
        """Return one sentence on how often it ran and ended, and why again."""
        told = [_times(self.starts, "ran"), _times(self.terminated, "ended")]
        if self.starts == 0:
            told = ["never ran"] if self.terminated == 0 else ["its start is not in this log", told[1]]
        parts = [", ".join(told)]
        seen: dict[Again, list[str]] = {}
        for restart in self.restarts:
            seen.setdefault(restart.why, []).append(str(restart.line))
        for again, where in seen.items():
            parts.append(f"started again at line {', '.join(where[:3])} because {_SENTENCES[again]}")
        if self.reconnected and not self.restarts:
            parts.append("the connection was lost and made again (events 022, 023): still the same run")
        return "; ".join([*parts, *self._state()])

    def _state(self) -> list[str]:
        """Return what it is now, if it did not simply end."""
        if self.aborted_after_end:
            return ["it was removed (event 009) as well as ended"]
        if self.aborted:
            return ["it was removed" + (f": {self.abort_reason}" if self.abort_reason else "")]
        if self.last_code == EventCode.HELD:
            hold = self.holds[-1] if self.holds else None
            return ["it is held" + (f": {hold.reason}" if hold is not None and hold.reason else "")]
        return [] if self.terminated else ["its end is not in this log"]


def _times(count: int, what: str) -> str:
    if count == 0:
        return f"never {what}"
    return f"{what} {('once', 'twice')[count - 1] if count <= 2 else f'{count} times'}"


class Histories(dict[tuple[int, int], JobHistory]):
    """(cluster, process) → what the log tells of that job."""

    problem: str = ""
    """Why not all of the log was read or kept; empty if all was."""
    skipped: int = 0
    """Lines that belong to no event."""


def histories(path: str, *, max_jobs: int = MAX_JOBS, not_after: float | None = None) -> Histories:
    """Read a job event log, packed or not. Never raises on its content: see `problem` and `skipped`.

    For old logs without years see `EventLog`.
    """
    log = EventLog(path, not_after=not_after, codes=_CODES)
    found = histories_of(log, max_jobs=max_jobs)
    found.skipped = log.skipped
    found.problem = "; ".join(filter(None, (log.problem, found.problem)))
    return found


def histories_of(events: Iterable[Event], *, max_jobs: int = MAX_JOBS) -> Histories:
    """Bring events together by job."""
    jobs: dict[tuple[int, int], _Building] = {}
    left_out = 0
    for event in events:
        if event.code not in _CODES or event.process < 0:
            continue
        key = event.cluster, event.process
        job = jobs.get(key)
        if job is None:
            if len(jobs) >= max_jobs:
                left_out += 1
                continue
            job = jobs[key] = _Building()
        job.add(event)
    found = Histories((key, job.built(*key)) for key, job in jobs.items())
    if left_out:
        found.problem = f"it has more than {max_jobs} jobs: {left_out} events of the others were left out"
    return found


class _Building:
    """One job while its events come in."""

    __slots__ = (
        "abort_reason", "counts", "ended", "exits", "holds", "hosts", "requeued", "restarts",
        "retried", "sequence", "since", "started",
    )  # fmt: skip

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.since: list[int] = []
        self.sequence: list[tuple[int, int]] = []
        self.restarts: list[Restart] = []
        self.exits: list[Exit] = []
        self.holds: list[Hold] = []
        self.hosts: list[str] = []
        self.abort_reason = ""
        self.requeued = 0
        self.retried = False
        self.started: float | None = None
        self.ended: float | None = None

    def add(self, event: Event) -> None:
        self.counts[event.code] = self.counts.get(event.code, 0) + 1
        _keep(self.sequence, (event.code, event.line))
        if event.code == EventCode.EXECUTE:
            self._start(event)
            return
        if event.code in self.since:
            self.since.remove(event.code)
        self.since.append(event.code)
        if event.code in (EventCode.TERMINATED, EventCode.EVICTED):
            self._leave(event)
        elif event.code == EventCode.HELD:
            _keep(self.holds, _hold(event))
        elif event.code == EventCode.ABORTED:
            self.ended = event.time
            self.abort_reason = event.details[0] if event.details else ""

    def _start(self, event: Event) -> None:
        if self.counts[EventCode.EXECUTE] == 1:
            self.started = event.time
        else:
            _keep(self.restarts, Restart(why=self._again(), line=event.line, time=event.time))
        slot = next((text for text in event.details if text.startswith("SlotName: ")), "")
        _keep(self.hosts, slot.removeprefix("SlotName: ") or event.text.partition("host: ")[2])
        self.since, self.retried = [], False

    def _leave(self, event: Event) -> None:
        requeued = event.code == EventCode.EVICTED
        if requeued and not any("terminated and was requeued" in text for text in event.details):
            return
        match = next(filter(None, map(_EXIT.match, event.details)), None)
        code, signal = (None, None) if match is None else (_number(match[1]), _number(match[2]))
        _keep(self.exits, Exit(line=event.line, time=event.time, code=code, signal=signal, requeued=requeued))
        if requeued:
            self.requeued += 1
            self.retried = True
        else:
            self.ended = event.time

    def _again(self) -> Again:
        """Return why it was started once more, by what came since the last start."""
        since = self.since
        lost = EventCode.RECONNECT_FAILED in since
        rules = (
            (EventCode.TERMINATED in since, Again.ROLLED_BACK if lost else Again.AFTER_END),
            (EventCode.HELD in since, Again.HELD),
            (self.retried, Again.REQUEUED),
            (lost, Again.NODE_LOST),
            (EventCode.SHADOW_EXCEPTION in since, Again.SHADOW_EXCEPTION),
            (EventCode.EVICTED in since, Again.EVICTED),
            (EventCode.DISCONNECTED in since and EventCode.RECONNECTED not in since, Again.DISCONNECTED),
        )
        return next((why for holds, why in rules if holds), Again.SHADOW_LOST)

    def built(self, cluster: int, process: int) -> JobHistory:
        count = self.counts.get
        return JobHistory(
            cluster=cluster,
            process=process,
            sequence=tuple(self.sequence),
            starts=count(EventCode.EXECUTE, 0),
            terminated=count(EventCode.TERMINATED, 0),
            evicted=count(EventCode.EVICTED, 0),
            requeued=self.requeued,
            disconnected=count(EventCode.DISCONNECTED, 0),
            reconnected=count(EventCode.RECONNECTED, 0),
            reconnect_failed=count(EventCode.RECONNECT_FAILED, 0),
            aborted=count(EventCode.ABORTED, 0),
            held=count(EventCode.HELD, 0),
            released=count(EventCode.RELEASED, 0),
            shadow_exceptions=count(EventCode.SHADOW_EXCEPTION, 0),
            restarts=tuple(self.restarts),
            exits=tuple(self.exits),
            holds=tuple(self.holds),
            hosts=tuple(self.hosts),
            abort_reason=self.abort_reason,
            started=self.started,
            ended=self.ended,
            last_code=int(self.since[-1] if self.since else EventCode.EXECUTE),
        )


def _keep(kept: list[_Kept], item: _Kept) -> None:
    if len(kept) < MAX_KEPT:
        kept.append(item)


def _hold(event: Event) -> Hold:
    match = next(filter(None, map(_HOLD_CODE.fullmatch, event.details)), None)
    reason = event.details[0] if event.details and (match is None or event.details[0] != match[0]) else ""
    return Hold(
        line=event.line,
        time=event.time,
        code=int(match[1]) if match else None,
        subcode=int(match[2]) if match else None,
        reason=reason,
    )


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
