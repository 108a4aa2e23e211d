"""Plan the merged files of one slice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from include.campaign.wording import spans
from include.crash_points import reached
from prodsys_operators.scope import Scope, SliceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.bookkeeping.records import MergeGroup
    from include.campaign.plan import MergePlan


class PlanMergeOperator(SliceOperator):
    """Groups the accepted files of a run: contiguous, in order, no subrun split, a hole ends a group."""

    ui_color = "#f3ddf0"

    def execute(self, context: Context) -> list[dict[str, int]]:
        """Pin the groups in the ledger and return them, one object a merged file."""
        with self.scope(context) as scope:
            merge = scope.plan.stage(self.stage).merge
            if merge is None:
                raise AirflowFailException(
                    f"{self.stage} is not a merge in the plan that this dag_run began with"
                )
            groups = scope.ledger.merge_groups(scope.tag(self.stage)) or self.plan_now(scope, merge)
            reached("merge.planned")
            self.tell(scope, merge, groups)
        return [
            {
                "process": group.process,
                "first_subrun": group.first_subrun,
                "last_subrun": group.last_subrun,
                "inputs": len(group.inputs),
                "bytes": group.bytes,
            }
            for group in groups
        ]

    def plan_now(self, scope: Scope, merge: MergePlan) -> tuple[MergeGroup, ...]:
        """Group what is accepted, and pin the groups."""
        from include.merge.planner import plan_groups

        first = scope.slice.first_subrun
        groups = plan_groups(
            scope.accepted(merge.of_stage, output=merge.of_output),
            expected_first=first,
            expected_last=first + scope.slice.subruns - 1,
            target_bytes=merge.target_bytes,
        )
        if not groups:
            raise AirflowFailException(
                f"run {scope.slice.run}: {merge.of_stage} has no accepted file to merge"
            )
        return scope.ledger.plan_merge(
            experiment=scope.plan.experiment,
            run=scope.slice.run,
            stage=self.stage,
            tag=scope.tag(self.stage),
            groups=groups,
            now=time.time(),
        )

    def tell(self, scope: Scope, merge: MergePlan, groups: tuple[MergeGroup, ...]) -> None:
        """Log the groups, and each subrun that is in none with its reason."""
        for group in groups:
            self.log.info(
                "run %d, file %d: subruns %d..%d, %d inputs, %.1f MB",
                scope.slice.run,
                group.process,
                group.first_subrun,
                group.last_subrun,
                len(group.inputs),
                group.bytes / 1e6,
            )
        first = scope.slice.first_subrun
        grouped = {subrun for group in groups for subrun in range(group.first_subrun, group.last_subrun + 1)}
        accepted = {
            output.first_subrun
            for output in scope.accepted(merge.of_stage, output=merge.of_output, removed=True)
        }
        out = [subrun for subrun in range(first, first + scope.slice.subruns) if subrun not in grouped]
        late = [subrun for subrun in out if subrun in accepted]
        if len(out) > len(late):
            holes = [subrun for subrun in out if subrun not in accepted]
            self.log.warning("not merged, since they have no accepted file: subruns %s", spans(holes))
        if late:
            self.log.warning(
                "accepted after the merge was planned, in no merged file yet: subruns %s; the recover task "
                "of %s merges them",
                spans(late),
                self.stage,
            )
