"""Look-ups: from a job id, a subrun or a file's name to the job, and all that is known of one job."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.ledger_outputs import output_record, verdict_record
from include.bookkeeping.overview_records import JobPlace
from include.bookkeeping.records import ExecutionRecord, JobRecord, OutputRecord, VerdictRecord
from include.bookkeeping.tables import clusters, executions, jobs, outputs, submission_units, submissions
from include.bookkeeping.tables import verdicts as verdict_table
from include.campaign.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.engine import Row

MOST_CAMPAIGNS = 10_000
"""Campaigns named in one look-up."""


class LedgerLookup(LedgerDatabase):
    """The part of the ledger that finds single jobs; always among the campaigns that are given."""

    def jobs_by_id(
        self, cluster: int, process: int, schedd: str | None, *, dag_ids: Collection[str], limit: int
    ) -> list[JobPlace]:
        """Return the jobs with a cluster and process number, in the schedd if given, the latest first.

        Jobs that no check has looked at yet are found by the cluster and the process of their submission.
        """
        mine = sa.select(clusters.c.submission_id).where(clusters.c.cluster == cluster)
        if schedd is not None:
            mine = mine.where(clusters.c.schedd == schedd)
        with self._read() as connection:
            # Asked apart, so that the next look-up goes by the key; a number is in few schedds.
            sent = list(connection.scalars(mine.limit(limit)))
        number = sa.func.coalesce(jobs.c.process, submission_units.c.process - clusters.c.first_unit)
        named = (clusters.c.cluster == cluster) & (number == process)
        if schedd is not None:
            named &= clusters.c.schedd == schedd
        query = _places().where(submissions.c.id.in_(sent), submission_units.c.submission_id.in_(sent), named)
        return self._found(query, dag_ids, limit) if sent else []

    def jobs_by_subrun(
        self, run: int, subrun: int | None, *, dag_ids: Collection[str], limit: int
    ) -> list[JobPlace]:
        """Return the jobs that were to make a subrun, or any of a run, the latest first."""
        query = _places().where(submissions.c.run == run)
        if subrun is not None:
            unit = submission_units.c
            query = query.where(unit.first_subrun <= subrun, unit.last_subrun >= subrun)
        return self._found(query, dag_ids, limit)

    def jobs_by_file(self, name: str, *, dag_ids: Collection[str], limit: int) -> list[JobPlace]:
        """Return the jobs that published a file of this name, the latest first."""
        made = (outputs.c.submission_id == submissions.c.id) & (
            outputs.c.first_subrun == submission_units.c.first_subrun
        )
        query = _places().join(outputs, made).where(outputs.c.file_name == name)
        return self._found(query, dag_ids, limit)

    def job_place(self, dag_id: str, submission_id: int, process: int) -> JobPlace | None:
        """Return where one process of one submission stands; None where the campaign has none such."""
        unit = submission_units.c
        query = _places().where(unit.submission_id == submission_id, unit.process == process)
        found = self._found(query, [dag_id], 1)
        return found[0] if found else None

    def place_of(self, dag_id: str, tag: str, process: int) -> JobPlace | None:
        """Return where one process of the submission `tag` stands; None where the campaign has none such."""
        query = _places().where(submissions.c.tag == tag, submission_units.c.process == process)
        found = self._found(query, [dag_id], 1)
        return found[0] if found else None

    def job_of(self, submission_id: int, process: int) -> JobRecord | None:
        """Return what is known of the job that makes a unit; None until a check has looked."""
        mine = (jobs.c.submission_id == submission_id) & (jobs.c.unit == process)
        with self._read() as connection:
            row = connection.execute(sa.select(jobs).where(mine).limit(1)).one_or_none()
        names = [field.name for field in fields(JobRecord) if field.name != "status"]
        if row is None:
            return None
        return JobRecord(**{name: getattr(row, name) for name in names}, status=JobStatus(row.status))

    def event_log_of(self, submission_id: int, schedd: str, cluster: int) -> str | None:
        """Return where a cluster's event log lies on the schedd's machine; None until a check has seen it."""
        mine = (clusters.c.submission_id == submission_id) & (clusters.c.schedd == schedd)
        query = sa.select(clusters.c.event_log).where(mine, clusters.c.cluster == cluster)
        with self._read() as connection:
            path: str | None = connection.execute(query).scalar_one_or_none()
        return path

    def executions_of(self, submission_id: int, process: int) -> list[ExecutionRecord]:
        """Return the executions of the job that makes a unit, in order of their start."""
        mine = (executions.c.submission_id == submission_id) & (jobs.c.unit == process)
        names = [field.name for field in fields(ExecutionRecord)]
        same = sa.and_(
            *(
                executions.c[name] == jobs.c[name]
                for name in ("submission_id", "schedd", "cluster", "process")
            )
        )
        query = sa.select(executions).join(jobs, same).where(mine).order_by(executions.c.started_at)
        with self._read() as connection:
            return [
                ExecutionRecord(**{name: getattr(row, name) for name in names})
                for row in connection.execute(query)
            ]

    def verdicts_of(self, submission_id: int, process: int) -> list[VerdictRecord]:
        """Return the latest verdicts on one process."""
        mine = (verdict_table.c.submission_id == submission_id) & (verdict_table.c.process == process)
        query = sa.select(verdict_table).where(mine).order_by(verdict_table.c.position)
        with self._read() as connection:
            return [verdict_record(row) for row in connection.execute(query)]

    def outputs_of(self, submission_id: int, first_subrun: int, last_subrun: int) -> list[OutputRecord]:
        """Return what was published of a unit's subruns."""
        mine = (outputs.c.submission_id == submission_id) & outputs.c.first_subrun.between(
            first_subrun, last_subrun
        )
        query = sa.select(outputs).where(mine).order_by(outputs.c.name, outputs.c.execution)
        with self._read() as connection:
            return [output_record(row) for row in connection.execute(query)]

    def inputs_of(self, submission_id: int, process: int) -> list[tuple[str, tuple[str, ...]]]:
        """Return (input name, paths) of one process."""
        unit = submission_units.c
        query = sa.select(unit.inputs).where(unit.submission_id == submission_id, unit.process == process)
        with self._read() as connection:
            return [(name, tuple(paths)) for name, paths in connection.scalar(query) or ()]

    def _found(self, query: sa.Select[Any], dag_ids: Collection[str], limit: int) -> list[JobPlace]:
        allowed = sorted(dag_ids)[:MOST_CAMPAIGNS]
        query = query.where(submissions.c.dag_id.in_(allowed))
        order = (submissions.c.intended_at.desc(), submissions.c.id, submission_units.c.process)
        with self._read() as connection:
            rows = connection.execute(query.order_by(*order).limit(limit)).all()
        return list({(row.submission_id, row.process): _place(row) for row in rows}.values())


def _places() -> sa.Select[Any]:
    sent, unit, first = submissions.c, submission_units.c, clusters.c.first_unit
    job = (jobs.c.submission_id == unit.submission_id) & (jobs.c.unit == unit.process)
    cluster = (clusters.c.submission_id == sent.id) & (
        (jobs.c.cluster.is_(None) & unit.process.between(first, first + clusters.c.jobs - 1))
        | ((clusters.c.cluster == jobs.c.cluster) & (clusters.c.schedd == jobs.c.schedd))
    )
    return (
        sa.select(
            sent.dag_id, sent.tranche, sent.run, sent.stage, sent.tag, sent.recovery, unit.submission_id,
            unit.process, unit.first_subrun, unit.last_subrun, clusters.c.cluster, clusters.c.schedd,
            sa.func.coalesce(jobs.c.process, unit.process - first).label("job_process"),
        )
        .join_from(submissions, submission_units)
        .join(jobs, job, isouter=True)
        .join(clusters, cluster, isouter=True)
    )  # fmt: skip


def _place(row: Row[Any]) -> JobPlace:
    job_id = "" if row.cluster is None else f"{row.cluster}.{row.job_process}@{row.schedd}"
    return JobPlace(
        dag_id=row.dag_id,
        tranche=row.tranche,
        run=row.run,
        stage=row.stage,
        tag=row.tag,
        submission_id=row.submission_id,
        process=row.process,
        first_subrun=row.first_subrun,
        last_subrun=row.last_subrun,
        recovery=row.recovery,
        job_id=job_id,
    )
