"""Who may send jobs next: the rules alone, without a database. docs/limits.md tells them."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PATIENCE_S = 3600.0
"""A campaign of which nothing was admitted for so long, while it waited, goes before the others once."""


class Limit(StrEnum):
    """What a submission may wait for, in the order in which it is looked at."""

    SLICES = "slices"
    """The campaign's own `slices_in_flight`."""
    CAMPAIGN = "campaign"
    """The campaign's own `jobs_in_flight`."""
    EXPERIMENT = "experiment"
    """The deployment's jobs of one experiment."""
    POOL = "pool"
    """The deployment's jobs in all: so many a schedd."""


Key = tuple[Limit, str]
"""A limit and whose it is: a dag_id, an experiment, or empty for the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentLimits:
    """The deployment's limits; None: there is none."""

    jobs_per_experiment: int | None = None
    jobs_per_schedd: int | None = None
    schedds: int = 0
    """How many schedds the collector lists; matters with `jobs_per_schedd` alone."""

    @property
    def jobs(self) -> int | None:
        """Jobs in flight in all: nobody knows before submitting which schedd jobsub takes."""
        return None if self.jobs_per_schedd is None else self.jobs_per_schedd * self.schedds


NO_LIMITS = DeploymentLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A submission that asks to be sent."""

    id: int
    """Rising in the order of intents."""
    tag: str
    dag_id: str
    experiment: str
    slice: tuple[str, int]
    """(tranche, run)"""
    recovery: bool
    stage_number: int
    """Its stage's place in the plan."""
    jobs: int
    jobs_limit: int | None
    """Of its dag_run's plan; None: there is none."""
    slices_limit: int | None
    since: float
    """Since when it has been asking, epoch seconds."""

    @property
    def rank(self) -> tuple[bool, int, float, int]:
        """Its place within its campaign: recoveries first, then later stages, then by waiting."""
        return (not self.recovery, -self.stage_number, self.since, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What became of one submission's asking."""

    waiting: Waiting
    admitted: bool
    limit: Limit | None = None
    """What it waits for; None where it is admitted; so for the next four."""
    name: str = ""
    """Whose limit it is: a dag_id or an experiment."""
    in_flight: int = 0
    """Jobs, or slices, that count against the limit."""
    most: int = 0
    place: int = 0
    """1 for the one that is the next to get room under this limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What holds room under a limit: a submission, or a slice."""

    name: str
    """The submission's tag; of a slice its dag_id and run."""
    jobs: int
    """Jobs that are not known to have ended."""
    since: float
    """When it was sent, or admitted where it was not sent yet; of a slice when it got its place."""
    sent: bool
    """Of a submission: whether its clusters are known."""
    held: int = 0
    """Jobs that were held at the last poll; so for the next."""
    unknown: int = 0
    polled_at: float | None = None
    """None: it was not polled yet; so for a slice."""


@dataclass(slots=True, kw_only=True)
class State:
    """What is in flight; `decide` adds to it what it admits."""

    jobs: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    """Jobs that count against each limit."""
    slices: dict[str, set[tuple[str, int]]] = field(default_factory=lambda: defaultdict(set))
    """dag_id → slices that have a place."""
    admitted_at: dict[str, float] = field(default_factory=dict)
    """dag_id → when something of it was admitted last, as far as that is within PATIENCE_S."""

    def count(self, dag_id: str, experiment: str, jobs: int) -> None:
        """Count jobs of a campaign as being in flight."""
        for key in _job_keys(dag_id, experiment):
            self.jobs[key] += jobs

    def used(self, key: Key) -> int:
        """Return how much of a limit is taken."""
        return len(self.slices[key[1]]) if key[0] is Limit.SLICES else self.jobs[key]


def decide(
    waiting: Iterable[Waiting], state: State, limits: DeploymentLimits, *, now: float
) -> list[Decision]:
    """Go through all that wait in fair order and return what becomes of each, in that order.

    Who lacks room waits for the first limit that has none, and what comes after it in the order gets no room
    under that limit either: so room gathers for a big one. More than a limit in one piece is admitted where
    nothing else is in flight under it.
    """
    reserved: dict[Key, int] = {}
    found = []
    for each in _fair_order(waiting, state, now=now):
        lacking = _first_lacking(each, state, limits, reserved)
        if lacking is None:
            state.count(each.dag_id, each.experiment, each.jobs)
            state.slices[each.dag_id].add(each.slice)
            state.admitted_at[each.dag_id] = now
            found.append(Decision(waiting=each, admitted=True))
            continue
        key, most = lacking
        reserved[key] = reserved.get(key, 0) + 1
        found.append(
            Decision(
                waiting=each,
                admitted=False,
                limit=key[0],
                name=key[1],
                in_flight=state.used(key),
                most=most,
                place=reserved[key],
            )
        )
    return found


def _fair_order(waiting: Iterable[Waiting], state: State, *, now: float) -> Iterator[Waiting]:
    """Yield all that wait; `state` may change between two of them, and with it what comes next."""
    queues: dict[str, list[Waiting]] = defaultdict(list)
    for each in waiting:
        queues[each.dag_id].append(each)
    for queue in queues.values():
        queue.sort(key=lambda each: each.rank, reverse=True)
    # Only the campaign that was taken from changes its turn, so the others' stay right.
    turns = [(_turn(queue[-1], state, now=now), dag_id) for dag_id, queue in queues.items()]
    heapq.heapify(turns)
    while turns:
        _, dag_id = turns[0]
        queue = queues[dag_id]
        yield queue.pop()
        if queue:
            heapq.heapreplace(turns, (_turn(queue[-1], state, now=now), dag_id))
        else:
            heapq.heappop(turns)


def _turn(head: Waiting, state: State, *, now: float) -> tuple[int, float, float, int]:
    """Return when it is a campaign's turn: the lowest first."""
    idle_since = max(head.since, state.admitted_at.get(head.dag_id, 0.0))
    if now - idle_since > PATIENCE_S:
        return (0, idle_since, head.since, head.id)
    return (1, state.jobs[Limit.CAMPAIGN, head.dag_id], head.since, head.id)


def _first_lacking(
    each: Waiting, state: State, limits: DeploymentLimits, reserved: Mapping[Key, int]
) -> tuple[Key, int] | None:
    """Return the first limit that has no room for it, with its number; None where all have."""
    campaign, experiment, pool = _job_keys(each.dag_id, each.experiment)
    needs: list[tuple[Key, int, int | None]] = [
        (campaign, each.jobs, each.jobs_limit),
        (experiment, each.jobs, limits.jobs_per_experiment),
        (pool, each.jobs, limits.jobs),
    ]
    if each.slice not in state.slices[each.dag_id]:
        needs.insert(0, ((Limit.SLICES, each.dag_id), 1, each.slices_limit))
    for key, amount, most in needs:
        if most is None:
            continue
        used = state.used(key)
        if key in reserved or (used and used + amount > most) or most == 0:
            return key, most
    return None


def _job_keys(dag_id: str, experiment: str) -> tuple[Key, Key, Key]:
    return (Limit.CAMPAIGN, dag_id), (Limit.EXPERIMENT, experiment), (Limit.POOL, "")
