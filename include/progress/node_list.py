"""The page of all nodes: how jobs end there, what is suspected and why, what is excluded until when."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import Exclusion, NodeFact, NodeTally
    from include.triage.blackholes import Suspect

SPAN_S = 86400.0
"""Jobs that ended within so long count, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """One node."""

    host: str
    site: str
    good: int
    bad: int
    bad_fast: int
    """Of those bad, far faster than good jobs."""
    suspicion: str
    """Why it is suspected, with the numbers; empty where it is not."""
    chance: float | None
    """That a node as good as the others shows this, corrected for how many were looked at."""
    cvmfs: tuple[tuple[str, int | None], ...]
    """(repository, revision); None where it could not be read."""
    facts: tuple[tuple[str, str], ...]
    seen_at: float | None
    """When a probe last looked."""
    excluded_until: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesPage:
    """All nodes that jobs ended on, and all that is excluded."""

    at: float
    span_s: float
    lines: tuple[NodeLine, ...]
    """Suspects first, then by jobs that failed."""
    exclusions: tuple[Exclusion, ...]
    """Active ones."""
    revisions: tuple[tuple[str, int, int], ...]
    """(repository, revision, nodes that have it), the newest revision of each repository first."""


def nodes_page(ledger: Ledger, visible: Collection[str] | None, *, now: float) -> NodesPage:
    """Return the page; with `visible` only jobs of those campaigns count."""
    from include.triage.blackholes import suspects  # loads numpy

    tallies = ledger.node_tallies(now - SPAN_S, now)
    mine = [each for each in tallies if visible is None or each.dag_id in visible]
    suspected = suspects(mine)
    exclusions = ledger.exclusions(now)
    facts = {fact.host: fact for fact in ledger.node_facts()}
    lines = _lines(mine, suspected, facts, exclusions)
    return NodesPage(
        at=now,
        span_s=SPAN_S,
        lines=tuple(lines),
        exclusions=tuple(exclusions),
        revisions=tuple(_revisions(lines)),
    )


def _lines(
    tallies: Sequence[NodeTally],
    suspected: Sequence[Suspect],
    facts: dict[str, NodeFact],
    exclusions: Sequence[Exclusion],
) -> list[NodeLine]:
    of_node: dict[str, list[NodeTally]] = defaultdict(list)
    for tally in tallies:
        of_node[tally.host].append(tally)
    until = {each.name: each.until for each in exclusions if each.kind == "node"}
    suspects = {each.host: each for each in suspected}
    lines = []
    for host in {**of_node, **until}:
        mine, suspect, fact = of_node.get(host, []), suspects.get(host), facts.get(host)
        sites = [each.site for each in mine if each.site] + ([fact.site] if fact and fact.site else [])
        lines.append(
            NodeLine(
                host=host,
                site=sites[0] if sites else "",
                good=sum(each.good for each in mine),
                bad=sum(each.bad for each in mine),
                bad_fast=sum(each.bad_fast for each in mine),
                suspicion=suspect.reason if suspect else "",
                chance=suspect.q_value if suspect else None,
                cvmfs=fact.cvmfs if fact else (),
                facts=fact.facts if fact else (),
                seen_at=fact.seen_at if fact else None,
                excluded_until=until.get(host),
            )
        )
    order = {each.host: place for place, each in enumerate(suspected)}
    return sorted(lines, key=lambda line: (order.get(line.host, len(order)), -line.bad, line.host))


def _revisions(lines: Sequence[NodeLine]) -> list[tuple[str, int, int]]:
    counted: dict[tuple[str, int], int] = defaultdict(int)
    for line in lines:
        for repository, revision in line.cvmfs:
            if revision is not None:
                counted[repository, revision] += 1
    ordered = sorted(counted.items(), key=lambda item: (item[0][0], -item[0][1]))
    return [(repository, revision, nodes) for (repository, revision), nodes in ordered]
