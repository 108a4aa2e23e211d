"""What a report says: plain values, ready for JSON; times are epoch seconds, sizes bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from include.bookkeeping.report_records import JobTally


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Jobs, and what they took."""

    jobs: int = 0
    good: int = 0
    """Completed with exit code 0."""
    failed: int = 0
    """Completed with another exit code, or by a signal."""
    removed: int = 0
    held: int = 0
    unknown: int = 0
    """Not known to have ended, or not known how."""
    again: int = 0
    """Starts beyond the first of each job."""
    wall_s: float = 0.0
    """Of all jobs; of all starts of a job."""
    good_wall_s: float = 0.0
    cpu_s: float = 0.0
    """Of the jobs whose CPU and wall time are both known."""
    core_s: float = 0.0
    """Wall time times requested CPUs of the same jobs."""
    waited_s: float = 0.0
    waited: int = 0
    memory_mb: int | None = None
    """The most that one job used."""

    @property
    def success(self) -> float | None:
        """Share of the ended jobs that are good, 0..1; None before the first end."""
        return _share(self.good, self.good + self.failed + self.removed)

    @property
    def cpu_efficiency(self) -> float | None:
        """CPU time over wall time of the requested CPUs, where both are known; None where none is."""
        return _share(self.cpu_s, self.core_s)

    @property
    def wall_efficiency(self) -> float | None:
        """Share of all wall time that good jobs took, 0..1; None where no time is known."""
        return _share(self.good_wall_s, self.wall_s)

    @property
    def mean_wait_s(self) -> float | None:
        """Mean time from being queued to a start, of the jobs where both are known."""
        return _share(self.waited_s, self.waited)

    def __add__(self, other: Work) -> Work:
        """Return both together."""
        both = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(Work)}
        most = [mb for mb in both.pop("memory_mb") if mb is not None]
        added = {name: one + more for name, (one, more) in both.items()}
        return Work(**added, memory_mb=max(most, default=None))

    def plain(self) -> dict[str, Any]:
        """Return JSON values, the shares too."""
        shares = ("success", "cpu_efficiency", "wall_efficiency", "mean_wait_s")
        return {**asdict(self), **{name: getattr(self, name) for name in shares}}


def work_of(tallies: Iterable[JobTally], cpus: dict[tuple[str, str], int]) -> Work:
    """Return tallies as one; `cpus` is what a job of (campaign, stage) asks for, 1 where it is not told."""
    return reduce(
        Work.__add__, (_work(each, cpus.get((each.dag_id, each.stage), 1)) for each in tallies), Work()
    )


def _work(tally: JobTally, cpus: int) -> Work:
    taken = {field.name: getattr(tally, field.name) for field in fields(Work) if field.name != "core_s"}
    return Work(**taken, core_s=tally.measured_wall_s * cpus)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Files, by what the ledger says of them."""

    events: int | None = None
    """In accepted files of the output that has the most of them; None where no file tells."""
    files: int = 0
    """Accepted, with those removed since."""
    bytes: int = 0
    removed_bytes: int = 0
    """Of the accepted: removed since, as cleanup does."""
    duplicate_files: int = 0
    duplicate_bytes: int = 0
    other_bytes: int = 0
    """Rejected, or not judged yet."""

    @property
    def stored_bytes(self) -> int:
        """What is still on the outstage, as far as the ledger knows."""
        return self.bytes - self.removed_bytes + self.duplicate_bytes + self.other_bytes

    def __add__(self, other: Made) -> Made:
        """Return both together."""
        both = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(Made)}
        told = [events for events in both.pop("events") if events is not None]
        return Made(
            **{name: one + more for name, (one, more) in both.items()}, events=sum(told) if told else None
        )

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "stored_bytes": self.stored_bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table: a stage, a site, a campaign or an experiment."""

    campaign: str
    """dag_id; empty where the row is of several campaigns."""
    name: str
    work: Work
    made: Made = Made()
    subruns: int | None = None
    """How many the plans want; None where the report is of a span of time."""
    accepted: int = 0
    """Subruns of which every output is accepted; of a span of time, those accepted in it."""
    missing: int = 0
    submissions: int = 0
    recoveries: int = 0
    refused: int = 0
    open_jobs: int = 0

    @property
    def complete(self) -> float | None:
        """Accepted over all subruns, 0..1."""
        return None if self.subruns is None else _share(self.accepted, self.subruns)

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        own = {
            field.name: getattr(self, field.name)
            for field in fields(Row)
            if field.name not in {"work", "made"}
        }
        return {**own, "complete": self.complete, "jobs": self.work.plain(), "output": self.made.plain()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Failures that one rule explains."""

    campaign: str
    stage: str
    category: str
    rule: str
    failures: int
    nodes: int
    sites: int
    wall_s: float
    cause: str
    evidence: str
    """Of one of them."""
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One stage, or everything, over time."""

    name: str
    whole: int | None
    """What 100 % is; None where it is not told."""
    subruns: tuple[int, ...]
    """Accepted in each interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLine:
    """What happened when, in intervals of one width."""

    start: float
    width_s: float
    lines: tuple[Line, ...]
    good: tuple[int, ...]
    """Jobs that ended well in each interval."""
    bad: tuple[int, ...]
    """Jobs that ended otherwise."""

    @property
    def times(self) -> tuple[float, ...]:
        """When each interval begins."""
        return tuple(self.start + number * self.width_s for number in range(len(self.good)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Did:
    """One thing that a person did."""

    at: float
    who: str
    kind: str
    where: str
    """Campaign, run and stage, as far as it is about one."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A campaign's report, or a span of time's."""

    title: str
    about: tuple[tuple[str, str], ...]
    """(what, value) in words: owner, spec, span of time."""
    made_at: float
    start: float | None
    """When the first submission was intended, or the span begins; None where nothing was submitted."""
    end: float | None
    finished: bool
    """Whether every submission has ended and no subrun is open."""
    total: Row
    experiments: tuple[Row, ...]
    campaigns: tuple[Row, ...]
    """Empty in a campaign's own report; so is `experiments`."""
    stages: tuple[Row, ...]
    sites: tuple[Row, ...]
    causes: tuple[Cause, ...]
    time_line: TimeLine | None
    actions: tuple[tuple[str, int, int], ...]
    """(what, times by prodsys, times by people)."""
    people: tuple[Did, ...]

    def plain(self) -> dict[str, Any]:
        """Return JSON values."""
        line = self.time_line
        return {
            "title": self.title,
            "about": dict(self.about),
            **{name: getattr(self, name) for name in ("made_at", "start", "end", "finished")},
            "total": self.total.plain(),
            **{
                name: [each.plain() for each in getattr(self, name)]
                for name in ("experiments", "campaigns", "stages", "sites")
            },
            "causes": [asdict(each) for each in self.causes],
            "time_line": None if line is None else asdict(line),
            "actions": [
                {"kind": kind, "prodsys": own, "people": people} for kind, own, people in self.actions
            ],
            "people": [asdict(each) for each in self.people],
        }
