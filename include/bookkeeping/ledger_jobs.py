"""Jobs and executions: the last that is known of each."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase, submission_row
from include.bookkeeping.records import ExecutionRecord, JobRecord
from include.bookkeeping.rows import upsert
from include.bookkeeping.tables import clusters, submissions
from include.bookkeeping.tables import executions as execution_table
from include.bookkeeping.tables import jobs as job_table
from include.campaign.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

JOB_KEY = ("submission_id", "schedd", "cluster", "process")


class LedgerJobs(LedgerDatabase):
    """The part of the ledger that knows jobs and their executions."""

    def record_jobs(self, tag: str, jobs: Iterable[JobRecord]) -> None:
        """Record what is known of jobs of `tag`; one that is unknown now keeps what was known before."""
        with self._write() as connection:
            submission_id = submission_row(connection, tag).id
            rows = [{"submission_id": submission_id, **_values(job)} for job in jobs]
            for row in rows:
                row["status"] = int(row["status"])
            upsert(connection, job_table, rows, key=JOB_KEY, only_if=_knows_more)

    def record_executions(self, tag: str, executions: Iterable[ExecutionRecord]) -> None:
        """Record executions of jobs of `tag`, as their reports tell them."""
        with self._write() as connection:
            submission_id = submission_row(connection, tag).id
            rows = [{"submission_id": submission_id, **_values(execution)} for execution in executions]
            upsert(connection, execution_table, rows, key=("submission_id", "execution"))

    def record_event_logs(self, tag: str, logs: Mapping[tuple[str, int], str]) -> None:
        """Record where the event logs of clusters of `tag` lie: (schedd, cluster) → path."""
        with self._write() as connection:
            submission_id = submission_row(connection, tag).id
            for (schedd, cluster), path in sorted(logs.items()):
                here = (clusters.c.schedd == schedd) & (clusters.c.cluster == cluster)
                mine = clusters.update().where(clusters.c.submission_id == submission_id, here)
                connection.execute(
                    mine.where(clusters.c.event_log.is_distinct_from(path)).values(event_log=path)
                )

    def jobs(self, tag: str) -> list[JobRecord]:
        """Return the jobs of `tag` in order of schedd, cluster and process."""
        query = sa.select(job_table).join(submissions).where(submissions.c.tag == tag)
        with self._read() as connection:
            found = connection.execute(
                query.order_by(job_table.c.schedd, job_table.c.cluster, job_table.c.process)
            )
            return [
                JobRecord(**{name: getattr(row, name) for name in _JOB_FIELDS}, status=JobStatus(row.status))
                for row in found
            ]

    def executions(self, tag: str) -> list[ExecutionRecord]:
        """Return the executions of `tag` in order of process and start."""
        query = sa.select(execution_table).join(submissions).where(submissions.c.tag == tag)
        order = (execution_table.c.process, execution_table.c.started_at, execution_table.c.execution)
        with self._read() as connection:
            found = connection.execute(query.order_by(*order))
            return [
                ExecutionRecord(**{name: getattr(row, name) for name in _NAMES[ExecutionRecord]})
                for row in found
            ]


_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in (JobRecord, ExecutionRecord)}
_JOB_FIELDS = tuple(field.name for field in fields(JobRecord) if field.name != "status")


def _knows_more(new: Any) -> sa.ColumnElement[bool]:
    return sa.or_(new.status != int(JobStatus.UNKNOWN), job_table.c.status == int(JobStatus.UNKNOWN))


def _values(record: JobRecord | ExecutionRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _NAMES[type(record)]}
