"""Black holes: nodes on which failures are improbable, given how the same jobs fare elsewhere.

docs/black-holes.md says what is tested and why. Nothing here knows the ledger or a pool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from include.batch.pool import NodeCounts
    from include.bookkeeping.records import NodeTally

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Flags = NDArray[np.bool_]

LEAST_BAD = 3
"""A node with fewer failures is never suspected, whatever the odds."""
LEAST_RATIO = 3.0
"""Nor one that fails less than this many times as often as the others."""
ROUNDS = 4
"""Suspects are taken out of "the others" and the test is repeated: several black holes hide each other."""
TILTS = 24
"""Points at which the bound on the tail is tried; the best one counts."""
PEERS_MAY_FAIL = 0.1
"""Live: where more of the other nodes' jobs than this share fail as fast, it is the job, not the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A node whose failures are too improbable to be chance."""

    host: str
    site: str | None
    bad: int
    good: int
    expected_bad: float
    """Failures that it would have at the others' rate (taken as at least one failure among theirs)."""
    fast_bad: int
    ratio: float
    """Times as many failures as expected."""
    p_value: float
    """Of this node alone."""
    q_value: float
    """Corrected for the number of nodes: the chance that a healthy pool shows any such node."""
    reason: str
    """One sentence with the numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Tallies as columns, one entry a node and stratum; a stratum is one stage of one campaign."""

    hosts: Sequence[str]
    sites: Sequence[str | None]
    """By node."""
    node: Ints
    """Index into `hosts`."""
    stratum: Ints
    good: Ints
    bad: Ints
    fast: Ints
    """Of those bad."""


def columns_of(tallies: Sequence[NodeTally]) -> Columns:
    """Return the tallies as columns."""
    import numpy as np

    nodes: dict[str, int] = {}
    strata: dict[tuple[str, str], int] = {}
    sites: dict[str, str | None] = {}
    rows: dict[tuple[int, int], list[int]] = {}
    for each in tallies:
        key = (
            nodes.setdefault(each.host, len(nodes)),
            strata.setdefault((each.dag_id, each.stage), len(strata)),
        )
        sites[each.host] = each.site or sites.get(each.host)
        row = rows.setdefault(key, [0, 0, 0])
        row[0] += each.good
        row[1] += each.bad
        row[2] += each.bad_fast
    keys = np.array(list(rows), dtype=np.int64).reshape(-1, 2)
    counts = np.array(list(rows.values()), dtype=np.int64).reshape(-1, 3)
    return Columns(
        hosts=list(nodes),
        sites=[sites[host] for host in nodes],
        node=keys[:, 0],
        stratum=keys[:, 1],
        good=counts[:, 0],
        bad=counts[:, 1],
        fast=counts[:, 2],
    )


def suspects(
    tallies: Sequence[NodeTally] | Columns,
    *,
    false_alarm: float = 0.01,
    spread: float = 0.02,
    least_rate: float = 0.005,
) -> list[Suspect]:
    """Return the nodes whose failures are improbable at the rate of the other nodes, the worst first.

    Each stage of each campaign is compared with itself on the other nodes, so code that fails everywhere
    flags nobody, and a stage that ran on one node alone says nothing. `false_alarm` is the chance that a pool
    of healthy nodes flags any. `spread`: healthy nodes' failure rates differ, by this correlation of the jobs
    on one node. `least_rate`: the failure rate that is granted to every node.
    """
    table = tallies if isinstance(tallies, Columns) else columns_of(tallies)
    if not len(table.hosts):
        return []
    found = _Found.none(len(table.hosts))
    for _ in range(ROUNDS):
        again = _test(table, found.flagged, spread=spread, least_rate=least_rate, false_alarm=false_alarm)
        settled = not (again.flagged & ~found.flagged).any()
        found = again
        if settled:
            break
    order = sorted((int(n) for n in found.flagged.nonzero()[0]), key=lambda n: (found.p[n], table.hosts[n]))
    return [_suspect(table, found, node) for node in order]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What one round found, by node."""

    p: Floats
    q: Floats
    expected: Floats
    flagged: Flags

    @classmethod
    def none(cls, nodes: int) -> _Found:
        import numpy as np

        return cls(
            p=np.ones(nodes), q=np.ones(nodes), expected=np.zeros(nodes), flagged=np.zeros(nodes, dtype=bool)
        )


def _test(table: Columns, aside: Flags, *, spread: float, least_rate: float, false_alarm: float) -> _Found:
    """Test every node against the others that are not put `aside`."""
    import numpy as np

    nodes, jobs = len(table.hosts), table.good + table.bad
    # Jobs on one node tell less than as many on different ones; else a black hole's would drown all others.
    worth_jobs = np.where(aside[table.node], 0.0, 1 / (1 + (np.maximum(jobs, 1) - 1) * spread))
    others_jobs, others_bad = (_others(table, counts * worth_jobs) for counts in (jobs, table.bad))
    # Where no job of the others went well, there is nothing to compare with.
    telling = (_others(table, np.where(aside[table.node], 0, table.good)) > 0) & (jobs > 0)
    rate = np.maximum((others_bad + 1) / (others_jobs + 1), least_rate)
    expected_here = np.where(telling, jobs * rate, 0.0)
    expected: Floats = np.bincount(table.node, weights=expected_here, minlength=nodes).astype(np.float64)
    bad = np.bincount(table.node, weights=np.where(telling, table.bad, 0), minlength=nodes)
    worth = (bad >= LEAST_BAD) & (bad >= LEAST_RATIO * expected)
    rows = telling & worth[table.node]
    p = np.ones(nodes)
    for events in (table.bad, table.fast):
        rate = np.maximum((_others(table, events * worth_jobs) + 1) / (others_jobs + 1), least_rate)
        weight = np.minimum(others_jobs + 1, 1 / spread - 1)
        each = _tail(
            table.node[rows], jobs[rows], events[rows], rate=rate[rows], weight=weight[rows], nodes=nodes
        )
        p = np.minimum(p, 2 * each)  # two tests, so twice the chance of a false alarm
    p = np.where(worth, np.minimum(p, 1.0), 1.0)
    q = _holm(p)
    return _Found(p=p, q=q, expected=expected, flagged=q <= false_alarm)


def _others(table: Columns, counts: Floats | Ints) -> Floats:
    """Return for each row the sum of `counts` over the other nodes of its stratum."""
    import numpy as np

    total = np.bincount(table.stratum, weights=counts)
    rest: Floats = np.maximum(total[table.stratum] - counts, 0.0)
    return rest


def _tail(node: Ints, jobs: Ints, events: Ints, *, rate: Floats, weight: Floats, nodes: int) -> Floats:
    """Return for each node (a bound on) the chance of at least so many events over its strata.

    In a stratum the events of `jobs` jobs are beta-binomial: mean `rate`, known as well as from `weight`
    jobs. The strata are independent. The bound is Chernoff's, min over t of E[exp(t X)] / exp(t x): it never
    says too little, and is exact where every job is an event.
    """
    import numpy as np

    p = np.ones(nodes)
    if not len(node):
        return p
    log_mass, start, place = _log_mass(jobs, alpha=rate * weight, beta=(1 - rate) * weight)
    seen = np.bincount(node, weights=events, minlength=nodes)
    best = np.zeros(nodes)
    for tilt in np.geomspace(0.03, 30, TILTS):
        mean_exp = np.bincount(node, weights=_log_sum(log_mass + tilt * place, start), minlength=nodes)
        best = np.minimum(best, mean_exp - tilt * seen)
    tail: Floats = np.exp(best)
    return tail


def _log_mass(jobs: Ints, *, alpha: Floats, beta: Floats) -> tuple[Floats, Ints, Ints]:
    """Return log P(k) for k = 0..jobs of each row, one row after another; where each begins; and k."""
    import numpy as np

    start = np.concatenate(([0], np.cumsum(jobs[:-1] + 1)))
    row = np.repeat(np.arange(len(jobs)), jobs + 1)
    place = np.arange(len(row)) - start[row]
    left = (jobs[row] - place).astype(np.float64)
    # P(k) / P(k-1) = (n-k+1) (a+k-1) / (k (b+n-k)); the first of each row is 1.
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.log((left + 1) * (alpha[row] + place - 1) / (place * (beta[row] + left)))
    step[start] = 0.0
    log_mass = np.cumsum(step)
    log_mass -= log_mass[start][row]
    log_mass -= _log_sum(log_mass, start)[row]
    return log_mass, start, place


def _log_sum(values: Floats, start: Ints) -> Floats:
    """Return log(sum(exp)) of each run of values."""
    import numpy as np

    top = np.maximum.reduceat(values, start)
    lengths = np.diff(np.append(start, len(values)))
    total: Floats = top + np.log(np.add.reduceat(np.exp(values - np.repeat(top, lengths)), start))
    return total


def _holm(p: Floats) -> Floats:
    """Return p-values corrected for their number by Holm's steps; valid however they depend on each other."""
    import numpy as np

    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    q = np.empty_like(p)
    q[order] = np.minimum(stepped, 1.0)
    return q


def _suspect(table: Columns, found: _Found, node: int) -> Suspect:
    mine = table.node == node
    good, bad, fast = (int(counts[mine].sum()) for counts in (table.good, table.bad, table.fast))
    expected = float(found.expected[node])
    p, q = float(found.p[node]), float(found.q[node])
    reason = (
        f"{_share(bad, bad + good)} failed on {table.hosts[node]}{f', {fast} of them fast' if fast else ''}; "
        f"at the rate of the same stages on other nodes it would be {expected:.2g} "
        f"({bad / expected:.2g} times as much; chance {q:.1g} among {len(table.hosts)} nodes)"
    )
    return Suspect(
        host=table.hosts[node],
        site=table.sites[node],
        bad=bad,
        good=good,
        expected_bad=expected,
        fast_bad=fast,
        ratio=bad / expected,
        p_value=p,
        q_value=q,
        reason=reason,
    )


def suspected_live(
    counts: Sequence[NodeCounts],
    *,
    nodes_seen: int,
    false_alarm: float = 0.02,
) -> list[Suspect]:
    """Return the nodes of a running cluster that fail jobs which run on elsewhere, the worst first.

    Where another node's job ran longer than the slowest failure here, it got past what kills jobs here.
    Whether so many of those failures fall on one node by chance is Fisher's exact test, corrected for
    `nodes_seen`. While others fail as fast too, or nobody else has run longer, nobody is suspected.
    """
    nodes = max(nodes_seen, *(each.peer_nodes + 1 for each in counts), 1) if counts else 1
    found = []
    for each in counts:
        failed_fast, peers = each.peers_failed_fast, each.peers_failed_fast + each.peers_outlasted
        if each.bad < LEAST_BAD or not each.peers_outlasted or failed_fast > PEERS_MAY_FAIL * peers:
            continue
        jobs = each.bad + each.good
        expected = jobs * (failed_fast + 1) / (peers + 1)
        p = fisher_tail(bad=each.bad, jobs=jobs, others_bad=failed_fast, others=peers)
        q = min(1.0, p * nodes)
        if q <= false_alarm and each.bad >= LEAST_RATIO * expected:
            found.append(_live_suspect(each, nodes=nodes, expected=expected, p=p, q=q))
    return sorted(found, key=lambda suspect: (suspect.q_value, suspect.host))


def _live_suspect(each: NodeCounts, *, nodes: int, expected: float, p: float, q: float) -> Suspect:
    others = f"{each.peer_nodes} other node{'' if each.peer_nodes == 1 else 's'}"
    failed = f"{_share(each.bad, each.bad + each.good)} failed on {each.machine}"
    elsewhere = f"{each.peers_outlasted} jobs on {others} ran longer"
    reason = (
        f"{failed} within {each.bad_slowest_s:.0f} s, while {elsewhere} and {each.peers_failed_fast} failed "
        f"as fast ({each.bad / expected:.2g} times as much; chance {q:.1g} among {nodes} nodes)"
    )
    return Suspect(
        host=each.machine,
        site=None,
        bad=each.bad,
        good=each.good,
        expected_bad=expected,
        fast_bad=each.bad,
        ratio=each.bad / expected,
        p_value=p,
        q_value=q,
        reason=reason,
    )


def fisher_tail(*, bad: int, jobs: int, others_bad: int, others: int) -> float:
    """Return the chance that at least `bad` of all failures fall on `jobs` jobs drawn from all."""
    everything, failures = jobs + others, bad + others_bad

    def log_choose(of: int, taken: int) -> float:
        return math.lgamma(of + 1) - math.lgamma(taken + 1) - math.lgamma(of - taken + 1)

    whole = log_choose(everything, failures)
    most = min(jobs, failures)
    chances = (
        math.exp(log_choose(jobs, here) + log_choose(others, failures - here) - whole)
        for here in range(bad, most + 1)
        if failures - here <= others
    )
    return min(1.0, math.fsum(chances))


def _share(part: int, whole: int) -> str:
    return f"all {whole} jobs" if part == whole else f"{part} of {whole} jobs"
