"""Keep jobs off nodes that eat them: while a cluster runs, and after its check."""

from __future__ import annotations

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

WHO = "prodsys"
WINDOW_S = 86_400.0
"""Jobs that ended so lately count."""


def exclude_while_running(
    ledger: Ledger,
    open_pool: Callable[[], AbstractContextManager[Pool]],
    schedd: str,
    polled: Mapping[int, ClusterCounts],
    *,
    now: float,
) -> tuple[str, ...]:
    """Exclude nodes that one poll gives away, also for the jobs that are idle; return the news, a line each.

    `polled` is cluster → counts of clusters on `schedd`. It may be called for the same news again, by several
    processes too: the ledger keeps one exclusion, and the pool changes only jobs that do not know it yet.
    """
    found: dict[str, Suspect] = {}
    nodes_seen = 1
    for count in polled.values():
        if count.suspects:
            nodes = 1 + max(each.peer_nodes for each in count.suspects)
            nodes_seen = max(nodes_seen, nodes)
            for suspect in suspected_live(count.suspects, nodes_seen=nodes, recent=None):
                found.setdefault(suspect.host, suspect)
    if not found:
        return ()
    lines = _exclude(ledger, list(found.values()), nodes_seen=nodes_seen, now=now)
    active = ledger.exclusions(now)
    machines = [each.name for each in active if each.kind == "node"]
    sites = [each.name for each in active if each.kind == "site"]
    if machines or sites:
        with open_pool() as pool:
            kept = pool.exclude(schedd, sorted(polled), machines=machines, sites=sites)
        if kept:
            lines = (*lines, f"{schedd}: {kept} waiting jobs are kept off {', '.join(machines + sites)}")
    return lines


def exclude_by_record(ledger: Ledger, *, now: float) -> tuple[str, ...]:
    """Exclude nodes that the last day's jobs of all campaigns give away; return the news, a line each."""
    tallies = ledger.node_tallies(since=now - WINDOW_S, now=now)
    if not any(tally.bad for tally in tallies):
        return ()
    nodes_seen = len({tally.host for tally in tallies})
    return _exclude(ledger, suspects(tallies), nodes_seen=nodes_seen, now=now)


def _exclude(ledger: Ledger, found: Sequence[Suspect], *, nodes_seen: int, now: float) -> tuple[str, ...]:
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
    return proposal.lines
