"""Reserve run numbers for a dag_run's slices, and pin its plan."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from include.crash_points import reached
from prodsys_operators.scope import open_ledger, tranche_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.campaign.plan import CampaignPlan


class ReserveOperator(BaseOperator):
    """Gives each slice its run number; the same dag_run always gets the same ones."""

    ui_color = "#dce8f7"

    def __init__(self, *, plan: CampaignPlan, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Context) -> list[dict[str, int]]:
        """Return one `{"index", "run"}` a slice, in order."""
        plan, tranche, asked = self.plan, tranche_of(context), int(context["params"]["slices"])
        with open_ledger() as (_, ledger):
            slices = ledger.reserve(
                plan, tranche=tranche, dag_run_id=context["dag_run"].run_id, slices=asked, now=time.time()
            )
        reached("reserve.reserved")
        self.log.info("plan pinned: %s, sha256 %s", plan.spec_file, plan.spec_sha256[:12])
        return [{"index": item.index, "run": item.run} for item in slices]
