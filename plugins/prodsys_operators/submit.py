"""Submit one stage of one slice, exactly once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.campaign.wording import spans
from prodsys_operators.admission import AdmissionTrigger, may_send
from prodsys_operators.scope import Scope, SliceOperator
from prodsys_operators.wait import LIMIT

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.bookkeeping.records import Submission, Unit


class SubmitOperator(SliceOperator):
    """Records the intent, waits for room, looks for the tag, submits, records what came back."""

    ui_color = "#f7ecd0"

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the submission's tag, its clusters and its number of jobs."""
        return self.submit(context)

    def resume(self, context: Context, event: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Go on once there is room: nothing is remembered, the ledger knows who is admitted."""
        return self.submit(context)

    def submit(self, context: Context) -> dict[str, Any]:
        """Submit, or wait in the triggerer for room."""
        from prodsys_operators.sending import send

        with self.scope(context) as scope:
            intent = self.intend(scope)
            if not may_send(scope, intent, log=self.log):
                self.defer(trigger=AdmissionTrigger(tag=intent.tag), method_name="resume", timeout=LIMIT)
            submission = send(scope, intent, log=self.log)
        self.log.info("the wait task watches it")
        clusters = [f"{cluster}@{schedd}" for schedd, cluster, _ in submission.clusters]
        return {"tag": submission.tag, "clusters": clusters, "jobs": len(submission.units)}

    def intend(self, scope: Scope) -> Submission:
        """Record what is to be submitted; what an earlier try recorded stays as it is."""
        from prodsys_operators.sending import intend

        earlier = scope.ledger.submission(scope.tag(self.stage))
        units = self.units(scope, anew=earlier is None)
        if earlier is not None:
            self.say_what_is_not_covered(earlier, units)
        elif not units:
            raise AirflowFailException(
                f"{self.stage} run {scope.slice.run}: no subrun has its inputs; see the stages before"
            )
        # For an earlier one too: it reopens a refused submission, whose jobs may exist from now on.
        return intend(scope, self.stage, recovery=0, units=units if earlier is None else earlier.units)

    def units(self, scope: Scope, *, anew: bool) -> tuple[Unit, ...]:
        """Return what each process can make now; the log names the subruns without inputs.

        Listed files are looked for where they are to be sent `anew`: those of an earlier try may be gone.
        """
        from include.merge.planner import merge_units
        from include.recovery.standing import units_now

        stage = scope.plan.stage(self.stage)
        if stage.is_merge:
            return merge_units(scope.ledger.merge_groups(scope.tag(self.stage)))
        units = units_now(
            scope.ledger, scope.plan, stage, scope.slice, exists=os.path.isfile if anew else lambda _: True
        )
        first = scope.slice.first_subrun
        made = {unit.first_subrun for unit in units}
        left_out = [subrun for subrun in range(first, first + scope.slice.subruns) if subrun not in made]
        if left_out:
            self.log.warning("%d subruns have no accepted input: %s", len(left_out), spans(left_out))
        return units

    def say_what_is_not_covered(self, earlier: Submission, units: tuple[Unit, ...]) -> None:
        """Tell of subruns whose inputs came after the submission."""
        covered = {unit.first_subrun for unit in earlier.units}
        late = [unit.first_subrun for unit in units if unit.first_subrun not in covered]
        if late:
            self.log.warning(
                "%s is submitted for %d subruns; the inputs of %s came later: the recover task makes these",
                earlier.tag,
                len(covered),
                spans(late),
            )
