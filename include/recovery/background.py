"""What failures are compared with: all jobs of their stage, good ones too, and what is known of the nodes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from include.triage.unusual import Background

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import JobRecord, NodeFact, NodeTally, Submission

MOST_JOBS = 50_000
"""More jobs are not loaded from the ledger to be compared with."""


def background(
    sent: Iterable[tuple[Submission, Sequence[JobRecord]]], facts: Sequence[NodeFact] = ()
) -> Background:
    """Bring together the jobs of some submissions, and the facts of the nodes that they ran on."""
    nodes: dict[str, int] = {}
    sites: dict[str, int] = {}
    good: list[float] = []
    subruns: dict[tuple[str, int], tuple[int, int]] = {}
    inputs: dict[tuple[str, int, int], Sequence[str]] = {}
    for submission, jobs in sent:
        key, units = (submission.stage, submission.run), submission.units
        for unit in units:
            inputs[*key, unit.first_subrun] = [path for _, named in unit.inputs for path in named]
        for job in jobs:
            if job.host:
                name = job.host.rpartition("@")[2]
                nodes[name] = nodes.get(name, 0) + 1
            if job.site:
                sites[job.site] = sites.get(job.site, 0) + 1
            if job.exit_code == 0 and job.ended_at is not None:
                good.append(job.ended_at)
        first, last = subruns.get(key, (units[0].first_subrun, units[-1].last_subrun))
        subruns[key] = (min(first, units[0].first_subrun), max(last, units[-1].last_subrun))
    return Background(
        nodes=nodes,
        sites=sites,
        good_at=good,
        subruns=subruns,
        inputs=inputs,
        facts=tuple(fact for fact in facts if fact.host in nodes),
    )


def from_tallies(tallies: Iterable[NodeTally], facts: Sequence[NodeFact]) -> Background:
    """Return what tallies by node say of all jobs: cheap, however many jobs there are."""
    nodes: Counter[str] = Counter()
    sites: Counter[str] = Counter()
    for tally in tallies:
        nodes[tally.host] += tally.good + tally.bad
        if tally.site:
            sites[tally.site] += tally.good + tally.bad
    return Background(nodes=nodes, sites=sites, facts=tuple(fact for fact in facts if fact.host in nodes))


def background_of(ledger: Ledger, slices: Iterable[tuple[str, str, int]], stage: str) -> Background:
    """Return what the ledger has of a stage in slices (dag_id, tranche, run); empty beyond MOST_JOBS jobs."""
    sent: list[Submission] = []
    for dag_id, tranche, run in slices:
        found = ledger.submissions(dag_id, tranche, run=run, stage=stage)
        sent += [each for each in found if each.clusters and each.units]
        # Some of the jobs alone would make the places of the others look as if they had no good ones.
        if sum(len(each.units) for each in sent) > MOST_JOBS:
            return Background()
    return background(((each, ledger.jobs(each.tag)) for each in sent), ledger.node_facts())
