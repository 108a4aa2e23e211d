"""What executions found out about their nodes, for the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.bookkeeping.records import NodeFact

if TYPE_CHECKING:
    from include.checks.evidence import Evidence, Gathered
    from include.checks.reports import Report


def node_facts(gathered: Gathered) -> list[NodeFact]:
    """Return the latest facts on each node, named as the pool does."""
    latest: dict[str, NodeFact] = {}
    for evidence in gathered.processes:
        for report in evidence.reports:
            fact = _fact(evidence, report)
            if fact is not None and (fact.host not in latest or latest[fact.host].seen_at <= fact.seen_at):
                latest[fact.host] = fact
    return list(latest.values())


def machine_of(evidence: Evidence, report: Report) -> str | None:
    """Return the node of an execution as the pool names it: by its slot, else the job's ad, else its host."""
    if report.node.slot:
        return report.node.slot.rpartition("@")[2]
    ad = evidence.ad
    # The ad tells of the last execution only.
    if ad is not None and ad.machine and report is evidence.reports[-1]:
        return ad.machine
    return report.host


def _fact(evidence: Evidence, report: Report) -> NodeFact | None:
    host, node = machine_of(evidence, report), report.node
    if not host or report.is_manifest:
        return None
    named = {
        "glidein": node.glidein,
        "scratch_free_mb": node.scratch_free_mb,
        "memory_mb": node.memory_mb,
        "cpus": node.cpus,
        "load": node.load,
    }
    return NodeFact(
        host=host,
        site=report.site or node.site,
        seen_at=report.ended,
        facts=tuple((name, str(value)) for name, value in named.items() if value is not None),
        cvmfs=tuple((repository, revision) for repository, revision, _ in node.cvmfs),
    )
