"""Submit one stage of one slice, exactly once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.campaign.naming import submission_key
from include.errors import MissingTool, StorageError, SubmissionRefused
from prodsys_operators.scope import Scope, SliceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.bookkeeping.records import Submission, Unit


class SubmitOperator(SliceOperator):
    """Records the intent, looks for the tag, submits, records what came back."""

    ui_color = "#f7ecd0"

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the submission's tag, its clusters and its number of jobs."""
        with self.scope(context) as scope:
            try:
                submission = self.submit(scope)
            except (SubmissionRefused, MissingTool, StorageError) as error:
                # Nothing was submitted; the text says why. Clearing this task is safe once that is mended.
                raise AirflowFailException(str(error)) from error
        clusters = [f"{cluster}@{schedd}" for schedd, cluster, _ in submission.clusters]
        return {"tag": submission.tag, "clusters": clusters, "jobs": len(submission.units)}

    def submit(self, scope: Scope) -> Submission:
        """Submit this stage of the slice unless that has been done."""
        from include.batch.package import build_job
        from include.batch.submission import SubmitLimits, submit_once

        plan, stage, tag = scope.plan, scope.plan.stage(self.stage), scope.tag(self.stage)
        work_dir = (
            Path(scope.settings.work_dir)
            / plan.dag_id
            / f"{scope.slice.run:06d}.{self.stage}.{submission_key(tag)}"
        )
        submission = scope.ledger.submission(tag) or scope.ledger.intend(
            tag=tag,
            dag_id=plan.dag_id,
            tranche=scope.slice.tranche,
            run=scope.slice.run,
            stage=self.stage,
            recovery=0,
            units=self.units(scope),
            work_dir=str(work_dir),
            now=time.time(),
        )
        request = build_job(
            plan,
            stage,
            slice_run=scope.slice.run,
            units=submission.units,
            tag=tag,
            work_dir=Path(submission.work_dir),
        )
        submitter = scope.settings.open_submitter()
        self.log.info("%s run %d: %d jobs, tag %s", self.stage, scope.slice.run, request.jobs, tag)
        with scope.settings.open_pool() as pool:
            submission = submit_once(
                ledger_port=scope.ledger,
                pool=pool,
                submitter=submitter,
                request=request,
                submission=submission,
                now=time.time,
                sleep=time.sleep,
                limits=SubmitLimits(
                    timeout_s=scope.settings.submit_timeout, grace_s=scope.settings.submit_grace
                ),
            )
        for schedd, cluster, jobs in submission.clusters:
            self.log.info("cluster %d@%s holds %d jobs; the wait task watches it", cluster, schedd, jobs)
        return submission

    def units(self, scope: Scope) -> tuple[Unit, ...]:
        """Return what each process makes; subruns without inputs are left out, and named in the log."""
        from include.bookkeeping.records import Unit
        from include.data.inputs import units_for

        stage, tag = scope.plan.stage(self.stage), scope.tag(self.stage)
        if stage.is_merge:
            return tuple(
                Unit(
                    process=group.process,
                    first_subrun=group.first_subrun,
                    last_subrun=group.last_subrun,
                    inputs=(("merge", group.inputs),),
                )
                for group in scope.ledger.merge_groups(tag)
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
            self.log.warning(
                "%d subruns have no accepted input and are left out: %s", len(left_out), left_out
            )
        if not units:
            raise AirflowFailException(
                f"{self.stage} run {scope.slice.run}: no subrun has its inputs; see the stages before"
            )
        return units
