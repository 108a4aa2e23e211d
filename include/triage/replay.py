"""The past judged again by another set of rules; nothing is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from include.batch.pool import JobAd
from include.campaign.states import JobStatus, Outcome
from include.checks.reported import failed_step
from include.checks.verdict import Verdict
from include.triage.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from include.bookkeeping.records import (
        DiagnosisRecord,
        ExecutionRecord,
        JobRecord,
        OpenVerdict,
        StageDiagnosis,
        Submission,
        VerdictRecord,
    )
    from include.campaign.plan import CampaignPlan
    from include.triage.classify import Triage
    from include.triage.failure import Diagnosis


class Past(Protocol):
    """What a replay asks of the ledger."""

    def jobs(self, tag: str) -> list[JobRecord]:
        """Return the jobs of a submission."""

    def executions(self, tag: str) -> list[ExecutionRecord]:
        """Return the executions of a submission."""

    def open_verdicts(self, dag_id: str, tranche: str) -> list[OpenVerdict]:
        """Return why subruns of a tranche are not accepted."""

    def submission(self, tag: str) -> Submission | None:
        """Return a submission."""

    def plan_of(self, dag_id: str, tranche: str) -> CampaignPlan:
        """Return the plan that a tranche was pinned to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Past failures that the rules judge otherwise now."""

    before: str
    """CATEGORY/RULE and remedy."""
    after: str
    jobs: int
    example: StageDiagnosis
    now: Diagnosis
    """What is said of the example now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a set of rules says of the past."""

    judged: int
    without_log: int
    """Of those: the log is gone, or there never was one."""
    overtaken: int
    """Not judged: a check had found fault with a job that ended well, and its verdict was overtaken since."""
    changes: tuple[Change, ...]
    """Most frequent first."""

    @property
    def changed(self) -> int:
        """Failures that would be judged otherwise."""
        return sum(change.jobs for change in self.changes)


def replay(triage: Triage, ledger: Past, diagnoses: Sequence[StageDiagnosis], *, workers: int = 4) -> Replay:
    """Judge past failures by the rules of `triage`: by what the ledger has, and by logs still there."""
    counted: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], tuple[StageDiagnosis, Diagnosis]] = {}
    judged = missing = 0
    for some, failures in _by_submission(ledger, diagnoses):
        judged += len(some)
        missing += sum(not failure.log for failure in failures)
        for item, now in zip(some, triage.diagnose(failures, workers=workers), strict=True):
            then = item.diagnosis
            key = (named(then), named(now))
            if key[0] != key[1]:
                counted[key] += 1
                first.setdefault(key, (item, now))
    changes = (
        Change(before=key[0], after=key[1], jobs=jobs, example=first[key][0], now=first[key][1])
        for key, jobs in counted.most_common()
    )
    overtaken = len(diagnoses) - judged
    return Replay(judged=judged, without_log=missing, overtaken=overtaken, changes=tuple(changes))


def named(diagnosis: Diagnosis | DiagnosisRecord) -> str:
    """Return what decides about a diagnosis, as replays compare it."""
    rule = f"/{diagnosis.rule}" if diagnosis.rule else ""
    return f"{diagnosis.category}{rule} ({diagnosis.remedy.value})"


def _by_submission(
    ledger: Past, diagnoses: Iterable[StageDiagnosis]
) -> Iterator[tuple[list[StageDiagnosis], list[Failure]]]:
    by_tag: dict[str, list[StageDiagnosis]] = {}
    for item in diagnoses:
        by_tag.setdefault(item.tag, []).append(item)
    verdicts: dict[tuple[str, str], dict[tuple[str, int], VerdictRecord]] = {}
    for tag, some in by_tag.items():
        place = (some[0].dag_id, some[0].tranche)
        if place not in verdicts:
            told = ledger.open_verdicts(*place)
            verdicts[place] = {(each.tag, each.verdict.process): each.verdict for each in told}
        jobs = {f"{job.cluster}.{job.process}@{job.schedd}": job for job in ledger.jobs(tag)}
        logs: dict[tuple[int, int], ExecutionRecord] = {}
        for execution in ledger.executions(tag):
            logs[execution.cluster, execution.process] = execution
        asked = _asked(ledger, some[0])
        known = [(each, _failure(each, jobs, logs, verdicts[place], asked)) for each in some]
        left = [pair for pair in known if _is_told(pair[1])]
        yield [pair[0] for pair in left], [pair[1] for pair in left]


def _asked(ledger: Past, item: StageDiagnosis) -> tuple[int | None, int | None]:
    """Return the memory (MB) and lifetime (s) that the submission's jobs asked for."""
    submission = ledger.submission(item.tag)
    if submission is None:
        return None, None
    own, changes = ledger.plan_of(item.dag_id, item.tranche).stage(item.stage).resources, submission.changes
    return changes.memory_mb or own.memory_mb, changes.lifetime_s or own.lifetime_s


def _is_told(failure: Failure) -> bool:
    """Whether the ledger still says what was wrong: with a job that ended well only a verdict does."""
    ad = failure.ad
    if failure.verdict.reason:
        return True
    if ad is None:
        return bool(failure.log)
    return ad.status is not JobStatus.COMPLETED or ad.exit_code != 0 or ad.exit_signal is not None


def _failure(
    item: StageDiagnosis,
    jobs: dict[str, JobRecord],
    executions: dict[tuple[int, int], ExecutionRecord],
    verdicts: dict[tuple[str, int], VerdictRecord],
    asked: tuple[int | None, int | None],
) -> Failure:
    """Return a past failure as far as the ledger still has it."""
    record = item.diagnosis
    job = jobs.get(record.job_id)
    execution = executions.get((job.cluster, job.process)) if job is not None else None
    verdict = verdicts.get((item.tag, record.process))
    return Failure(
        stage=item.stage,
        run=item.run,
        process=record.process,
        first_subrun=record.first_subrun,
        last_subrun=record.last_subrun,
        job_id=record.job_id,
        verdict=_verdict(record, verdict, error="" if execution is None else execution.error),
        ad=_ad(job, execution) if job is not None else None,
        report=None,
        log=execution.log if execution is not None and _there(execution.log) else "",
        held=job is not None and job.status is JobStatus.HELD,
        requested_memory_mb=asked[0],
        lifetime_s=asked[1],
    )


def _there(path: str) -> bool:
    from pathlib import Path

    try:
        return bool(path) and Path(path).is_file()
    except (OSError, ValueError):
        return False


def _verdict(record: DiagnosisRecord, verdict: VerdictRecord | None, *, error: str) -> Verdict:
    if verdict is not None:
        return Verdict(
            check=verdict.check, outcome=verdict.outcome, reason=verdict.reason, evidence=verdict.evidence
        )
    # Overtaken by a later check or an accepted recovery: how the job ended is still known.
    if step := failed_step(record.exit_code, error):
        reason = step
    elif record.exit_signal is not None:
        reason = f"signal {record.exit_signal} ended the job"
    else:
        reason = f"exit code {record.exit_code} from the job" if record.exit_code else ""
    return Verdict(check="exit", outcome=Outcome.FAILED, reason=reason, evidence=record.evidence)


def _ad(job: JobRecord, execution: ExecutionRecord | None) -> JobAd:
    """Return what an ad would say, from the ledger's row; the script's own end counts before the job's."""
    code, number = job.exit_code, job.exit_signal
    if execution is not None and (execution.exit_code or execution.exit_signal is not None):
        code, number = execution.exit_code, execution.exit_signal
    held, removed = job.status is JobStatus.HELD, job.status is JobStatus.REMOVED
    return JobAd(
        schedd=job.schedd, cluster=job.cluster, process=job.process, global_job_id=job.global_job_id,
        tag=None, status=job.status, exit_code=code, exit_signal=number,
        hold_code=job.hold_code, hold_subcode=job.hold_subcode,
        hold_reason=job.reason if held else None, remove_reason=job.reason if removed else None,
        host=job.host, site=job.site, starts=job.starts, shadow_starts=job.starts,
        queued_at=_whole(job.queued_at), started_at=_whole(job.started_at), ended_at=_whole(job.ended_at),
        status_since=None, wall_s=job.wall_s, cpu_s=job.cpu_s, memory_mb=job.memory_mb,
    )  # fmt: skip


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
