"""Nodes: what probes said of them, and how jobs ended on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.node_tables import node_cvmfs
from include.bookkeeping.node_tables import node_facts as fact_table
from include.bookkeeping.records import NodeFact, NodeRevision, NodeTally
from include.bookkeeping.rows import insert_into, upsert
from include.bookkeeping.tables import campaigns, jobs, submissions
from include.campaign.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.engine import Connection, Row

FAST_SHARE = 0.1
"""A failure is fast below this share of the median wall time of the stage's good jobs."""
FAST_S = 60.0
"""A failure is fast below this wall time where the stage has no good job, seconds."""
CVMFS_KEY = ("host", "repository", "revision")


class LedgerNodes(LedgerDatabase):
    """The part of the ledger that knows nodes."""

    def record_node_facts(self, facts: Sequence[NodeFact]) -> None:
        """Record what probes said: of each node the latest counts, and when it had which CVMFS revisions."""
        if not facts:
            return
        ordered = sorted(facts, key=lambda fact: fact.seen_at)
        with self._write() as connection:
            rows = [_fact_values(fact) for fact in ordered]
            upsert(connection, fact_table, rows, key=("host",), only_if=_is_later)
            _see_revisions(connection, ordered)

    def node_facts(self, host: str | None = None) -> list[NodeFact]:
        """Return the latest that is known of one node, or of each, in order of name."""
        query = sa.select(fact_table).order_by(fact_table.c.host)
        if host is not None:
            query = query.where(fact_table.c.host == host)
        with self._read() as connection:
            return [_fact(row) for row in connection.execute(query)]

    def node_revisions(self, host: str | None = None) -> list[NodeRevision]:
        """Return the CVMFS revisions that one node, or each, was seen with, in order of host and time."""
        order = (
            node_cvmfs.c.host,
            node_cvmfs.c.repository,
            node_cvmfs.c.first_seen_at,
            node_cvmfs.c.revision,
        )
        query = sa.select(node_cvmfs).order_by(*order)
        if host is not None:
            query = query.where(node_cvmfs.c.host == host)
        with self._read() as connection:
            return [NodeRevision(**row) for row in connection.execute(query).mappings()]

    def node_tallies(
        self, since: float, now: float, experiment: str | None = None, *, dag_id: str | None = None
    ) -> list[NodeTally]:
        """Return how the jobs that ended in since..now did on each node, by campaign and stage.

        Of all campaigns, of an experiment's, or of one. Nodes are named without their slots. A job counts if
        it completed and how it ended is known.
        """
        with self._read() as connection:
            ended = _ended(since, now, experiment, dag_id)
            found = connection.execute(_tallies(ended, _fast_below(ended)))
            return [NodeTally(**row) for row in found.mappings()]


def _fact_values(fact: NodeFact) -> dict[str, Any]:
    return {
        "host": fact.host,
        "site": fact.site,
        "seen_at": fact.seen_at,
        "facts": [list(each) for each in fact.facts],
        "cvmfs": [list(each) for each in fact.cvmfs],
    }


def _is_later(new: Any) -> sa.ColumnElement[bool]:
    later: sa.ColumnElement[bool] = new.seen_at >= fact_table.c.seen_at
    return later


def _see_revisions(connection: Connection, facts: Sequence[NodeFact]) -> None:
    seen: dict[tuple[str, str, int], tuple[float, float]] = {}
    for fact in facts:
        for repository, revision in fact.cvmfs:
            if revision is not None:
                first, _ = seen.get((fact.host, repository, revision), (fact.seen_at, 0.0))
                seen[fact.host, repository, revision] = (first, fact.seen_at)
    rows = [
        {**dict(zip(CVMFS_KEY, key, strict=True)), "first_seen_at": first, "last_seen_at": last}
        for key, (first, last) in sorted(seen.items())
    ]
    if not rows:
        return
    insert, there = insert_into(connection, node_cvmfs), node_cvmfs.c
    new = insert.excluded
    earlier = sa.case((new.first_seen_at < there.first_seen_at, new.first_seen_at), else_=there.first_seen_at)
    later = sa.case((new.last_seen_at > there.last_seen_at, new.last_seen_at), else_=there.last_seen_at)
    widened = {"first_seen_at": earlier, "last_seen_at": later}
    connection.execute(insert.on_conflict_do_update(index_elements=list(CVMFS_KEY), set_=widened), rows)


def _fact(row: Row[Any]) -> NodeFact:
    return NodeFact(
        host=row.host,
        site=row.site,
        seen_at=row.seen_at,
        facts=tuple((name, value) for name, value in row.facts),
        cvmfs=tuple((repository, revision) for repository, revision in row.cvmfs),
    )


def _ended(since: float, now: float, experiment: str | None, dag_id: str | None) -> sa.CTE:
    """Return one row a job that ended in since..now, with whether it was good."""
    bad = jobs.c.exit_signal.is_not(None) | (jobs.c.exit_code != 0)
    query = (
        sa.select(
            submissions.c.dag_id, submissions.c.stage, _machine(jobs.c.host).label("host"), jobs.c.site,
            jobs.c.wall_s, sa.case((bad, 1), else_=0).label("bad"),
        )
        .join_from(jobs, submissions)
        .where(jobs.c.ended_at >= since, jobs.c.ended_at <= now, jobs.c.host.is_not(None))
        .where(jobs.c.status == int(JobStatus.COMPLETED))
        .where(jobs.c.exit_signal.is_not(None) | jobs.c.exit_code.is_not(None))
    )  # fmt: skip
    if dag_id is not None:
        query = query.where(submissions.c.dag_id == dag_id)
    if experiment is not None:
        mine = campaigns.c.dag_id == submissions.c.dag_id
        query = query.join(campaigns, mine).where(campaigns.c.experiment == experiment)
    return query.cte("ended")


def _machine(host: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Return what follows the last @ of `slot1_2@glidein@machine`; all of it where there is none."""
    head = sa.func.length(sa.func.rtrim(host, sa.func.replace(host, "@", "")))
    return sa.func.substr(host, head + 1)


def _fast_below(ended: sa.CTE) -> sa.CTE:
    """Return the wall time of each stage below which a failure is fast."""
    stage = (ended.c.dag_id, ended.c.stage)
    good = sa.select(
        *stage,
        ended.c.wall_s,
        sa.func.row_number().over(partition_by=stage, order_by=ended.c.wall_s).label("place"),
        sa.func.count().over(partition_by=stage).label("count"),
    ).where(ended.c.bad == 0, ended.c.wall_s.is_not(None))
    ranked = good.subquery()
    middle = (2 * ranked.c.place >= ranked.c.count) & (2 * ranked.c.place <= ranked.c.count + 2)
    limit = (sa.func.avg(ranked.c.wall_s) * FAST_SHARE).label("limit_s")
    of_stage = (ranked.c.dag_id, ranked.c.stage)
    return sa.select(*of_stage, limit).where(middle).group_by(*of_stage).cte("fast_below")


def _tallies(ended: sa.CTE, fast_below: sa.CTE) -> sa.Select[Any]:
    same = (fast_below.c.dag_id == ended.c.dag_id) & (fast_below.c.stage == ended.c.stage)
    fast = (ended.c.bad == 1) & (ended.c.wall_s < sa.func.coalesce(fast_below.c.limit_s, FAST_S))
    where = (ended.c.dag_id, ended.c.stage, ended.c.host)
    return (
        sa.select(
            *where,
            sa.func.max(ended.c.site).label("site"),
            sa.func.sum(1 - ended.c.bad).label("good"),
            sa.func.sum(ended.c.bad).label("bad"),
            sa.func.sum(sa.case((fast, 1), else_=0)).label("bad_fast"),
        )
        .join_from(ended, fast_below, same, isouter=True)
        .group_by(*where)
        .order_by(*where)
    )
