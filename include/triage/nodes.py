"""What follows from suspected nodes: exclusions with an end, and what failing nodes have in common."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.bookkeeping.records import Exclusion
from include.campaign.identifiers import is_node
from include.triage.blackholes import fisher_tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from include.bookkeeping.records import NodeFact
    from include.triage.blackholes import Suspect

FIRST_S = 86400.0
"""A node is first excluded for a day, and twice as long at each repetition, seconds."""
LONGEST_S = 7 * 86400.0
LIFT_HOLDS_S = 86400.0
"""What a person lifted is not excluded again by prodsys for so long, seconds."""
MOST = 0.1
"""Fraction of the nodes seen that may be excluded at once; one always may, and the last never."""
COVERS = 0.9
"""What failing nodes have in common must hold for this share of the failures…"""
ELSEWHERE = 0.1
"""…and for no more than this share of the other nodes."""
CHANCE = 0.01
"""A fact other than a CVMFS revision must be as improbable as this among so many nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to exclude, and the story for the log."""

    exclusions: tuple[Exclusion, ...]
    spared: tuple[Suspect, ...]
    """Suspected, but not to be excluded; `lines` say why."""
    lines: tuple[str, ...]


def propose(
    suspects: Sequence[Suspect],
    known: Sequence[Exclusion],
    *,
    nodes_seen: int,
    now: float,
    by: str = "prodsys",
    most: float = MOST,
) -> Proposal:
    """Turn suspects, the worst first, into exclusions of nodes that are not excluded yet.

    `known` are all exclusions that ever were (`Ledger.exclusions(now, all=True)`): an earlier one of a node
    doubles its time. Of `nodes_seen` nodes only the fraction `most` is ever excluded at once.
    """
    mine = [each for each in known if each.kind == "node"]
    active = {each.name for each in mine if each.lifted_at is None and each.until > now}
    allowed = max(0, min(max(1, int(most * nodes_seen)), nodes_seen - 1) - len(active))
    exclusions: list[Exclusion] = []
    spared: list[Suspect] = []
    lines: list[str] = []
    for suspect in suspects:
        if suspect.host in active:
            continue
        lifted = max((each.lifted_at or 0.0 for each in mine if each.name == suspect.host), default=0.0)
        if lifted and now < lifted + LIFT_HOLDS_S:
            why = f"a person lifted its exclusion at {_moment(lifted)}"
        elif not is_node(suspect.host):
            why = "HTCondor's list of excluded nodes cannot carry such a name"
        elif len(exclusions) >= allowed:
            taken = len(active) + len(exclusions)
            why = f"{taken} of {nodes_seen} nodes are excluded, and no more may be at once"
        else:
            exclusions.append(_exclusion(suspect, mine, now=now, by=by))
            lines.append(
                f"node {suspect.host} is excluded until {_moment(exclusions[-1].until)}: {suspect.reason}"
            )
            continue
        spared.append(suspect)
        lines.append(f"node {suspect.host} is suspected but not excluded, because {why}: {suspect.reason}")
    return Proposal(exclusions=tuple(exclusions), spared=tuple(spared), lines=tuple(lines))


def _exclusion(suspect: Suspect, known: Sequence[Exclusion], *, now: float, by: str) -> Exclusion:
    before = sum(each.name == suspect.host and each.lifted_at is None for each in known)
    lasts = min(LONGEST_S, FIRST_S * 2 ** min(before, 10))
    return Exclusion(
        kind="node", name=suspect.host, since=now, until=now + lasts, by=by, reason=suspect.reason
    )


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trait:
    """Something that nodes may have in common."""

    text: str
    has: Mapping[str, bool]
    """Host → whether it has it; without hosts of which that is not known."""
    needs_proof: bool
    """Whether chance must be ruled out: nodes differ in many ways."""


def correlate(failing: Sequence[str], facts: Sequence[NodeFact]) -> list[str]:
    """Return what the nodes of failures have in common that other nodes have not, one sentence each.

    `failing` names the node of each failure, one entry a failure; `facts` are the latest of every node.
    """
    failures = Counter(failing)
    known = {fact.host: fact for fact in facts}
    found = []
    for trait in _traits(known, failures):
        here = {host: has for host, has in trait.has.items() if host in failures}
        others = {host: has for host, has in trait.has.items() if host not in failures}
        seen, covered = (sum(failures[host] for host in hosts) for hosts in (here, _having(here)))
        if (
            not seen
            or not others
            or covered < COVERS * seen
            or len(_having(others)) > ELSEWHERE * len(others)
        ):
            continue
        if trait.needs_proof and _chance(here, others) > CHANCE / max(1, len(_names(facts))):
            continue
        found.append((-covered / seen, len(_having(others)), _sentence(trait, here, others, failures)))
    return [sentence for *_, sentence in sorted(found)]


def _having(hosts: Mapping[str, bool]) -> list[str]:
    return [host for host, has in hosts.items() if has]


def _chance(here: Mapping[str, bool], others: Mapping[str, bool]) -> float:
    return fisher_tail(
        bad=len(_having(here)), jobs=len(here), others_bad=len(_having(others)), others=len(others)
    )


def _sentence(
    trait: _Trait, here: Mapping[str, bool], others: Mapping[str, bool], failures: Mapping[str, int]
) -> str:
    total, known = sum(failures.values()), sum(failures[host] for host in here)
    covered = sum(failures[host] for host in _having(here))
    among = f"{known} failures" if known == total else f"{known} failures whose nodes are known (of {total})"
    part = f"all {among}" if covered == known else f"{covered} of {among}"
    nodes = len(_having(here))
    return (
        f"{part} were on nodes {trait.text} ({nodes} node{'' if nodes == 1 else 's'}), "
        f"as are {len(_having(others))} of {len(others)} other nodes"
    )


def _traits(known: Mapping[str, NodeFact], failures: Mapping[str, int]) -> Iterator[_Trait]:
    facts = list(known.values())
    for repository in sorted({name for fact in facts for name, _ in fact.cvmfs}):
        revisions = {
            fact.host: dict(fact.cvmfs)[repository] for fact in facts if repository in dict(fact.cvmfs)
        }
        unread = {host: revision is None for host, revision in revisions.items()}
        yield _Trait(text=f"where {repository} could not be read", has=unread, needs_proof=False)
        numbers = {host: float(revision) for host, revision in revisions.items() if revision is not None}
        yield from _below(numbers, failures, f"with {repository} at revision <", needs_proof=False)
    for name in _names(facts):
        values = {fact.host: value for fact in facts if (value := _value(fact, name)) is not None}
        yield from _about(name, values, failures)


def _about(name: str, values: Mapping[str, str], failures: Mapping[str, int]) -> Iterator[_Trait]:
    try:
        numbers = {host: float(value) for host, value in values.items()}
    except ValueError:
        for text in sorted({value for host, value in values.items() if host in failures}):
            has = {host: value == text for host, value in values.items()}
            yield _Trait(text=f"with {name} {text}", has=has, needs_proof=True)
        return
    yield from _below(numbers, failures, f"with {name} <", needs_proof=True)


def _below(
    numbers: Mapping[str, float], failures: Mapping[str, int], text: str, *, needs_proof: bool
) -> Iterator[_Trait]:
    """Yield "less than N" for the lowest N of another node that nearly all failing nodes are below."""
    total = sum(failures[host] for host in numbers if host in failures)
    for limit in sorted({number for host, number in numbers.items() if host not in failures}):
        below = {host: number < limit for host, number in numbers.items()}
        if sum(failures.get(host, 0) for host in _having(below)) >= COVERS * total > 0:
            shown = f"{limit:g}" if limit % 1 else f"{limit:.0f}"
            yield _Trait(text=f"{text} {shown}", has=below, needs_proof=needs_proof)
            return


def _names(facts: Sequence[NodeFact]) -> list[str]:
    return sorted({name for fact in facts for name, _ in fact.facts} | {"site"})


def _value(fact: NodeFact, name: str) -> str | None:
    return fact.site if name == "site" else dict(fact.facts).get(name)
