"""Where ledger, pool and storage disagree for longer than a limit: each with both sides' figures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from include.campaign.states import ActionKind, SubmissionState
from include.errors import PoolError
from include.recovery.orphans import given_up, moment, nobody_waits, owners_of
from include.recovery.stored import look

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from include.batch.pool import Pool, TaggedCluster
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.oversight_records import SubmissionFacts
    from include.data.storage import Storage
    from include.recovery.orphans import Owner, Runs
    from include.recovery.stored import StoredFiles

SHOWN = 3
"""Files that one sentence names."""
LOOK_BACK_S = 7 * 86400.0
"""Submissions whose state has not changed for longer are left alone."""
MOST_FILES = 20_000
"""Accepted files that one comparison looks at."""
LEAST_S = 300.0
"""Whatever the limit, so long a living wait may be silent: it asks, or notes its counts, every minute."""

IF_UNKNOWN = (
    "see whether history was lost or rotated; after the wait's unknown_limit the check looks at what is "
    "there, and subruns that stay unknown are put to a person by the recover task under Required Actions, "
    "where 'Recover again' makes them anew"
)


class Topic(StrEnum):
    """What two sides disagree about."""

    QUEUE = "queue"
    """A queue has jobs of a submission that is over or not sent, or is another cluster by the ledger."""
    COUNTS = "counts"
    """The ledger's counts of jobs are old, and the queue's are others."""
    UNKNOWN = "unknown"
    """Jobs that the ledger waits for are in no queue and no history."""
    SILENT = "silent"
    """The ledger waits for jobs on a schedd that gives no answer."""
    JUDGED = "judged"
    """Every job has ended, and no check has said what became of the subruns."""
    INTENT = "intent"
    """A submission was intended, and neither the ledger nor a queue says that it was sent."""
    LOST = "lost"
    """A file that the ledger calls accepted is not in the storage, or not of its size."""
    STRAY = "stray"
    """The storage has outputs of a submission that is over, and the ledger has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """One thing that two sides see differently."""

    topic: Topic
    tag: str
    since: float
    """Epoch seconds."""
    ledger: str
    """What the ledger says, with its figures."""
    other: str
    """What the other side says, with its figures."""
    advice: str

    @property
    def text(self) -> str:
        """All of it in one line."""
        sides = f"the ledger says {self.ledger}, {self.other}"
        return f"{self.tag}: {self.topic}, since {moment(self.since)}: {sides}. {self.advice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What pool and storage say."""

    queues: Mapping[str, tuple[TaggedCluster, ...]]
    """Schedd → the clusters in its queue; a schedd that gave no answer is not in it."""
    stored: Mapping[str, StoredFiles]
    """Tag → what of the looked-at files is amiss; tags with nothing amiss may be left out."""

    @property
    def answering(self) -> frozenset[str]:
        """The names of the schedds that answered; jobsub may name a schedd by its machine."""
        names = set()
        for schedd, clusters in self.queues.items():
            names |= {schedd, schedd.rpartition("@")[2], *(each.machine for each in clusters)}
        return frozenset(names)

    @property
    def live(self) -> Mapping[str, int]:
        """Tag → jobs of it that run or may run; tags without any are left out."""
        found: dict[str, int] = {}
        for clusters in self.queues.values():
            for each in clusters:
                found[each.tag] = found.get(each.tag, 0) + each.live
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What one comparison found."""

    disagreements: tuple[Disagreement, ...]
    submissions: int
    files: int
    """Accepted files that were looked at."""
    accepted: int
    """Accepted files that there were to look at."""
    no_answer: tuple[str, ...]
    """A sentence on each schedd and area that gave no answer."""
    given_back: tuple[str, ...] = ()
    """A sentence on each submission whose room was given back: no queue has the jobs, and nobody waits."""


def compare(
    ledger: Ledger,
    pool: Pool,
    storage: Storage,
    *,
    dag_id: str | None = None,
    now: float,
    limit_s: float,
    runs: Runs | None = None,
) -> Comparison:
    """Hold what the ledger says of the submissions of the last week against queues and storage.

    Room of jobs that no queue has is given back where nobody waits for them. Without `runs` that is known of
    no more than what was removed on purpose. LedgerError or PoolError if the ledger or the collector gives no
    answer.
    """
    queues, silent = _queues(pool)
    # After the queues: what was submitted meanwhile is then seen as new, not as missing.
    since = now - LOOK_BACK_S
    sent = ledger.oversight(since=since, dag_id=dag_id, in_flight=True)
    facts = [fact for fact in sent if fact.state_at >= since]
    files = look(ledger, storage, facts, since=since, most=MOST_FILES, dag_id=dag_id)
    seen = Seen(queues=queues, stored=files.stored)
    found = disagreements(facts, seen, now=now, limit_s=limit_s)
    leaks = leaked(sent, seen, now=now, limit_s=limit_s)
    doubtful = {each.tag for each in found if each.topic is Topic.COUNTS} | set(leaks)
    asked = [fact for fact in sent if fact.tag in doubtful]
    # Somebody ended those clusters on purpose: no wait is to bring their counts up to date.
    removals = ledger.actions(dag_id, kind=ActionKind.REMOVE) if asked else ()
    ended = given_up(removals, asked) - seen.live.keys()
    owners = owners_of(ledger, asked, runs) if runs is not None else {}
    settled = ended | _past_clearing(owners, seen)
    return Comparison(
        disagreements=tuple(
            each for each in found if each.topic is not Topic.COUNTS or each.tag not in settled
        ),
        submissions=len(facts),
        files=files.looked_at,
        accepted=files.accepted,
        no_answer=(*silent, *files.no_answer),
        given_back=_give_back(ledger, asked, leaks, owners, ended),
    )


def _queues(pool: Pool) -> tuple[dict[str, tuple[TaggedCluster, ...]], list[str]]:
    """Return what each schedd's queue has, and a sentence on each schedd that gave no answer."""
    queues, silent = {}, []
    for schedd in pool.schedds():
        try:
            queues[schedd] = pool.tagged(schedd)
        except PoolError as error:
            silent.append(f"{schedd} gives no answer: {error}")
    return queues, silent


def _past_clearing(owners: Mapping[str, Owner], seen: Seen) -> frozenset[str]:
    """Return the tags of which no job is left, and no wait that somebody could clear."""
    live = seen.live
    return frozenset(tag for tag, owner in owners.items() if owner.is_gone and tag not in live)


def disagreements(
    facts: Iterable[SubmissionFacts], seen: Seen, *, now: float, limit_s: float
) -> tuple[Disagreement, ...]:
    """Return what has been seen differently for longer than `limit_s`, longest first."""
    queued: dict[str, list[TaggedCluster]] = {}
    for clusters in seen.queues.values():
        for each in clusters:
            queued.setdefault(each.tag, []).append(each)
    names = seen.answering
    found = [
        each
        for fact in facts
        for each in (
            *_with_pool(fact, queued.get(fact.tag, []), names, now=now),
            *_with_storage(fact, seen.stored.get(fact.tag)),
        )
    ]
    return tuple(
        sorted(
            (each for each in found if now - each.since > limit_s), key=lambda each: (each.since, each.tag)
        )
    )


def leaked(facts: Iterable[SubmissionFacts], seen: Seen, *, now: float, limit_s: float) -> dict[str, int]:
    """Return tag → jobs in the queues, of what was not polled for longer than the limit while more count.

    Nothing is said of a submission with a schedd that gives no answer.
    """
    live, answering = seen.live, seen.answering
    return {
        fact.tag: live.get(fact.tag, 0)
        for fact in facts
        if fact.state is SubmissionState.SUBMITTED
        and fact.jobs_open > live.get(fact.tag, 0)
        and now - fact.seen_at > max(limit_s, LEAST_S)
        and answering.issuperset(schedd for schedd, _, _ in fact.clusters)
    }


def _give_back(
    ledger: Ledger,
    facts: Iterable[SubmissionFacts],
    leaks: Mapping[str, int],
    owners: Mapping[str, Owner],
    ended: Collection[str],
) -> tuple[str, ...]:
    """Give back the room of those leaks that nobody waits for; return a sentence on each.

    Where Airflow was not asked, or gave no answer, that is known only of what somebody removed.
    """
    said = []
    for fact in facts:
        owner = owners.get(fact.tag)
        if owner is not None and owner.run is not None:
            why = nobody_waits(fact, owner)
        else:
            why = "its cluster was removed" if fact.tag in ended else ""
        if fact.tag in leaks and why:
            live = leaks[fact.tag]
            freed = ledger.give_back(fact.tag, jobs=live, polled_at=fact.seen_at)
            if freed:
                counted = f"{fact.jobs_open} jobs counted as being in flight, the queues have {live}"
                said.append(f"{fact.tag}: {counted}, and {why}: {freed} count no longer")
    return tuple(said)


def _with_pool(
    fact: SubmissionFacts, queued: list[TaggedCluster], answering: frozenset[str], *, now: float
) -> Iterator[Disagreement]:
    live = sum(each.live for each in queued)
    if fact.state is SubmissionState.SUBMITTED:
        doubles = [each for each in queued if each.live and not _has(fact, each)]
        for each in doubles:
            yield _double(fact, each, now=now)
        yield from _of_sent(fact, live - sum(each.live for each in doubles), answering)
    elif live:
        since = max(fact.state_at, min((each.queued_at or now for each in queued), default=now))
        where = ", ".join(str(each.id) for each in queued)
        yield _said(
            fact,
            Topic.QUEUE,
            since,
            ledger=f"that it is {fact.state} since {moment(fact.state_at)}",
            other=f"the queue has {live} of its jobs: {where}",
            advice="`prodsys orphans` says whether something waits for them; clear its check to judge anew",
        )
    elif fact.state is SubmissionState.INTENDED:
        # While it waits for room it asks every minute, and once it has room it is being sent.
        since = max(fact.state_at, fact.asked_at)
        if now - since <= LEAST_S:
            return
        yield _said(
            fact,
            Topic.INTENT,
            since,
            ledger="that it was intended, with no cluster",
            other=f"no queue of {len(answering)} schedds has its tag",
            advice="clear its submit or recover task: it searches the tag everywhere before it sends",
        )


def _has(fact: SubmissionFacts, cluster: TaggedCluster) -> bool:
    return any(cluster.is_cluster(schedd, number) for schedd, number, _ in fact.clusters)


def _double(fact: SubmissionFacts, cluster: TaggedCluster, *, now: float) -> Disagreement:
    """Tell of a cluster that the ledger has not, while it waits for others with the tag."""
    names = ", ".join(f"{number}@{schedd}" for schedd, number, _ in fact.clusters)
    return _said(
        fact,
        Topic.QUEUE,
        max(fact.state_at, cluster.queued_at or now),
        ledger=f"that its clusters are {names}",
        other=f"the queue has {cluster.live} jobs of cluster {cluster.id} with its tag too",
        advice=f"see who submitted it; `prodsys orphans {cluster.id} --remove` ends it",
    )


def _of_sent(fact: SubmissionFacts, live: int, answering: frozenset[str]) -> Iterator[Disagreement]:
    """Compare a submission whose jobs the ledger waits for."""
    last, seen_at = fact.last, fact.seen_at
    counted = fact.jobs if last is None else last.idle + last.running + last.held
    silent = sorted({schedd for schedd, _, _ in fact.clusters} - answering)
    if silent:
        yield _said(
            fact,
            Topic.SILENT,
            seen_at,
            ledger=f"{counted} of {fact.jobs} jobs in the queue at {moment(seen_at)}",
            other=f"{', '.join(silent)} gives no answer",
            advice="see `condor_status -schedd`; the wait goes on by itself once it answers",
        )
    elif live != counted:
        yield _said(
            fact,
            Topic.COUNTS,
            seen_at,
            ledger=f"{counted} of {fact.jobs} jobs in the queue at {moment(seen_at)}",
            other=f"the queue has {live} now",
            advice="nothing polls it: clear its wait task",
        )
    elif last is not None and last.unknown and fact.steady_since is not None:
        yield _said(
            fact,
            Topic.UNKNOWN,
            fact.steady_since,
            ledger=f"{last.unknown} of {fact.jobs} jobs unknown",
            other="neither queue nor history has them",
            advice=IF_UNKNOWN,
        )
    elif last is not None and not live and fact.open_units and fact.steady_since is not None:
        yield _said(
            fact,
            Topic.JUDGED,
            fact.steady_since,
            ledger=f"{fact.open_units} of its processes are not judged",
            other=f"all {fact.jobs} jobs have ended",
            advice="clear its check task",
        )


def _with_storage(fact: SubmissionFacts, stored: StoredFiles | None) -> Iterator[Disagreement]:
    if stored is None:
        return
    if stored.lost:
        names = ", ".join(each.path for each in stored.lost[:SHOWN])
        yield _said(
            fact,
            Topic.LOST,
            max(each.since for each in stored.lost),
            ledger=f"{stored.looked_at} accepted files were looked at",
            other=f"the storage lacks {len(stored.lost)} of them or has them in another size: {names}",
            advice="find who changed the area; nothing was removed by prodsys, or the ledger would say so",
        )
    if stored.stray:
        yield _said(
            fact,
            Topic.STRAY,
            stored.stray_since,
            ledger=f"outputs of {stored.known} executions",
            other=f"the storage has {len(stored.stray)} more: {', '.join(stored.stray[:SHOWN])}",
            advice="clear its check task: it looks at what came late",
        )


def _said(
    fact: SubmissionFacts, topic: Topic, since: float, *, ledger: str, other: str, advice: str
) -> Disagreement:
    return Disagreement(topic=topic, tag=fact.tag, since=since, ledger=ledger, other=other, advice=advice)
