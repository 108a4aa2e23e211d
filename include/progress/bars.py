"""The bar of a stage: its subruns by where they are, so that the parts add up to all of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING

from include.campaign.states import SubmissionState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.bookkeeping.overview_records import OpenSubmission, StageCount


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Subruns by where they are; a merge's jobs count as the subruns that they merge."""

    accepted: int = 0
    running: int = 0
    idle: int = 0
    held: int = 0
    failed: int = 0
    """Proven missing by the latest check, and in no recovery."""
    unknown: int = 0
    """Their jobs have ended, or cannot be seen, and no check has proven what became of them."""
    waiting: int = 0
    """Not sent yet."""

    @property
    def subruns(self) -> int:
        """All of them."""
        return sum(_PARTS_OF(self))

    @property
    def percent(self) -> float:
        """Accepted subruns of all, 0..100."""
        return 100.0 * self.accepted / self.subruns if self.subruns else 0.0

    @property
    def in_queue(self) -> int:
        """Those whose jobs still go on by themselves."""
        return self.running + self.idle

    @property
    def to_end(self) -> int:
        """Those whose jobs have yet to end, sent or not."""
        return self.in_queue + self.waiting


PARTS = tuple(field.name for field in fields(Bar))
"""The parts in the order in which a bar shows them."""
_PARTS_OF = attrgetter(*PARTS)


def bar_of(count: StageCount, submissions: Sequence[OpenSubmission]) -> Bar:
    """Return the bar of a stage from the ledger's counts and what polls saw of its open submissions.

    What is seen in the queue never takes more than what is left: the ledger's word on outputs comes first.
    """
    left = max(count.subruns - count.accepted - count.missing, 0)
    if left == 0:
        return Bar(accepted=count.accepted, failed=count.missing)
    running = idle = held = waiting = 0.0
    for each in submissions:
        width = subruns_a_job(each)
        if each.state is SubmissionState.INTENDED:
            waiting += each.jobs_open * width
            continue
        running += each.running * width
        idle += each.idle * width
        held += each.held * width
    held = max(held, count.held)
    waiting += max(count.subruns - max(count.sent, count.accepted + count.missing), 0)
    taken = []
    for number in (running, idle, held, waiting):
        taken.append(min(round(number), left))
        left -= taken[-1]
    running, idle, held, waiting = taken
    return Bar(
        accepted=count.accepted,
        running=running,
        idle=idle,
        held=held,
        failed=count.missing,
        unknown=left,
        waiting=waiting,
    )


def subruns_a_job(submission: OpenSubmission) -> float:
    """Return how many subruns a job of the submission stands for: one, but for merges."""
    if not submission.is_merge or submission.jobs_open <= 0:
        return 1.0
    return max(submission.rest / submission.jobs_open, 1.0)


def total(bars: Iterable[Bar]) -> Bar:
    """Return the sum of bars."""
    columns = zip(*map(_PARTS_OF, bars), strict=True)
    return Bar(**dict(zip(PARTS, map(sum, columns), strict=False)))
