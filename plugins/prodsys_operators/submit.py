"""Submit one stage of one slice, exactly once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.campaign.naming import submission_key
from prodsys_operators.scope import Scope, SliceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.batch.pool import SubmitRequest
    from include.bookkeeping.records import Submission, Unit


class SubmitOperator(SliceOperator):
    """Records the intent, looks for the tag, submits, records what came back."""

    ui_color = "#f7ecd0"

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the submission's tag, its clusters and its number of jobs."""
        with self.scope(context) as scope:
            intent = self.intend(scope)
            submission = self.send(scope, intent, self.request(scope, intent))
        for schedd, cluster, jobs in submission.clusters:
            self.log.info("cluster %d@%s has %d jobs; the wait task watches it", cluster, schedd, jobs)
        clusters = [f"{cluster}@{schedd}" for schedd, cluster, _ in submission.clusters]
        return {"tag": submission.tag, "clusters": clusters, "jobs": len(submission.units)}

    def intend(self, scope: Scope) -> Submission:
        """Record what is to be submitted; what an earlier try recorded stays as it is."""
        tag, run = scope.tag(self.stage), scope.slice.run
        earlier = scope.ledger.submission(tag)
        units = self.units(scope)
        if earlier is not None:
            self.say_what_is_not_covered(earlier, units)
        elif not units:
            raise AirflowFailException(
                f"{self.stage} run {run}: no subrun has its inputs; see the stages before"
            )
        folder = f"{run:06d}.{self.stage}.{submission_key(tag)}"
        # For an earlier one too: it reopens a refused submission, whose jobs may exist from now on.
        return scope.ledger.intend(
            tag=tag,
            dag_id=scope.plan.dag_id,
            tranche=scope.slice.tranche,
            run=run,
            stage=self.stage,
            recovery=0,
            units=units if earlier is None else earlier.units,
            work_dir=str(Path(scope.settings.work_dir) / scope.plan.dag_id / folder),
            now=time.time(),
        )

    def request(self, scope: Scope, intent: Submission) -> SubmitRequest:
        """Write what the jobs are sent, and return the request."""
        from include.batch.package import build_job

        return build_job(
            scope.plan,
            scope.plan.stage(self.stage),
            slice_run=scope.slice.run,
            units=intent.units,
            tag=intent.tag,
            work_dir=Path(intent.work_dir),
        )

    def send(self, scope: Scope, intent: Submission, request: SubmitRequest) -> Submission:
        """Submit the request unless its jobs exist."""
        from include.batch.submission import SubmitLimits, submit_once

        limits = SubmitLimits(timeout_s=scope.settings.submit_timeout, grace_s=scope.settings.submit_grace)
        self.log.info("%s run %d: %d jobs, tag %s", self.stage, scope.slice.run, request.jobs, intent.tag)
        with scope.settings.open_pool() as pool:
            return submit_once(
                ledger_port=scope.ledger,
                pool=pool,
                submitter=scope.settings.open_submitter(),
                request=request,
                submission=intent,
                now=time.time,
                sleep=time.sleep,
                limits=limits,
            )

    def units(self, scope: Scope) -> tuple[Unit, ...]:
        """Return what each process can make now; the log names the subruns without inputs."""
        from include.bookkeeping.records import Unit
        from include.data.inputs import units_for

        stage = scope.plan.stage(self.stage)
        if stage.is_merge:
            return tuple(
                Unit(
                    process=group.process,
                    first_subrun=group.first_subrun,
                    last_subrun=group.last_subrun,
                    inputs=(("merge", group.inputs),),
                )
                for group in scope.ledger.merge_groups(scope.tag(self.stage))
            )
        first = scope.slice.first_subrun
        units, left_out = units_for(
            scope.plan,
            stage,
            run=scope.slice.run,
            subruns=range(first, first + scope.slice.subruns),
            accepted=lambda parent, output: scope.accepted(parent, output=output),
        )
        if left_out:
            self.log.warning("%d subruns have no accepted input: %s", len(left_out), left_out)
        return units

    def say_what_is_not_covered(self, earlier: Submission, units: tuple[Unit, ...]) -> None:
        """Warn of subruns whose inputs came after the submission."""
        covered = {unit.first_subrun for unit in earlier.units}
        late = [unit.first_subrun for unit in units if unit.first_subrun not in covered]
        if late:
            self.log.warning(
                "%s is submitted for %d subruns; the inputs of %s came later, and no job makes these",
                earlier.tag,
                len(covered),
                late,
            )
