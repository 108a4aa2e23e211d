"""What a recovery sends: units for the chosen subruns, renumbered; for a merge, groups planned anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.merge.planner import merge_units, plan_groups
from include.recovery.standing import units_now

if TYPE_CHECKING:
    from collections.abc import Collection

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import Slice, Unit
    from include.campaign.plan import CampaignPlan, StagePlan


def recovery_units(
    ledger: Ledger,
    plan: CampaignPlan,
    stage: StagePlan,
    item: Slice,
    *,
    subruns: Collection[int],
    tag: str,
    now: float,
) -> tuple[Unit, ...]:
    """Return what `tag` is to make of `subruns`, by the inputs that are there now; a merge's is pinned."""
    if stage.merge is not None:
        return _merged_units(ledger, plan, stage, item, subruns=subruns, tag=tag, now=now)
    return units_now(ledger, plan, stage, item, subruns=sorted(subruns), lost_are_refused=False)


def _merged_units(
    ledger: Ledger,
    plan: CampaignPlan,
    stage: StagePlan,
    item: Slice,
    *,
    subruns: Collection[int],
    tag: str,
    now: float,
) -> tuple[Unit, ...]:
    """Plan merged files of what is in none yet: contiguous and in order, as the first plan does."""
    merge = stage.merge
    if merge is None:
        return ()
    files = ledger.accepted_outputs(
        experiment=plan.experiment, run=item.run, stage=merge.of_stage, name=merge.of_output
    )
    # A plan that was pinned for a submission that was never intended is planned anew.
    groups = ledger.plan_merge(
        experiment=plan.experiment,
        run=item.run,
        stage=stage.name,
        tag=tag,
        groups=plan_groups(
            [file for file in files if file.first_subrun in subruns],
            expected_first=item.first_subrun,
            expected_last=item.first_subrun + item.subruns - 1,
            target_bytes=merge.target_bytes,
        ),
        now=now,
    )
    return merge_units(groups)
