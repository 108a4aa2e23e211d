"""Keep jobs off nodes that eat them: while a cluster runs, and after its check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from include.bookkeeping.records import ActionRecord
from include.campaign.states import ActionKind
from include.triage.blackholes import Suspect, suspected_live, suspects
from include.triage.nodes import propose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from include.batch.pool import ClusterCounts, Pool
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import Exclusion

    Lists = tuple[tuple[str, ...], tuple[str, ...]]
    """Nodes and sites, sorted."""

WHO = "prodsys"
WINDOW_S = 86_400.0
"""Jobs that ended so lately count."""
LOOK_EVERY_S = 10.0
"""The ledger is asked so often for exclusions that others made, lifted or let expire."""
CLOCKS_S = 60.0
"""The clocks of the machines that submit, exclude and watch may differ by so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something done about nodes, or left undone, for the logs of the waits."""

    about: tuple[str, ...]
    """What it is about: if nothing was done, the same again tells nothing new."""
    text: str
    acted: bool
    """Whether something was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """One cluster that is watched."""

    machines: tuple[str, ...]
    """Nodes that its own submission keeps off, whoever is excluded."""
    sites: tuple[str, ...]
    intended_at: float
    """When its submission was intended: the exclusions after that were not sent with it."""
    waiting: int
    """Its idle and held jobs."""


def exclude_while_running(
    ledger: Ledger, polled: Mapping[int, ClusterCounts], *, now: float
) -> tuple[News, ...]:
    """Exclude nodes that one poll gives away; return the news.

    It may be called for the same news again, by several processes too: the ledger keeps one exclusion.
    """
    found: dict[str, Suspect] = {}
    nodes_seen = 1
    for count in polled.values():
        if count.suspects:
            nodes = 1 + max(each.peer_nodes for each in count.suspects)
            nodes_seen = max(nodes_seen, nodes)
            for suspect in suspected_live(count.suspects, nodes_seen=nodes):
                found.setdefault(suspect.host, suspect)
    return _exclude(ledger, list(found.values()), nodes_seen=nodes_seen, now=now) if found else ()


def exclude_by_record(ledger: Ledger, *, now: float) -> tuple[str, ...]:
    """Exclude nodes that the last day's jobs of all campaigns give away; return the news, a line each."""
    tallies = ledger.node_tallies(since=now - WINDOW_S, now=now)
    if not any(tally.bad for tally in tallies):
        return ()
    nodes_seen = len({tally.host for tally in tallies})
    news = _exclude(ledger, suspects(tallies), nodes_seen=nodes_seen, now=now)
    return tuple(each.text for each in news)


@dataclass(slots=True, kw_only=True)
class QueueKeeper:
    """Keeps the waiting jobs of one schedd off what the ledger excludes; it remembers what it applied.

    A cluster's lists are those of the ledger together with those of its own submission.
    """

    schedd: str
    _looked_at: float = field(default=float("-inf"), init=False)
    _applied: dict[int, Lists] = field(default_factory=dict, init=False)
    _waiting: dict[int, int] = field(default_factory=dict, init=False)
    """Cluster → its waiting jobs at the last look."""

    def due(self, now: float) -> bool:
        """Say whether it is time to look at the ledger again."""
        # A clock that was set back is no reason to wait.
        return not 0.0 <= now - self._looked_at < LOOK_EVERY_S

    def look(
        self,
        ledger: Ledger,
        open_pool: Callable[[], AbstractContextManager[Pool]],
        clusters: Mapping[int, Queued],
        *,
        now: float,
    ) -> tuple[News, ...]:
        """Apply the lists that are active now to the clusters that have others; return the news.

        The pool is opened only if there is something to apply. What fails raises PoolError and is due again
        at the next look.
        """
        self._looked_at = now
        groups = self._differing(ledger, clusters, now=now)
        if not groups:
            return ()
        news = []
        with open_pool() as pool:
            for (machines, sites), numbers in groups.items():
                kept = pool.exclude(self.schedd, numbers, machines=machines, sites=sites)
                known = all(self._applied.get(number) == (machines, sites) for number in numbers)
                self._applied.update(dict.fromkeys(numbers, (machines, sites)))
                if kept and not known:
                    news.append(self._told(kept, (*machines, *sites)))
        return tuple(news)

    def _told(self, kept: int, names: tuple[str, ...]) -> News:
        off = f"are kept off {', '.join(names)}" if names else "are kept off no node any more"
        text = f"{self.schedd}: {kept} waiting jobs {off}"
        return News(about=(self.schedd, *sorted(set(names))), text=text, acted=True)

    def _differing(
        self, ledger: Ledger, clusters: Mapping[int, Queued], *, now: float
    ) -> dict[Lists, list[int]]:
        """Return lists → clusters with waiting jobs that may have other ones."""
        active = ledger.exclusions(now)
        self._forget(clusters)
        if any(cluster not in self._applied for cluster in clusters):
            self._take_as_sent(ledger.exclusions(now, all=True), active, clusters, now=now)
        groups: dict[Lists, list[int]] = {}
        for cluster, queued in clusters.items():
            lists = _lists(active, queued)
            # More jobs wait than before: some that ran when the lists were applied have come back without.
            back = queued.waiting > self._waiting.get(cluster, queued.waiting) and lists != ((), ())
            self._waiting[cluster] = queued.waiting
            if queued.waiting and (back or self._applied.get(cluster) != lists):
                groups.setdefault(lists, []).append(cluster)
        return {lists: sorted(numbers) for lists, numbers in groups.items()}

    def _forget(self, clusters: Mapping[int, Queued]) -> None:
        """Drop what is known of clusters that nobody waits for any more."""
        for cluster in [cluster for cluster in self._applied if cluster not in clusters]:
            del self._applied[cluster]
        for cluster in [cluster for cluster in self._waiting if cluster not in clusters]:
            del self._waiting[cluster]

    def _take_as_sent(
        self,
        known: Sequence[Exclusion],
        active: Sequence[Exclusion],
        clusters: Mapping[int, Queued],
        *,
        now: float,
    ) -> None:
        """Take the lists of new clusters as applied where nothing has changed since they were intended."""
        changed = max((_changed(each, now) for each in known), default=float("-inf"))
        for cluster, queued in clusters.items():
            if cluster not in self._applied and queued.intended_at > changed + CLOCKS_S:
                self._applied[cluster] = _lists(active, queued)


def _lists(active: Sequence[Exclusion], queued: Queued) -> Lists:
    machines = {each.name for each in active if each.kind == "node"} | set(queued.machines)
    sites = {each.name for each in active if each.kind == "site"} | set(queued.sites)
    return tuple(sorted(machines)), tuple(sorted(sites))


def _changed(exclusion: Exclusion, now: float) -> float:
    """Return when an exclusion last began or ended, epoch seconds."""
    if exclusion.lifted_at is not None:
        return exclusion.lifted_at
    return exclusion.until if exclusion.until <= now else exclusion.since


def _exclude(ledger: Ledger, found: Sequence[Suspect], *, nodes_seen: int, now: float) -> tuple[News, ...]:
    """Write what is new to the ledger; return it in words."""
    proposal = propose(found, ledger.exclusions(now, all=True), nodes_seen=nodes_seen, now=now)
    for exclusion in proposal.exclusions:
        ledger.record_action(
            ActionRecord(
                at=now,
                who=WHO,
                kind=ActionKind.EXCLUDE,
                dag_id="",
                tranche="",
                run=None,
                stage="",
                tag="",
                detail=f"{exclusion.kind} {exclusion.name}: {exclusion.reason}",
            )
        )
        ledger.exclude(exclusion)
    ends = {each.name: str(each.until) for each in proposal.exclusions}
    spared = {each.host for each in proposal.spared}
    judged = [each.host for each in found if each.host in ends or each.host in spared]
    return tuple(
        News(about=(host, ends.get(host, "spared")), text=line, acted=host in ends)
        for host, line in zip(judged, proposal.lines, strict=True)
    )
