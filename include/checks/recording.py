"""Ledger records of what a check saw: jobs, executions, outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.bookkeeping.records import ExecutionRecord, JobRecord, OutputRecord
from include.campaign.states import JobStatus, OutputState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from include.batch.pool import JobAd
    from include.bookkeeping.records import Submission
    from include.campaign.plan import StagePlan
    from include.checks.evidence import AreaEvidence, Gathered
    from include.checks.reports import Report


def job_records(gathered: Gathered) -> tuple[JobRecord, ...]:
    """Return one record for each job whose process is known; of two ads of one job, the later news."""
    records = {}
    for evidence in gathered.processes:
        for ad in evidence.ads:
            records[ad.schedd, ad.cluster, ad.process] = _job(ad, unit=evidence.process)
    return tuple(records.values())


def _job(ad: JobAd, *, unit: int) -> JobRecord:
    return JobRecord(
        schedd=ad.schedd,
        cluster=ad.cluster,
        process=ad.process,
        unit=unit,
        global_job_id=ad.global_job_id,
        status=ad.status,
        exit_code=ad.exit_code,
        exit_signal=ad.exit_signal,
        hold_code=ad.hold_code,
        hold_subcode=ad.hold_subcode,
        reason=_reason(ad),
        host=ad.host,
        site=ad.site,
        starts=ad.starts,
        queued_at=ad.queued_at,
        started_at=ad.started_at,
        ended_at=ad.ended_at,
        wall_s=ad.wall_s,
        cpu_s=ad.cpu_s,
        memory_mb=ad.memory_mb,
    )


def _reason(ad: JobAd) -> str:
    """Return why a job is held or was removed; an ad may keep the reason of a hold that is over."""
    if ad.status is JobStatus.HELD:
        return ad.hold_reason or ""
    return ad.remove_reason or "" if ad.status is JobStatus.REMOVED else ""


def execution_records(submission: Submission, area: AreaEvidence) -> tuple[ExecutionRecord, ...]:
    """Return one record for each execution that told anything."""
    schedds = {cluster: schedd for schedd, cluster, _ in submission.clusters}
    return tuple(
        ExecutionRecord(
            execution=report.execution,
            schedd=report.schedd or schedds.get(report.cluster, ""),
            cluster=report.cluster,
            process=report.process,
            host=report.host,
            site=report.site,
            started_at=report.started,
            ended_at=report.ended,
            exit_code=report.exit_code,
            exit_signal=report.exit_signal,
            error=_error(report),
            log=report.log,
        )
        for report in area.reports
    )


def _error(report: Report) -> str:
    """Return why an execution is not good; never empty for such a one."""
    if report.good:
        return ""
    return (
        report.error
        or f"exit code {report.exit_code}, signal {report.exit_signal}, failed at {report.failed_at}"
    )


def output_records(
    stage: StagePlan,
    area: AreaEvidence,
    *,
    duplicates: Collection[tuple[str, str]],
    counted: Mapping[tuple[str, str], int],
) -> tuple[OutputRecord, ...]:
    """Return one record for each output of the spec that an execution listed: a candidate, or a duplicate.

    `counted` are the events that a check counted, by (execution, output name), for jobs that told none.
    """
    planned = {output.name for output in stage.outputs}
    records: dict[tuple[str, str], OutputRecord] = {}
    for report in area.reports:
        for output in report.outputs:
            if output.name in planned:
                key = (report.execution, output.name)
                records.setdefault(
                    key,
                    OutputRecord(
                        state=OutputState.DUPLICATE if key in duplicates else OutputState.CANDIDATE,
                        execution=report.execution,
                        stage=stage.name,
                        name=output.name,
                        run=report.run,
                        first_subrun=report.first_subrun,
                        last_subrun=report.last_subrun,
                        path=output.path,
                        size=output.size,
                        sha256=output.sha256,
                        adler32=output.adler32,
                        events=counted.get(key) if output.events is None else output.events,
                    ),
                )
    return tuple(records.values())
