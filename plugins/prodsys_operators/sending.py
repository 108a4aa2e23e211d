"""Record an intent and send it; the first submission of a stage and its recoveries alike."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.bookkeeping.records import AS_PLANNED
from include.campaign.naming import submission_key
from include.crash_points import reached
from include.errors import LogsError, SubmissionError, SubmissionRefused
from prodsys_operators import metrics

if TYPE_CHECKING:
    from include.batch.package import LogTarget
    from include.batch.pool import SubmitRequest, Submitter
    from include.bookkeeping.records import RequestChanges, Submission, Unit
    from prodsys_operators.scope import Scope


def intend(
    scope: Scope, stage: str, *, recovery: int, units: tuple[Unit, ...], changes: RequestChanges = AS_PLANNED
) -> Submission:
    """Record what is to be submitted; what an earlier try recorded stays as it is."""
    tag, run = scope.tag(stage, recovery), scope.slice.run
    folder = f"{run:06d}.{stage}.{submission_key(tag)}"
    return scope.ledger.intend(
        tag=tag,
        dag_id=scope.plan.dag_id,
        tranche=scope.slice.tranche,
        run=run,
        stage=stage,
        recovery=recovery,
        units=units,
        work_dir=str(Path(scope.settings.work_dir) / scope.plan.dag_id / folder),
        changes=changes,
        now=time.time(),
    )


def send(scope: Scope, intent: Submission, *, log: Any) -> Submission:
    """Submit what was intended unless its jobs exist; return the ledger's row with the clusters."""
    from include.batch.steady_time import Clock
    from include.batch.submission import SubmitLimits, submit_once

    limits = SubmitLimits(timeout_s=scope.settings.submit_timeout, grace_s=scope.settings.submit_grace)
    request = request_of(scope, intent, log=log)
    log.info("%s run %d: %d jobs, tag %s", intent.stage, intent.run, request.jobs, intent.tag)
    try:
        with scope.settings.open_pool() as pool:
            sent = submit_once(
                ledger_port=scope.ledger,
                pool=pool,
                submitter=_submitter(scope, request),
                request=request,
                submission=intent,
                clock=Clock(),
                limits=limits,
            )
    except SubmissionError as error:
        name = metrics.Name.REFUSED if isinstance(error, SubmissionRefused) else metrics.Name.AMBIGUOUS
        metrics.count(name, dag_id=intent.dag_id, stage=intent.stage)
        raise
    reached("submit.recorded")
    if not intent.clusters:  # else an earlier try sent it
        metrics.sent(sent)
    for schedd, cluster, jobs in sent.clusters:
        log.info("cluster %d@%s has %d jobs", cluster, schedd, jobs)
    return sent


def _submitter(scope: Scope, request: SubmitRequest) -> Submitter:
    """Return what sends the request."""
    if request.launcher is None:
        return scope.settings.open_submitter()
    return scope.settings.open_launcher()


def request_of(scope: Scope, intent: Submission, *, log: Any) -> SubmitRequest:
    """Write what the jobs are sent, and return the request; excluded nodes and sites are named in the log."""
    from include.batch.package import Beside, build_job

    excluded = scope.ledger.exclusions(time.time())
    for each in excluded:
        log.info("%s %s is excluded: %s", each.kind, each.name, each.reason)
    stage = scope.plan.stage(intent.stage)
    names = {kind: {each.name for each in excluded if each.kind == kind} for kind in ("node", "site")}
    return build_job(
        scope.plan,
        stage,
        slice_run=intent.run,
        units=intent.units,
        tag=intent.tag,
        work_dir=Path(intent.work_dir),
        beside=Beside(
            changes=intent.changes,
            sums=sums_of(scope, intent.stage),
            excluded_machines=tuple(sorted(names["node"] | set(intent.changes.machines))),
            excluded_sites=tuple(sorted(names["site"] | set(intent.changes.sites))),
            log_target=log_target_of(scope, intent, log=log),
        ),
    )


def log_target_of(scope: Scope, intent: Submission, *, log: Any) -> LogTarget | None:
    """Return where the jobs send their log as they run; None without a log server or a usable key."""
    from include.batch.package import LogTarget
    from include.logserver.records import JobClaims
    from include.logserver.tokens import JOB_TOKEN_S, job_token

    if not scope.settings.log_server:
        return None
    claims = JobClaims(
        tag=intent.tag,
        dag_id=scope.plan.dag_id,
        stage=intent.stage,
        run=intent.run,
        jobs=len(intent.units),
    )
    try:
        # By the intent's time, so that a repeated submission sends the same job.json.
        token = job_token(scope.settings.log_key, claims, expires=intent.intended_at + JOB_TOKEN_S)
    except LogsError as error:
        log.warning("the jobs send no logs: [prodsys] log_key: %s", error)
        return None
    return LogTarget(url=scope.settings.log_server, token=token)


def sums_of(scope: Scope, stage: str) -> dict[str, tuple[int, str]]:
    """Return path → (size, adler32) of the accepted files that the stage reads: jobs compare them."""
    parents = {given.stage for given in scope.plan.stage(stage).inputs if given.stage is not None}
    return {
        output.path: (output.size, output.adler32)
        for parent in sorted(parents)
        for output in scope.accepted(parent)
    }
