"""The stages of a tranche with their bars, rates and ends."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from include.progress.bars import Bar, bar_of, subruns_a_job, total
from include.progress.estimate import HORIZON_S, Estimate, Outlook, estimate, latest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from include.bookkeeping.overview_records import (
        EndedJobs,
        OpenQuestion,
        OpenSubmission,
        Overview,
        StageCount,
        TrancheFacts,
    )
    from include.progress.estimate import Point

LOOKS = 9
"""Moments at which the ended jobs are looked up, for the rate."""
Key = tuple[str, str]
"""dag_id, tranche."""
StageKey = tuple[str, str, str]
"""dag_id, tranche, stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLine:
    """One stage of a tranche."""

    stage: str
    is_merge: bool
    bar: Bar
    estimate: Estimate
    duplicates: int
    duplicate_bytes: int
    bytes: int
    """Of accepted files that are still there."""
    accepted_bytes: int
    """Of accepted files, with those removed since."""
    events: int


@dataclass(frozen=True, kw_only=True)
class TrancheState:
    """How one tranche stands; its lines are made once somebody looks: of a list, most are not shown."""

    facts: TrancheFacts
    make_lines: Callable[[], tuple[StageLine, ...]]
    questions: tuple[OpenQuestion, ...]
    settled: bool
    """Each subrun of each stage is accepted or proven missing."""
    seen_at: float | None
    """When its jobs were last counted; None: none are open."""

    @cached_property
    def stages(self) -> tuple[StageLine, ...]:
        """A line for each stage, in their order."""
        return self.make_lines()

    @cached_property
    def estimate(self) -> Estimate:
        """Of the whole."""
        return latest_of(line.estimate for line in self.stages)

    def to_dict(self) -> dict[str, object]:
        """Return what JSON tells of it."""
        names = ("facts", "stages", "questions", "estimate", "seen_at")
        return {name: getattr(self, name) for name in names}

    @cached_property
    def bar(self) -> Bar:
        """All stages together."""
        return total(line.bar for line in self.stages)

    @property
    def percent(self) -> float:
        """The mean of the stages, each weighing the same: 0..100."""
        return sum(line.bar.percent for line in self.stages) / len(self.stages) if self.stages else 0.0


def looks(now: float) -> list[float]:
    """Return the moments to give to `Ledger.overview`."""
    return [now - HORIZON_S * (LOOKS - 1 - number) / (LOOKS - 1) for number in range(LOOKS)]


def states_of(overview: Overview, *, now: float) -> list[TrancheState]:
    """Return how each tranche of an overview stands, in its order."""
    counts: dict[Key, list[StageCount]] = defaultdict(list)
    for count in overview.counts:
        counts[count.dag_id, count.tranche].append(count)
    sent: dict[StageKey, list[OpenSubmission]] = defaultdict(list)
    for submission in overview.submissions:
        sent[submission.dag_id, submission.tranche, submission.stage].append(submission)
    ended: dict[StageKey, list[EndedJobs]] = defaultdict(list)
    for each in overview.ended:
        ended[each.dag_id, each.tranche, each.stage].append(each)
    questions: dict[Key, list[OpenQuestion]] = defaultdict(list)
    for question in overview.questions:
        questions[question.dag_id, question.tranche].append(question)
    found = []
    for facts in overview.tranches:
        key = (facts.dag_id, facts.tranche)
        mine = counts[key]
        seen = [
            each.at for count in mine for each in sent.get((*key, count.stage), ()) if each.at is not None
        ]
        found.append(
            TrancheState(
                facts=facts,
                make_lines=partial(_lines, facts, mine, sent, ended, now=now),
                questions=tuple(questions.get(key, ())),
                settled=all(count.accepted + count.missing >= count.subruns for count in mine),
                seen_at=max((at for at in seen if at is not None), default=None),
            )
        )
    return found


def _lines(
    facts: TrancheFacts,
    counts: Sequence[StageCount],
    sent: Mapping[StageKey, Sequence[OpenSubmission]],
    ended: Mapping[StageKey, Sequence[EndedJobs]],
    *,
    now: float,
) -> tuple[StageLine, ...]:
    lines = []
    for count in sorted(counts, key=lambda count: count.number):
        key = (facts.dag_id, facts.tranche, count.stage)
        lines.append(_line(count, sent.get(key, ()), ended.get(key, ()), facts, now=now))
    return tuple(lines)


def _line(
    count: StageCount,
    submissions: Sequence[OpenSubmission],
    ended: Sequence[EndedJobs],
    facts: TrancheFacts,
    *,
    now: float,
) -> StageLine:
    bar = bar_of(count, submissions)
    # A merge's jobs stand for many subruns; without an open one to go by, the rate is in jobs.
    width = max((subruns_a_job(each) for each in submissions), default=1.0)
    points = _since_sent([(each.at, each.jobs * width) for each in ended], facts.reserved_at)
    return StageLine(
        stage=count.stage,
        is_merge=count.is_merge,
        bar=bar,
        estimate=_outlook(bar, points, now=now, uncounted=any(each.at is None for each in submissions)),
        duplicates=count.duplicates,
        duplicate_bytes=count.duplicate_bytes,
        bytes=count.bytes,
        accepted_bytes=count.accepted_bytes,
        events=count.events,
    )


def _outlook(bar: Bar, points: Sequence[Point], *, now: float, uncounted: bool) -> Estimate:
    """Return when a stage ends; `uncounted`: jobs of it are in the queue that no poll has counted yet."""
    if bar.accepted == bar.subruns:
        return Estimate(outlook=Outlook.DONE)
    if bar.to_end == 0:
        if uncounted:
            return Estimate(outlook=Outlook.EARLY)
        return Estimate(outlook=Outlook.INCOMPLETE if bar.held or bar.unknown else Outlook.OVER)
    if not points and bar.waiting == bar.to_end:
        return Estimate(outlook=Outlook.WAITING)
    return estimate(points, bar.to_end, now=now)


def _since_sent(points: Iterable[Point], reserved_at: float) -> list[Point]:
    """Leave out the time before there was anything to do: begin with the reservation if it is so late."""
    every = sorted(points)
    kept = [point for point in every if point[0] > reserved_at]
    return [(reserved_at, 0.0), *kept] if kept and kept[0][1] == 0 and len(kept) < len(every) else kept
