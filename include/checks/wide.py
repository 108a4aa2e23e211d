"""Checks of the experiment's own that look at all jobs of a stage, or of a campaign, at once."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from include.campaign.states import Outcome
from include.checks.documents import describe, head, jobs_part
from include.checks.user import Answer, ask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from include.bookkeeping.records import ExecutionRecord, OutputRecord, Submission, Unit
    from include.campaign.plan import CampaignPlan, StagePlan, UserCheckPlan
    from include.checks.documents import Described
    from include.checks.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class JobVerdict:
    """A wide check's word on one job."""

    tag: str
    unit: Unit
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class WideVerdict:
    """What a check of scope stage or campaign found."""

    scope: str
    """`stage` or `campaign`."""
    verdict: Verdict
    """On all of it."""
    jobs: tuple[JobVerdict, ...]
    """On those jobs of which the check says something by itself."""


def judge_stage_checks(
    plan: CampaignPlan,
    stage: StagePlan,
    *,
    run: int,
    submissions: Sequence[Submission],
    accepted: Sequence[OutputRecord],
    executions: Sequence[ExecutionRecord] = (),
) -> tuple[WideVerdict, ...]:
    """Run the stage's own checks of scope stage on what one slice has accepted.

    `submissions` are the stage's in this slice, recoveries too; `accepted` are its accepted outputs, and
    `executions` those that the submissions' jobs reported. Nothing is written to the ledger.
    """
    checks = [check for check in stage.user_checks if check.scope == "stage"]
    tag = submissions[0].tag if submissions else ""
    told = {"stage": stage.name, "run": run, "tag": tag}
    return _judge(plan, checks, told, submissions, accepted, executions, values={"run": run})


def judge_campaign_checks(
    plan: CampaignPlan,
    *,
    tranche: str,
    submissions: Sequence[Submission],
    accepted: Sequence[OutputRecord],
    executions: Sequence[ExecutionRecord] = (),
) -> tuple[WideVerdict, ...]:
    """Run the checks of scope campaign on what one dag_run has accepted, all stages and slices."""
    told = {"dag_run": tranche}
    return _judge(plan, plan.campaign_checks, told, submissions, accepted, executions, values={})


def _judge(
    plan: CampaignPlan,
    checks: Sequence[UserCheckPlan],
    told: Mapping[str, Any],
    submissions: Sequence[Submission],
    accepted: Sequence[OutputRecord],
    executions: Sequence[ExecutionRecord],
    *,
    values: Mapping[str, int],
) -> tuple[WideVerdict, ...]:
    if not checks:
        return ()
    jobs = describe(submissions, accepted, executions)
    with tempfile.TemporaryDirectory(prefix="prodsys-check-") as scratch:
        part = jobs_part(jobs, scratch=scratch)
        return tuple(
            _placed(check, ask(plan, check, {**head(plan, check), **told, **part}, values), jobs)
            for check in checks
        )


def _placed(check: UserCheckPlan, answer: Answer, jobs: Sequence[Described]) -> WideVerdict:
    """Find the jobs that an answer names; one that names others has no say."""
    known: dict[tuple[str, int], list[Described]] = {}
    for job in jobs:
        for tag in (job.tag, ""):
            known.setdefault((tag, job.unit.process), []).append(job)
    named = []
    for item in answer.jobs:
        found = known.get((item.tag, item.process), [])
        if len(found) != 1:
            what = (
                "which it was not told of"
                if not found
                else "of which there are several: it must give the tag"
            )
            reason = f"{check.name} names a wrong job: process {item.process}, {what}"
            verdict = replace(answer.verdict, outcome=Outcome.UNKNOWN, reason=reason, evidence="")
            return WideVerdict(scope=check.scope, verdict=verdict, jobs=())
        named.append(JobVerdict(tag=found[0].tag, unit=found[0].unit, verdict=item.verdict))
    return WideVerdict(scope=check.scope, verdict=answer.verdict, jobs=tuple(named))
