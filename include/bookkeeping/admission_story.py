"""What a submission waits for, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.bookkeeping.admission import Limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from include.bookkeeping.admission import Decision, Holder

SILENT_S = 1800.0
"""A submission that was not polled for so long is waited for by nobody."""


def waits_for(decision: Decision) -> str:
    """Return why a submission is not sent yet, with figures, in one line."""
    jobs, place = decision.waiting.jobs, f"{_nth(decision.place)} in the queue"
    taken = f"waits: {decision.in_flight:,} of {decision.most:,}"
    if decision.limit is Limit.SLICES:
        return f"{taken} slices of {decision.name} are in flight; {place}"
    if decision.limit is Limit.POOL and not decision.most:
        return f"waits: no schedd is known, so nobody can tell how many jobs there may be; {place}"
    whose = {Limit.CAMPAIGN: f"campaign {decision.name}", Limit.EXPERIMENT: f"experiment {decision.name}"}
    named = whose.get(decision.limit or Limit.POOL, "the pool")
    said = f"{taken} jobs of {named} are in flight, it has {jobs:,} more"
    if jobs > decision.most:
        said += ", which is above the limit: it is sent once nothing else is in flight"
    elif decision.in_flight + jobs <= decision.most:
        said += "; the room that is left is for those before it"
    return f"{said}; {place}"


def held_by(holder: Holder, *, now: float) -> str:
    """Return what holds room, and whether a person must look, in one line."""
    said = f"{holder.name}: {holder.jobs:,} jobs, since {_moment(holder.since)}"
    if not holder.sent:
        return f"{said}, admitted but not sent yet: if it stays so, clear its task"
    stuck = [
        f"{number:,} {what}"
        for number, what in ((holder.held, "held"), (holder.unknown, "unknown"))
        if number
    ]
    if stuck:
        said += f", {' and '.join(stuck)}"
    if holder.polled_at is not None and now - holder.polled_at > SILENT_S:
        said += (
            f"; not polled since {_moment(holder.polled_at)}, so nobody waits for them: release or remove "
            "what is in the queue, then clear its wait"
        )
    return said


def by_schedd(jobs: Mapping[str, int]) -> str:
    """Return how the jobs in flight are spread over the schedds, in one line."""
    return "by schedd: " + (", ".join(f"{name} {number:,}" for name, number in jobs.items()) or "none")


def left_behind(left: Iterable[tuple[str, int]]) -> list[str]:
    """Return a line for each submission whose jobs count no longer, although some may be in the queue."""
    return [
        f"{tag}: {jobs:,} jobs are not known to have ended; they no longer count against any limit"
        for tag, jobs in left
    ]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _nth(number: int) -> str:
    tail = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{tail}"
