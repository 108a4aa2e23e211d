"""What follows from suspected nodes: exclusions with an end, and what failing nodes have in common."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.bookkeeping.records import Exclusion
from include.campaign.identifiers import is_node
from include.triage.blackholes import fisher_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

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
UNREAD = "unread"
"""Stands for a CVMFS repository that could not be read."""
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
    """Something that failing nodes have in common; all counts are of nodes for which it is known."""

    text: str
    having: frozenset[str]
    """Failing nodes that have it."""
    here: int
    """Failing nodes."""
    others_having: int
    others: int
    needs_proof: bool
    """Whether chance must be ruled out: nodes differ in many ways."""


class NodeComparison:
    """The facts of all nodes, ready to be compared for any number of groups of failures."""

    def __init__(self, facts: Sequence[NodeFact]) -> None:
        self._names = sorted({name for fact in facts for name, _ in fact.facts} | {"site"})
        seen: dict[str, dict[str, int | None]] = {}
        for fact in facts:
            for repository, revision in fact.cvmfs:
                seen.setdefault(repository, {})[fact.host] = revision
        self._unread = {
            name: _Texts({host: UNREAD if each is None else "" for host, each in some.items()})
            for name, some in sorted(seen.items())
        }
        self._revisions = {
            name: _Numbers({host: float(each) for host, each in some.items() if each is not None})
            for name, some in seen.items()
        }
        values = {name: dict[str, str]() for name in self._names}
        for fact in facts:
            for name, value in (*fact.facts, ("site", fact.site)):
                if value is not None:
                    values[name][fact.host] = value
        numbers = {name: _as_numbers(some) for name, some in values.items()}
        self._numbers = {name: _Numbers(some) for name, some in numbers.items() if some}
        self._texts = {name: _Texts(some) for name, some in values.items() if not numbers[name]}

    def common(self, failing: Sequence[str]) -> list[str]:
        """Return what the nodes of failures have in common that other nodes have not, one sentence each.

        `failing` names the node of each failure, one entry a failure.
        """
        failures = Counter(failing)
        found = []
        for trait, known in self._traits(failures):
            seen, covered = (sum(failures[host] for host in hosts) for hosts in (known, trait.having))
            if not seen or not trait.others or covered < COVERS * seen:
                continue
            if trait.others_having > ELSEWHERE * trait.others:
                continue
            if trait.needs_proof and _chance(trait) > CHANCE / len(self._names):
                continue
            sentence = _sentence(trait, covered=covered, seen=seen, total=failures.total())
            found.append((-covered / seen, trait.others_having, sentence))
        return [sentence for *_, sentence in sorted(found)]

    def _traits(self, failures: Mapping[str, int]) -> Iterator[tuple[_Trait, list[str]]]:
        """Yield what failing nodes may have in common, and the failing nodes of which that is known."""
        for repository, unread in self._unread.items():
            words = {UNREAD: f"where {repository} could not be read"}
            yield from unread.commonest(failures, text=words.get, needs_proof=False)
            text = f"with {repository} at revision <"
            yield from self._revisions[repository].below(failures, text=text, needs_proof=False)
        for name, numbers in self._numbers.items():
            yield from numbers.below(failures, text=f"with {name} <", needs_proof=True)
        for name, texts in self._texts.items():
            yield from texts.commonest(failures, text=f"with {name} {{}}".format, needs_proof=True)


def _as_numbers(values: Mapping[str, str]) -> dict[str, float]:
    """Return the values as numbers; empty where one is none."""
    try:
        return {host: float(value) for host, value in values.items()}
    except ValueError:
        return {}


class _Texts:
    """One fact of all nodes, as text."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._everywhere = Counter(values.values())

    def commonest(
        self, failures: Mapping[str, int], *, text: Callable[[str], str | None], needs_proof: bool
    ) -> Iterator[tuple[_Trait, list[str]]]:
        """Yield that failing nodes have the value that most failures have, if there is a `text` for it."""
        known = [host for host in failures if host in self._values]
        if not known or len(known) == len(self._values):
            return
        weights: Counter[str] = Counter()
        for host in known:
            weights[self._values[host]] += failures[host]
        ((value, _),) = weights.most_common(1)
        if said := text(value):
            having = frozenset(host for host in known if self._values[host] == value)
            yield (
                _Trait(
                    text=said,
                    having=having,
                    here=len(known),
                    others_having=self._everywhere[value] - len(having),
                    others=len(self._values) - len(known),
                    needs_proof=needs_proof,
                ),
                known,
            )


class _Numbers:
    """One fact of all nodes, as numbers."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = values
        self._hosts = sorted(values, key=values.__getitem__)
        self._ordered = [values[host] for host in self._hosts]

    def below(
        self, failures: Mapping[str, int], *, text: str, needs_proof: bool
    ) -> Iterator[tuple[_Trait, list[str]]]:
        """Yield "less than N" for the lowest N of another node that nearly all failing nodes are below."""
        known = sorted((host for host in failures if host in self._values), key=self._values.__getitem__)
        if not known or len(known) == len(self._values):
            return
        above = bisect_right(self._ordered, self._highest(failures, known))
        first = next((host for host in self._hosts[above:] if host not in failures), None)
        if first is None:
            return
        limit = self._values[first]
        having = frozenset(host for host in known if self._values[host] < limit)
        yield (
            _Trait(
                text=f"{text} {f'{limit:g}' if limit % 1 else f'{limit:.0f}'}",
                having=having,
                here=len(known),
                others_having=bisect_left(self._ordered, limit) - len(having),
                others=len(self._values) - len(known),
                needs_proof=needs_proof,
            ),
            known,
        )

    def _highest(self, failures: Mapping[str, int], known: Sequence[str]) -> float:
        """Return the lowest value that is not below the values of enough of the failures."""
        needed = COVERS * sum(failures[host] for host in known)
        for host in known:
            needed -= failures[host]
            if needed <= 0:
                return self._values[host]
        return self._values[known[-1]]


def _chance(trait: _Trait) -> float:
    return fisher_tail(
        bad=len(trait.having), jobs=trait.here, others_bad=trait.others_having, others=trait.others
    )


def _sentence(trait: _Trait, *, covered: int, seen: int, total: int) -> str:
    among = f"{seen} failures" if seen == total else f"{seen} failures whose nodes are known (of {total})"
    part = f"all {among}" if covered == seen else f"{covered} of {among}"
    nodes = len(trait.having)
    return (
        f"{part} were on nodes {trait.text} ({nodes} node{'' if nodes == 1 else 's'}), "
        f"as are {trait.others_having} of {trait.others} other nodes"
    )
