"""An experiment's own checks of a whole stage, or of a whole dag_run, on what the ledger has accepted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from include.campaign.states import OutputState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import OutputRecord, Slice
    from include.campaign.plan import CampaignPlan, StagePlan
    from include.campaign.states import Outcome
    from include.checks.wide import WideVerdict

log = logging.getLogger(__name__)


def stage_verdicts(
    ledger: Ledger, plan: CampaignPlan, stage: StagePlan, item: Slice
) -> tuple[WideVerdict, ...]:
    """Run the checks of scope stage on one stage of a slice; empty where the spec has none.

    They are not asked again once cleanup has taken files that they would be asked about.
    """
    if not any(check.scope == "stage" for check in stage.user_checks):
        return ()
    from include.checks.wide import judge_stage_checks

    accepted = ledger.accepted_outputs(
        experiment=plan.experiment, run=item.run, stage=stage.name, removed=True
    )
    if gone := sum(output.state is not OutputState.ACCEPTED for output in accepted):
        log.info(
            "%s, run %d: its own checks are not asked again: cleanup took %d files",
            stage.name,
            item.run,
            gone,
        )
        return ()
    sent = ledger.submissions(item.dag_id, item.tranche, run=item.run, stage=stage.name)
    return judge_stage_checks(
        plan,
        stage,
        run=item.run,
        submissions=sent,
        accepted=accepted,
        executions=[execution for each in sent for execution in ledger.executions(each.tag)],
    )


def campaign_verdicts(ledger: Ledger, plan: CampaignPlan, tranche: str) -> tuple[WideVerdict, ...]:
    """Run the checks of scope campaign on what a dag_run has made; empty where the spec has none."""
    if not plan.campaign_checks:
        return ()
    from include.checks.wide import judge_campaign_checks

    sent = ledger.submissions(plan.dag_id, tranche)
    accepted: list[OutputRecord] = []
    for item in ledger.slices_of(plan.dag_id, tranche):
        for stage in plan.stages:
            accepted += ledger.accepted_outputs(
                experiment=plan.experiment, run=item.run, stage=stage.name, removed=True
            )
    return judge_campaign_checks(
        plan,
        tranche=tranche,
        submissions=sent,
        accepted=accepted,
        executions=[execution for each in sent for execution in ledger.executions(each.tag)],
    )


def said(verdicts: Iterable[WideVerdict], outcome: Outcome) -> str:
    """Return what the checks with this outcome said, in one sentence; empty where none has it."""
    found = [each.verdict for each in verdicts if each.verdict.outcome is outcome]
    return "; ".join(
        f"the check {verdict.check} of the experiment says {outcome}: {verdict.reason}"
        + (f" ({verdict.evidence})" if verdict.evidence else "")
        for verdict in found
    )
