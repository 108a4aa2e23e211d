"""What prodsys does by itself about held jobs, class by class; docs/recovery.md."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from include.batch.pool import ClusterId
from include.bookkeeping.places import Places
from include.bookkeeping.records import ActionRecord
from include.campaign.states import ActionKind, HoldAction, JobStatus, Outcome
from include.checks.verdict import Verdict
from include.errors import JobsUnreachable, PoolError, ScheddUnreachable
from include.recovery.decision import GROWTH, HEADROOM
from include.recovery.review import ads_of, answers_of, patience_s
from include.triage.classify import removal_reason
from include.triage.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from include.batch.pool import JobAd, Pool
    from include.bookkeeping.records import Submission
    from include.campaign.plan import StagePlan
    from include.recovery.review import Tools
    from include.triage.failure import Diagnosis

log = logging.getLogger(__name__)

WHO = "prodsys"
GROUPS_SHOWN = 12
AGAIN_S = 60.0
"""What a schedd gave no answer to is tried again after this, ever more rarely."""


NO_LOOKS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What was done about a submission's held jobs."""

    released: int
    removed: int
    left: int
    """Still held: a person must act, or the pause of their class is not over."""
    lines: tuple[str, ...]
    """The story for the task's log."""
    again_s: tuple[tuple[str, float], ...] = ()
    """`CLUSTER@SCHEDD` → after how many seconds held jobs of it are to be looked at again."""
    left_by: tuple[tuple[str, int], ...] = ()
    """How many are left in each cluster, by `CLUSTER@SCHEDD`."""
    silent: tuple[str, ...] = ()
    """Clusters whose schedd gave no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """What is to be done about one held job, now or after a while."""

    ad: JobAd
    diagnosis: Diagnosis
    action: HoldAction
    due_s: float
    """Seconds until it is done; 0: now."""
    memory_mb: int | None = None
    remark: str = ""

    @property
    def is_due(self) -> bool:
        """Whether prodsys does it by itself, and now."""
        return self.action is not HoldAction.PERSON and self.due_s <= 0


@dataclass(slots=True, kw_only=True)
class _Done:
    """What came of the acts that were due."""

    released: int = 0
    removed: int = 0
    unacted: list[_Step] = field(default_factory=list)
    """Their schedd gave no answer."""
    silent: dict[str, str] = field(default_factory=dict)
    """Schedd → why."""


def handle_holds(
    tools: Tools, stage: StagePlan, submission: Submission, *, looks: Mapping[str, int] = NO_LOOKS
) -> Handled:
    """Release, remove or leave each held job of the submission.

    Jobs on a schedd that gives no answer are left for a later look, the later the more `looks` in a row, by
    cluster, were made for them in vain. PoolError where a schedd denies an act.
    Each act is in the ledger before it happens. Acting twice is harmless: only a job that is held is
    released or removed, and however often one hold is acted on, it counts as one release.
    """
    now = tools.clock()
    ads, silent = answers_of(tools.pool, submission)
    unseen = frozenset(silent)
    held = _held(submission, ads)
    if not held and not silent:
        return Handled(released=0, removed=0, left=0, lines=("no job is held any more",))
    failures = [_failure(stage, submission, ad) for ad in held.values()]
    releases = tools.ledger.releases(submission.tag)
    steps = [
        _step(stage, submission, held[diagnosis.failure.job_id], diagnosis, releases=releases, now=now)
        for diagnosis in tools.triage.diagnose(failures)
    ]
    done = _do(tools, submission, [step for step in steps if step.is_due], now=now)
    silent |= done.silent
    later = [step for step in steps if not step.is_due]
    left_by = Counter(_cluster(step.ad) for step in (*later, *done.unacted))
    # What is held there is not known: none of it is news before the next look.
    left_by.update({_name(schedd, n): jobs for schedd, n, jobs in submission.clusters if schedd in unseen})
    mute = [_name(schedd, number) for schedd, number, _ in submission.clusters if schedd in silent]
    passed = {id(step) for step in done.unacted}
    return Handled(
        released=done.released,
        removed=done.removed,
        left=len(later) + len(done.unacted),
        again_s=_again_s(later, {name: patience_s(AGAIN_S, looks.get(name, 0)) for name in mute}),
        lines=(
            *_lines([step for step in steps if id(step) not in passed]),
            *(f"{why} Its held jobs are looked at again when it answers." for why in silent.values()),
        ),
        left_by=tuple(sorted(left_by.items())),
        silent=tuple(mute),
    )


def _again_s(later: Sequence[_Step], mute: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return when to look again at each cluster: at its first pause that ends, or, if `mute`, after that."""
    times = [(_cluster(step.ad), step.due_s) for step in later if step.action is not HoldAction.PERSON]
    found: dict[str, float] = {}
    for name, seconds in (*times, *mute.items()):
        found[name] = min(seconds, found.get(name, seconds))
    return tuple(sorted(found.items()))


def _do(tools: Tools, submission: Submission, due: Sequence[_Step], *, now: float) -> _Done:
    """Do what is due, each class in one call a schedd, once the ledger has it."""
    done, denied = _Done(), list[PoolError]()
    for group in _grouped(due):
        first = group[0]
        kind = ActionKind.REMOVE if first.action is HoldAction.REMOVE else ActionKind.RELEASE
        tools.ledger.record_actions(_actions(submission, kind, group, now=now))
        try:
            jobs = _act(tools.pool, group)
        except ScheddUnreachable as error:
            done.silent[first.ad.schedd] = str(error)
            done.unacted += group
            continue
        except PoolError as error:
            denied.append(error)
            continue
        if kind is ActionKind.REMOVE:
            done.removed += jobs
        else:
            done.released += jobs
    if denied:
        raise denied[0]  # once all else is done
    return done


def _act(pool: Pool, group: Sequence[_Step]) -> int:
    """Remove or release jobs that are alike, in one call; return of how many that was true."""
    first = group[0]
    jobs = [(step.ad.cluster, step.ad.process) for step in group]
    if first.action is HoldAction.REMOVE:
        # One reason a call: what held the first is said of all, and they are of one class.
        return pool.remove_jobs(first.ad.schedd, jobs, reason=removal_reason(first.diagnosis))
    reason = f"prodsys: {first.diagnosis.cause}"
    return pool.release_jobs(first.ad.schedd, jobs, reason=reason, memory_mb=first.memory_mb)


def _cluster(ad: JobAd) -> str:
    return _name(ad.schedd, ad.cluster)


def _name(schedd: str, cluster: int) -> str:
    return str(ClusterId(schedd=schedd, cluster=cluster))


def remove_all_held(
    tools: Tools, stage: StagePlan, submission: Submission, *, who: str, decided_at: float
) -> int:
    """Remove the submission's held jobs, whatever their class, because `who` decided so; return how many.

    Those that were not held yet at `decided_at`, epoch seconds, are others than those that `who` knew of.
    JobsUnreachable where a schedd gives no answer.
    """
    now_held = _held(submission, ads_of(tools.pool, submission))
    held = {name: ad for name, ad in now_held.items() if (ad.status_since or decided_at + 1) <= decided_at}
    if later := len(now_held) - len(held):
        log.warning(
            "%s: %d held jobs are left: by their schedd's clock they were not held yet when %s decided",
            submission.tag, later, who,
        )  # fmt: skip
    failures = [_failure(stage, submission, ad) for ad in held.values()]
    alike: dict[tuple[str, str], list[JobAd]] = defaultdict(list)
    reasons: dict[str, str] = {}
    for diagnosis in tools.triage.diagnose(failures):
        ad = held[diagnosis.failure.job_id]
        alike[ad.schedd, diagnosis.rule].append(ad)
        reasons.setdefault(diagnosis.rule, removal_reason(diagnosis))
    removed = 0
    for (schedd, rule), ads in alike.items():
        reason = reasons[rule]
        detail = f"remove {len(ads)} held jobs: {reason}"
        tools.ledger.record_action(
            _record(submission, ActionKind.REMOVE, ads, detail=detail, who=who, now=decided_at)
        )
        jobs = [(ad.cluster, ad.process) for ad in ads]
        try:
            removed += tools.pool.remove_jobs(schedd, jobs, reason=reason)
        except ScheddUnreachable as error:
            raise JobsUnreachable(f"{submission.tag}: {error}", tag=submission.tag) from error
    return removed


def _held(submission: Submission, ads: Sequence[JobAd]) -> dict[str, JobAd]:
    """Return id → ad of the submission's held jobs.

    A schedd that lost its queue gives cluster numbers out again: jobs without this tag are somebody else's.
    """
    return {ad.job_id: ad for ad in ads if ad.status is JobStatus.HELD and ad.tag == submission.tag}


def _failure(stage: StagePlan, submission: Submission, ad: JobAd) -> Failure:
    place = Places(submission).unit_of(schedd=ad.schedd, cluster=ad.cluster, process=ad.process)
    unit = submission.units[0 if place is None else place]
    reason = f"held with code {ad.hold_code}/{ad.hold_subcode}: {ad.hold_reason or ''}"
    return Failure(
        stage=stage.name,
        run=submission.run,
        process=unit.process,
        first_subrun=unit.first_subrun,
        last_subrun=unit.last_subrun,
        job_id=ad.job_id,
        verdict=Verdict(check="exit", outcome=Outcome.FAILED, reason=reason, evidence=f"ad of {ad.job_id}"),
        ad=ad,
        report=None,
        log="",
        held=True,
        requested_memory_mb=ad.requested_memory_mb
        or submission.changes.memory_mb
        or stage.resources.memory_mb,
        lifetime_s=submission.changes.lifetime_s or stage.resources.lifetime_s,
    )


def _step(
    stage: StagePlan,
    submission: Submission,
    ad: JobAd,
    diagnosis: Diagnosis,
    *,
    releases: Mapping[str, Sequence[float]],
    now: float,
) -> _Step:
    """Return what the class of the hold asks for, within the spec's limits."""
    action, most = diagnosis.hold, stage.recovery.releases
    # What was intended for this very hold, before a crash, is to be done still.
    times = set(releases.get(ad.job_id, ()))
    begun = ad.status_since is not None and float(ad.status_since) in times
    done = len(times) - begun
    memory, remark = None, ""
    if action in (HoldAction.RELEASE, HoldAction.RELEASE_MORE_MEMORY) and done >= most:
        action, remark = HoldAction.REMOVE, f"released {done} times already"
    if action is HoldAction.RELEASE_MORE_MEMORY:
        has, planned = ad.requested_memory_mb or 0, submission.changes.memory_mb or stage.resources.memory_mb
        # Raised already, and it was only the release that was lost.
        raised = begun and has > max(planned, ad.memory_mb or 0)
        memory = has if raised else _more_memory(stage, submission, ad)
        if memory is None:
            # The recovery that would need more asks a person at once; a hold would wait for its limit.
            action, remark = HoldAction.REMOVE, "its memory is at the cap of the spec's `recovery`"
    pause = max(diagnosis.hold_pause_s, stage.hold_pause_s)
    since = now if ad.status_since is None else float(ad.status_since)
    return _Step(
        ad=ad,
        diagnosis=diagnosis,
        action=action,
        due_s=min(pause, max(0.0, since + pause - now)),  # the schedd's clock may be ahead of ours
        memory_mb=memory,
        remark=remark,
    )


def _more_memory(stage: StagePlan, submission: Submission, ad: JobAd) -> int | None:
    """Return the memory to release a job with; None where the cap leaves no room."""
    own = stage.resources.memory_mb
    have = ad.requested_memory_mb or submission.changes.memory_mb or own
    cap = stage.recovery.max_memory_mb
    most = 2 * own if cap is None else cap
    raised = min(most, max(round(have * GROWTH), round((ad.memory_mb or 0) * HEADROOM)))
    # Less than what it is known to use would only be held again.
    return raised if raised > max(have, ad.memory_mb or 0) else None


def _grouped(steps: Sequence[_Step]) -> list[list[_Step]]:
    """Return steps that one call to a schedd does; each class by itself, for the reason that is given."""
    found: dict[tuple[HoldAction, str, int | None, str], list[_Step]] = defaultdict(list)
    for step in steps:
        found[step.action, step.ad.schedd, step.memory_mb, step.diagnosis.rule].append(step)
    return list(found.values())


def _actions(
    submission: Submission, kind: ActionKind, group: Sequence[_Step], *, now: float
) -> list[ActionRecord]:
    """Return one record a job, dated by its hold: the same act is the same record."""
    with_memory = f" with {group[0].memory_mb} MB" if group[0].memory_mb is not None else ""
    return [
        _record(
            submission,
            kind,
            [step.ad],
            detail=f"{kind.value} a held job{with_memory}: {_why(step.diagnosis)}",
            who=WHO,
            now=float(step.ad.status_since or now),
        )
        for step in group
    ]


def _why(diagnosis: Diagnosis) -> str:
    return f"{diagnosis.cause} ({diagnosis.evidence})"


def _record(
    submission: Submission, kind: ActionKind, ads: Sequence[JobAd], *, detail: str, who: str, now: float
) -> ActionRecord:
    return ActionRecord(
        at=now,
        who=who,
        kind=kind,
        dag_id=submission.dag_id,
        tranche=submission.tranche,
        run=submission.run,
        stage=submission.stage,
        tag=submission.tag,
        detail=detail,
        jobs=tuple(ad.job_id for ad in ads),
    )


def _lines(steps: Sequence[_Step]) -> list[str]:
    grouped: dict[tuple[str, str], list[_Step]] = defaultdict(list)
    for step in steps:
        grouped[_what(step), step.diagnosis.rule or step.diagnosis.signature].append(step)
    lines = []
    for (what, _), group in sorted(grouped.items(), key=lambda item: -len(item[1]))[:GROUPS_SHOWN]:
        first, cause = group[0], group[0].diagnosis.cause
        lines += [
            f"{len(group)} held jobs, {what}: {cause}",
            f"    example: job {first.ad.job_id}; evidence: {first.diagnosis.evidence}",
        ]
        if first.action is HoldAction.PERSON:
            lines.append(f"    to do: {first.diagnosis.advice}")
    if len(grouped) > GROUPS_SHOWN:
        lines.append(f"and {len(grouped) - GROUPS_SHOWN} rarer kinds")
    return lines


def _what(step: _Step) -> str:
    remark = f" ({step.remark})" if step.remark else ""
    if step.action is HoldAction.PERSON:
        return f"left for a person{remark}"
    soon = " after the pause" if step.due_s > 0 else ""
    if step.action is HoldAction.REMOVE:
        return f"removed{soon}, to be recovered{remark}"
    memory = f" with {step.memory_mb} MB" if step.memory_mb is not None else ""
    return f"released{soon}{memory}{remark}"
