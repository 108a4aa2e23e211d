"""How long the black-hole test takes over 5,000 nodes and 1 million jobs, and how much memory.

Run: python benchmarks/bench_blackholes.py [NODES] [JOBS]. It fails where up to 1 million jobs take more than
2 s of CPU or 500 MB.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np

from include.bookkeeping.records import NodeTally
from include.triage.blackholes import suspects

STAGES, HOLES = 10, 50
MOST_JOBS, MOST_S, MOST_MB = 1_300_000, 2.0, 500


def tallies(nodes: int, jobs: int, rates: np.ndarray, *, holes: int) -> list[NodeTally]:
    """Return what so many jobs of ten stages left; the last nodes are black holes and eat a fifth of them."""
    rng = np.random.default_rng(1)
    share = np.full(nodes, 1 / nodes)
    if holes:
        share[-holes:] += 0.2 / holes
    rates = np.concatenate([rates[: nodes - holes], np.ones(holes)])
    ended = rng.poisson(share / share.sum() * jobs / STAGES, size=(STAGES, nodes))
    bad = rng.binomial(ended, rates)
    fast = np.where(rates == 1, bad, rng.binomial(bad, 0.2))
    return [
        NodeTally(
            dag_id="demo.z",
            stage=f"stage{stage}",
            host=f"wn{node}.example",
            site="FNAL",
            good=int(ended[stage, node] - bad[stage, node]),
            bad=int(bad[stage, node]),
            bad_fast=int(fast[stage, node]),
        )
        for stage in range(STAGES)
        for node in range(nodes)
    ]


def timed(what: str, table: list[NodeTally]) -> int:
    """Test the table, print how long it took, and return how many nodes are suspected."""
    start, cpu = time.perf_counter(), time.process_time()
    found = suspects(table)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    jobs = sum(each.good + each.bad for each in table)
    print(
        f"{what}: {jobs:,} jobs in {len(table):,} tallies: {len(found)} suspects in {seconds:.2f} s, "
        f"{cpu:.2f} s of CPU; {peak:.0f} MB at most",
        flush=True,
    )
    assert jobs > MOST_JOBS or (cpu <= MOST_S and peak <= MOST_MB), "more than 2 s or 500 MB"
    return len(found)


def main(nodes: int, jobs: int) -> None:
    """Time a healthy pool, one with black holes, and the worst case: nodes that all have to be looked at."""
    rng = np.random.default_rng(2)
    assert timed("healthy", tallies(nodes, jobs, np.full(nodes, 0.05), holes=0)) == 0
    assert timed(f"{HOLES} black holes", tallies(nodes, jobs, np.full(nodes, 0.05), holes=HOLES)) == HOLES
    uneven = np.where(rng.random(nodes) < 0.25, 0.6, 0.01)
    timed("a quarter of the nodes fail 60 times as often", tallies(nodes, jobs, uneven, holes=0))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 5_000, int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    )
