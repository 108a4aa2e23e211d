"""Plan the merged files of one slice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.errors import LedgerError
from prodsys_operators.scope import SliceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class PlanMergeOperator(SliceOperator):
    """Groups the accepted files of a run: contiguous, in order, no subrun split, a hole ends a group."""

    ui_color = "#f3ddf0"

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Pin the groups in the ledger and return them, one object a merged file."""
        from include.merge.planner import plan_groups

        with self.scope(context) as scope:
            merge = scope.plan.stage(self.stage).merge
            if merge is None:
                raise AirflowFailException(
                    f"{self.stage} is not a merge in the plan that this dag_run began with"
                )
            outputs = scope.accepted(merge.of_stage, output=merge.of_output)
            first = scope.slice.first_subrun
            last = first + scope.slice.subruns - 1
            try:
                groups = plan_groups(
                    outputs, expected_first=first, expected_last=last, target_bytes=merge.target_bytes
                )
                groups = scope.ledger.plan_merge(
                    experiment=scope.plan.experiment,
                    run=scope.slice.run,
                    stage=self.stage,
                    tag=scope.tag(self.stage),
                    groups=groups,
                    now=time.time(),
                )
            except LedgerError as error:
                raise AirflowFailException(str(error)) from error
        if not groups:
            raise AirflowFailException(
                f"run {scope.slice.run}: {merge.of_stage} has no accepted file to merge"
            )
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
        if len(outputs) < scope.slice.subruns:
            have = {output.first_subrun for output in outputs}
            holes = [subrun for subrun in range(first, last + 1) if subrun not in have]
            self.log.warning("subruns not merged, since they have no accepted file: %s", holes)
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
