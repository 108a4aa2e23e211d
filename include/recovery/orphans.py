"""Clusters in the queue that nothing waits for: which they are, why, and their removal.

What is removed is for the ledger and Airflow to say together: what one of them does not say is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from include.bookkeeping.records import ActionRecord
from include.campaign.states import ActionKind
from include.errors import AirflowUnreachable, PoolError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from include.batch.pool import ClusterId, Pool, TaggedCluster
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.oversight_records import SubmissionFacts
    from include.bookkeeping.records import Submission

SLICE_GROUP = "slice"
"""The task group of one slice in every campaign's DAG."""
RUN_OVER = frozenset({"success", "failed"})
TASK_OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class Why(StrEnum):
    """Why nothing waits for a cluster."""

    UNKNOWN_TAG = "unknown-tag"
    """The ledger has no such submission: it is another ledger's, or nobody's."""
    DOUBLE = "double"
    """The tag is another cluster's, or that of several."""
    NOT_SENT = "not-sent"
    """The ledger says that it was refused, or only intended, and nothing is submitting it."""
    GONE = "dag-run-gone"
    """Its dag_run is not in Airflow any more."""
    ENDED = "dag-run-ended"
    """Its dag_run has ended, and no task of it runs."""
    STOPPED = "stopped"
    """A person stopped its stage, and no task of it runs."""
    LEFT = "left-behind"
    """Its dag_run goes on, but the stage's tasks in its slice have ended, not all well."""
    UNCLEAR = "unclear"
    """Airflow could not be asked, so nobody knows whether something waits for it."""

    @property
    def removable(self) -> bool:
        """Whether it may be removed without being named: the ledger and Airflow both speak for it."""
        return self in (Why.GONE, Why.ENDED, Why.STOPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowRun:
    """A dag_run as Airflow has it."""

    state: str | None
    """None: Airflow has the DAG and not this dag_run."""
    tasks: Mapping[tuple[str, int], str | None] = field(default_factory=dict)
    """(task_id, map_index) → state; None: not begun."""

    @property
    def runs_on(self) -> bool:
        """Whether a task of it is under way."""
        return any(each is not None and each not in TASK_OVER for each in self.tasks.values())

    def of_stage(self, stage: str, index: int) -> list[str | None]:
        """Return the states of a stage's tasks in one slice."""
        group = f"{SLICE_GROUP}.{stage}."
        return [
            state for (task, place), state in self.tasks.items() if place == index and task.startswith(group)
        ]


class Runs(Protocol):
    """Knows Airflow's dag_runs."""

    def dag_run(self, dag_id: str, run_id: str, *, tranche: str) -> AirflowRun:
        """Return a dag_run; AirflowUnreachable if Airflow gives no answer or does not have the DAG.

        If it is gone, one of the same data interval that has not ended counts: it takes over the tranche.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One cluster that nothing waits for, or of which that is not known."""

    cluster: TaggedCluster
    why: Why
    reason: str
    """One sentence."""
    facts: SubmissionFacts | None
    """What the ledger has of the tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What is known of who may wait for a submission's jobs."""

    run: AirflowRun | None
    """None: Airflow could not be asked."""
    trouble: str
    """Why it could not be asked; empty where it was."""
    index: int
    """Of the slice."""
    stopped_by: str
    """Who stopped the stage, where that is the last that was decided on it; else empty."""

    @property
    def is_gone(self) -> bool:
        """Whether Airflow has its dag_run no more."""
        return self.run is not None and self.run.state is None


def orphans(
    listed: Iterable[TaggedCluster], facts: Mapping[str, SubmissionFacts], owners: Mapping[str, Owner]
) -> tuple[Orphan, ...]:
    """Return which of the listed clusters are orphans; `facts` and `owners` are by tag."""
    living = sorted((each for each in listed if each.live), key=lambda each: each.id)
    twins: dict[str, int] = {}
    for each in living:
        twins[each.tag] = twins.get(each.tag, 0) + 1
    found = []
    for each in living:
        fact = facts.get(each.tag)
        said = _why(each, fact, owners.get(each.tag), twins=twins[each.tag])
        if said is not None:
            found.append(Orphan(cluster=each, why=said[0], reason=said[1], facts=fact))
    return tuple(found)


def _why(
    cluster: TaggedCluster, fact: SubmissionFacts | None, owner: Owner | None, *, twins: int
) -> tuple[Why, str] | None:
    if fact is None or owner is None:
        return Why.UNKNOWN_TAG, "the ledger has no submission of this tag; another ledger may have it"
    if fact.clusters and not any(cluster.is_cluster(schedd, n) for schedd, n, _ in fact.clusters):
        names = ", ".join(f"{number}@{schedd}" for schedd, number, _ in fact.clusters)
        return Why.DOUBLE, f"the ledger has {names} for this tag"
    if not fact.clusters and twins > 1:
        if owner.run is not None and "running" in owner.run.of_stage(fact.stage, owner.index):
            return None  # a launcher makes several, and the task that started it counts them
        return Why.DOUBLE, f"{twins} clusters have this tag, and the ledger has none of them"
    if owner.run is None:
        return Why.UNCLEAR, f"Airflow could not be asked about its dag_run: {owner.trouble}"
    return _by_dag_run(fact, owner, owner.run)


def _by_dag_run(fact: SubmissionFacts, owner: Owner, run: AirflowRun) -> tuple[Why, str] | None:
    """Judge a cluster whose dag_run Airflow told about."""
    over = _over(fact, owner, run)
    if over is None:
        return None
    why, text = over
    if why is Why.LEFT:
        return _by_stage(fact, owner, run.of_stage(fact.stage, owner.index), text)
    return why, text if fact.clusters else f"{text}; the ledger says that the submission is {fact.state}"


def _over(fact: SubmissionFacts, owner: Owner, run: AirflowRun) -> tuple[Why, str] | None:
    """Return why no task can wait for a submission: GONE, ENDED or LEFT; None where one may."""
    if run.state is None:
        return Why.GONE, "its dag_run is not in Airflow any more"
    if run.state in RUN_OVER:
        return None if run.runs_on else (Why.ENDED, f"its dag_run has ended ({run.state})")
    stage = run.of_stage(fact.stage, owner.index)
    if not stage or any(each not in TASK_OVER for each in stage):
        return None
    return Why.LEFT, f"the tasks of {fact.stage} for run {fact.run} have ended"


def _by_stage(
    fact: SubmissionFacts, owner: Owner, stage: list[str | None], text: str
) -> tuple[Why, str] | None:
    """Judge a cluster whose dag_run goes on, while the tasks of its stage are over."""
    if owner.stopped_by:
        return Why.STOPPED, f"{owner.stopped_by} stopped {fact.stage} of run {fact.run}"
    if not fact.clusters:
        return Why.NOT_SENT, f"the ledger says that it is {fact.state}, and nothing is submitting it"
    if all(each == "success" for each in stage):
        return None  # held jobs that the stage has enough without, say
    return Why.LEFT, f"{text}, the dag_run goes on"


def find_orphans(ledger: Ledger, listed: Collection[TaggedCluster], runs: Runs) -> tuple[Orphan, ...]:
    """Ask ledger and Airflow about clusters that a queue has, and return those that nothing waits for."""
    tags = {each.tag for each in listed}
    facts = {each.tag: each for each in ledger.oversight(since=float("inf"), tags=tags) if each.tag in tags}
    return orphans(listed, facts, owners_of(ledger, facts.values(), runs))


def owners_of(ledger: Ledger, facts: Iterable[SubmissionFacts], runs: Runs) -> dict[str, Owner]:
    """Return tag → who may wait for it; Airflow is asked once for each dag_run."""
    asked: dict[tuple[str, str], tuple[AirflowRun | None, str]] = {}
    owners = {}
    for fact in facts:
        key = (fact.dag_id, fact.tranche)
        if key not in asked:
            asked[key] = _ask(ledger, runs, *key)
        owners[fact.tag] = _owner(ledger, fact, *asked[key])
    return owners


def nobody_waits(fact: SubmissionFacts, owner: Owner) -> str:
    """Return why no task can wait for a submission; empty where one may, or where that is not known."""
    over = None if owner.run is None else _over(fact, owner, owner.run)
    return "" if over is None else over[1]


def _ask(ledger: Ledger, runs: Runs, dag_id: str, tranche: str) -> tuple[AirflowRun | None, str]:
    run_id = ledger.dag_run_id(dag_id, tranche) or tranche
    try:
        return runs.dag_run(dag_id, run_id, tranche=tranche), ""
    except AirflowUnreachable as error:
        return None, str(error)


def _owner(ledger: Ledger, fact: SubmissionFacts, run: AirflowRun | None, trouble: str) -> Owner:
    slices = ledger.slices_of(fact.dag_id, fact.tranche)
    decided = ledger.decisions(fact.dag_id, fact.tranche, run=fact.run, stage=fact.stage)
    last = next((act for act in reversed(decided) if act.kind is not ActionKind.ASK), None)
    return Owner(
        run=run,
        trouble=trouble,
        index=next((each.index for each in slices if each.run == fact.run), -1),
        stopped_by=last.who if last is not None and last.kind is ActionKind.STOP else "",
    )


def remove_cluster(
    ledger: Ledger,
    pool: Pool,
    cluster: ClusterId,
    submission: Submission | SubmissionFacts | None,
    *,
    tag: str,
    why: str,
    who: str,
    now: float,
) -> str:
    """Remove one whole cluster from its queue, recorded before it is done; return what was done.

    A schedd that lost its queue gives the number out again: only a cluster that carries the tag is removed.
    `submission` is None for a tag that the ledger does not have. Once no queue has a job of the tag, its jobs
    count as being in flight no longer. PoolError where the schedd denies it.
    """
    queued = [each for each in pool.tagged(cluster.schedd) if each.tag == tag]
    if not any(each.is_cluster(cluster.schedd, cluster.cluster) for each in queued):
        return f"{tag}: cluster {cluster} with this tag is not in the queue: nothing was removed"
    dag_id, tranche, run, stage = (
        ("", "", None, "")
        if submission is None
        else (submission.dag_id, submission.tranche, submission.run, submission.stage)
    )
    ledger.record_action(
        ActionRecord(
            at=now,
            who=who,
            kind=ActionKind.REMOVE,
            dag_id=dag_id,
            tranche=tranche,
            run=run,
            stage=stage,
            tag=tag,
            detail=f"cluster {cluster} is removed from the queue: {why}",
            jobs=(str(cluster),),
        )
    )
    pool.remove(cluster.schedd, (cluster.cluster,), reason=f"prodsys, asked for by {who}: {why}")
    freed = 0 if submission is None else _freed(ledger, pool, submission)
    room = f"; {freed} jobs count as being in flight no longer" if freed else ""
    return f"{tag}: cluster {cluster} was removed from the queue: {why}{room}"


def _freed(ledger: Ledger, pool: Pool, submission: Submission | SubmissionFacts) -> int:
    """Give a submission's room back if no queue has a job of it; return for how many jobs.

    A schedd that gives no answer may have some; that is for the comparison with the queues to see later.
    """
    schedds = {schedd for schedd, _, _ in submission.clusters}
    try:
        queued = [each for schedd in sorted(schedds) for each in pool.tagged(schedd)]
    except PoolError:
        return 0
    if not schedds or any(each.tag == submission.tag and each.live for each in queued):
        return 0
    return ledger.give_back(submission.tag, jobs=0)


def given_up(actions: Iterable[ActionRecord], facts: Iterable[SubmissionFacts]) -> frozenset[str]:
    """Return the tags of which every cluster was removed as a whole; jobs are named with their process.

    An action is written before the act, which the schedd may have denied: see that nothing of it is queued.
    """
    removed: dict[str, set[tuple[str, str]]] = {}
    for act in actions:
        if act.kind is ActionKind.REMOVE:
            removed.setdefault(act.tag, set()).update(_on_machine(job) for job in act.jobs)
    return frozenset(
        fact.tag
        for fact in facts
        if fact.clusters
        and removed.get(fact.tag, set()).issuperset(
            _on_machine(f"{cluster}@{schedd}") for schedd, cluster, _ in fact.clusters
        )
    )


def _on_machine(job: str) -> tuple[str, str]:
    """Return a job's or cluster's number and its schedd's machine, by which jobsub may call the schedd."""
    number, _, schedd = job.partition("@")
    return number, schedd.rpartition("@")[2]


def moment(at: float) -> str:
    """Return a time for people, to the minute."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
