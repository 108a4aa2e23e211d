"""Judge one stage of one slice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.errors import ProdsysError
from prodsys_operators.scope import Scope, SliceOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.batch.pool import JobAd
    from include.bookkeeping.records import Submission
    from include.checks.judge import Judgement


class StageUnknown(ProdsysError):
    """There is not enough evidence on some subruns; looking again later may help, so Airflow retries."""


class CheckOperator(SliceOperator):
    """Turns evidence into verdicts, and verdicts into accepted, missing and unknown subruns."""

    ui_color = "#d8f0dd"

    def __init__(self, **kwargs: Any) -> None:
        # Long enough, with the growing delays, for storage to show what a job published.
        kwargs.setdefault("retries", 6)
        super().__init__(**kwargs)

    def execute(self, context: Context) -> dict[str, int]:
        """Return the numbers of subruns; fails below the threshold, retries while something is unknown."""
        from include.checks.summary import summarise

        with self.scope(context) as scope:
            stage = scope.plan.stage(self.stage)
            result = summarise(self.judge(scope), stage)
        for line in result.lines:
            self.log.info(line)
        if not result.good:
            reason = "; ".join((result.lines[0], *result.lines[2:3]))
            # Held jobs wait for a person; other unknown ones may be known a little later.
            raise StageUnknown(reason) if result.unknown > result.held else AirflowFailException(reason)
        return {"expected": result.expected, "accepted": result.accepted, "missing": result.missing}

    def judge(self, scope: Scope) -> Judgement:
        """Gather the evidence, judge it, and record all of it in the ledger."""
        from include.checks.evidence import read_areas
        from include.checks.judge import judge

        stage, tag = scope.plan.stage(self.stage), scope.tag(self.stage)
        submission = scope.ledger.submission(tag)
        if submission is None or not submission.clusters:
            raise AirflowFailException(f"{tag} was never submitted; clear the submit task before this one")
        ads = self.ads(scope, submission)
        area = read_areas(scope.plan, submission)
        self.log.info("%s: %d ads, %d reports in %s", tag, len(ads), len(area.reports), area.logs)
        now = time.time()
        judgement = judge(
            scope.plan,
            stage,
            submission,
            ads=ads,
            area=area,
            now=now,
            known=scope.ledger.jobs(tag),
            accepted=scope.accepted(stage.name, removed=True),
            # Cleanup may have taken the sources of a merge that is checked again.
            sources=scope.accepted(stage.merge.of_stage, output=stage.merge.of_output, removed=True)
            if stage.merge
            else (),
        )
        scope.ledger.record_jobs(tag, judgement.jobs)
        scope.ledger.record_executions(tag, judgement.executions)
        scope.ledger.record_outputs(tag, judgement.outputs, now=now)
        scope.ledger.settle(
            tag, verdicts=judgement.verdicts, accept=judgement.accept, reject=judgement.reject, now=now
        )
        if judgement.all_ended:
            scope.ledger.record_ended(tag, now=now)
        return judgement

    def ads(self, scope: Scope, submission: Submission) -> list[JobAd]:
        """Return the ads of the submission's jobs, from queue and history."""
        by_schedd: dict[str, list[int]] = {}
        for schedd, cluster, _ in submission.clusters:
            by_schedd.setdefault(schedd, []).append(cluster)
        with scope.settings.open_pool() as pool:
            return [ad for schedd, clusters in by_schedd.items() for ad in pool.ads(schedd, clusters)]
