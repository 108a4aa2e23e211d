"""Judge every submission of a stage of a slice, say why what failed did, and record all of it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.campaign.states import SubmissionState, SubrunState
from include.crash_points import reached
from include.errors import JobsUnreachable, ScheddUnreachable
from include.recovery.duplicates import duplicates_of
from include.recovery.node_facts import node_facts
from include.triage.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from include.batch.pool import JobAd, Pool
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import DiagnosisRecord, JobRecord, OutputRecord, Slice, Submission
    from include.campaign.plan import CampaignPlan, StagePlan
    from include.checks.evidence import AreaEvidence, Evidence
    from include.checks.judge import Judgement, UnitJudgement
    from include.triage.classify import Triage
    from include.triage.failure import Diagnosis

log = logging.getLogger(__name__)

LONGEST_PATIENCE_S = 600.0
"""A schedd that answers polls and not what is asked of it is left alone at most so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """One submission after its review."""

    submission: Submission
    judgement: Judgement
    diagnoses: tuple[Diagnosis, ...]
    """Of its units that have no accepted output, and whose jobs cannot make one by themselves."""
    duplicates: tuple[DiagnosisRecord, ...]
    """Why processes left more than one good output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a review works with."""

    ledger: Ledger
    pool: Pool
    triage: Triage
    clock: Callable[[], float]


def review_stage(tools: Tools, plan: CampaignPlan, stage: StagePlan, item: Slice) -> tuple[Reviewed, ...]:
    """Review the stage's submissions in order of recovery; the storage's errors pass through.

    Of a submission that is over by the ledger, the ledger knows the jobs where a schedd gives no answer;
    JobsUnreachable for one that is not.

    The order is the rule by which one of several good outputs is accepted: what was accepted before stays,
    then the earlier submission's, and within one submission that of the execution that ended first.
    """
    sent = [
        submission
        for submission in tools.ledger.submissions(item.dag_id, item.tranche, run=item.run, stage=stage.name)
        if submission.clusters
    ]
    return tuple(_review(tools, plan, stage, submission) for submission in sent)


def _review(tools: Tools, plan: CampaignPlan, stage: StagePlan, submission: Submission) -> Reviewed:
    from include.checks.evidence import read_areas

    ads = ads_to_judge(tools.pool, submission)
    area = read_areas(plan, submission)
    known = tools.ledger.jobs(submission.tag)
    judgement = _judge(tools, plan, stage, submission, ads=ads, area=area, known=known)
    failures = failures_of(stage, submission, judgement)
    diagnoses = tuple(tools.triage.diagnose(failures))
    reviewed = Reviewed(
        submission=submission,
        judgement=judgement,
        diagnoses=diagnoses,
        duplicates=tuple(duplicates_of(judgement)),
    )
    _record(tools, reviewed)
    return reviewed


def ads_to_judge(pool: Pool, submission: Submission) -> list[JobAd]:
    """Return the ads as `ads_of` does; of a submission that is over the ledger knows what no schedd tells."""
    if submission.state is not SubmissionState.ENDED:
        return ads_of(pool, submission)
    ads, silent = answers_of(pool, submission)
    for why in silent.values():
        log.warning("%s is over, its jobs are known from the ledger: %s", submission.tag, why)
    return ads


def ads_of(pool: Pool, submission: Submission) -> list[JobAd]:
    """Return the ads of the submission's jobs, from queue and history; JobsUnreachable without an answer."""
    ads, silent = answers_of(pool, submission)
    if silent:
        raise JobsUnreachable(f"{submission.tag}: {next(iter(silent.values()))}", tag=submission.tag)
    return ads


def answers_of(pool: Pool, submission: Submission) -> tuple[list[JobAd], dict[str, str]]:
    """Return the ads that the submission's schedds give, and schedd → why of each that gives no answer."""
    by_schedd: dict[str, list[int]] = {}
    for schedd, cluster, _ in submission.clusters:
        by_schedd.setdefault(schedd, []).append(cluster)
    ads: list[JobAd] = []
    silent: dict[str, str] = {}
    for schedd, clusters in by_schedd.items():
        try:
            ads += pool.ads(schedd, clusters)
        except ScheddUnreachable as error:
            silent[schedd] = str(error)
    return ads, silent


def patience_s(first_s: float, rounds: int) -> float:
    """Return how long to leave a schedd alone that gave no answer, once `rounds` looks in a row had none."""
    return min(LONGEST_PATIENCE_S, first_s * 2.0 ** min(rounds, 10))


def _judge(
    tools: Tools,
    plan: CampaignPlan,
    stage: StagePlan,
    submission: Submission,
    *,
    ads: Sequence[JobAd],
    area: AreaEvidence,
    known: Sequence[JobRecord],
) -> Judgement:
    from include.checks.judge import judge

    def accepted(name: str, output: str | None = None) -> list[OutputRecord]:
        return tools.ledger.accepted_outputs(
            experiment=plan.experiment, run=submission.run, stage=name, name=output, removed=True
        )

    return judge(
        plan,
        stage,
        submission,
        ads=ads,
        area=area,
        now=tools.clock(),
        known=known,
        accepted=accepted(stage.name),
        # Cleanup may have taken the sources of a merge that is checked again.
        sources=accepted(stage.merge.of_stage, stage.merge.of_output) if stage.merge else (),
    )


def failures_of(stage: StagePlan, submission: Submission, judgement: Judgement) -> list[Failure]:
    """Return what triage is to explain: units proven missing, and held ones."""
    return [
        _failure(stage, submission, unit, evidence)
        for unit, evidence in zip(judgement.units, judgement.gathered.processes, strict=True)
        if unit.state is SubrunState.MISSING or unit.held
    ]


def _failure(stage: StagePlan, submission: Submission, unit: UnitJudgement, evidence: Evidence) -> Failure:
    report = evidence.reports[-1] if evidence.reports else None
    log = report.log if report is not None else ""
    if not log and evidence.unreadable:
        log = f"{evidence.unreadable[-1].folder}/job.log"
    changes, resources = submission.changes, stage.resources
    return Failure(
        stage=stage.name,
        run=submission.run,
        process=unit.process,
        first_subrun=unit.first_subrun,
        last_subrun=unit.last_subrun,
        job_id=unit.job_id,
        verdict=unit.verdicts[-1],
        ad=evidence.ad,
        report=report,
        log=log,
        held=unit.held,
        requested_memory_mb=changes.memory_mb or resources.memory_mb,
        lifetime_s=changes.lifetime_s or resources.lifetime_s,
    )


def _record(tools: Tools, reviewed: Reviewed) -> None:
    from include.triage.classify import to_record

    ledger, now = tools.ledger, tools.clock()
    judgement, tag = reviewed.judgement, reviewed.submission.tag
    reached("check.judged")
    ledger.record_jobs(tag, judgement.jobs)
    ledger.record_executions(tag, judgement.executions)
    ledger.record_outputs(tag, judgement.outputs, now=now)
    reached("check.recorded")
    ledger.settle(
        tag,
        verdicts=judgement.verdicts,
        accept=judgement.accept,
        reject=judgement.reject,
        states=judgement.states,
        now=now,
    )
    reached("check.settled")
    records = [to_record(diagnosis, at=_ended(diagnosis.failure)) for diagnosis in reviewed.diagnoses]
    # Why these had failed before stays true.
    mended = {unit.process for unit in judgement.units if unit.state is SubrunState.ACCEPTED}
    ledger.record_diagnoses(tag, [*records, *reviewed.duplicates], now=now, mended=mended)
    gathered = judgement.gathered
    facts = node_facts(gathered)
    if facts:
        ledger.record_node_facts(facts)
    if gathered.event_logs:
        ledger.record_event_logs(tag, gathered.event_logs)
    if gathered.all_ended:
        ledger.record_ended(tag, now=now)


def _ended(failure: Failure) -> float | None:
    if failure.ad is not None and failure.ad.ended_at is not None:
        return float(failure.ad.ended_at)
    return None if failure.report is None else failure.report.ended
