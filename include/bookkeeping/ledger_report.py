"""Figures for reports: counted and summed in the database, so that a million jobs come back as few rows."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.count_tables import stage_counts
from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.ledger_actions import action_record
from include.bookkeeping.records import StageProgress
from include.bookkeeping.report_records import (
    ActionTally,
    CampaignCount,
    CauseTally,
    EndedMoment,
    Intervals,
    JobTally,
    OutputTally,
    ReportScope,
    SubmissionTally,
)
from include.bookkeeping.tables import (
    actions,
    campaigns,
    diagnoses,
    jobs,
    outputs,
    submission_units,
    submissions,
)
from include.campaign.states import ActionKind, JobStatus, OutputState, SubmissionState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from include.bookkeeping.records import ActionRecord

PRODSYS = "prodsys"
"""Who did what no person did."""
MOST_CAUSES = 2000
"""Rows of causes, those with the most failures; each is a rule in a stage."""
SUMS = ("jobs", "again", "wall_s", "cpu_s", "measured_wall_s", "waited_s", "waited")
UNKNOWN, GOOD, FAILED, REMOVED, HELD = range(5)
ENDINGS = {"good": GOOD, "failed": FAILED, "removed": REMOVED, "held": HELD, "unknown": UNKNOWN}
_ENDING: sa.ColumnElement[int] = sa.literal_column(
    f"CASE jobs.status WHEN {int(JobStatus.COMPLETED)} THEN"
    f" CASE WHEN jobs.exit_signal IS NOT NULL THEN {FAILED} WHEN jobs.exit_code = 0 THEN {GOOD}"
    f" WHEN jobs.exit_code IS NOT NULL THEN {FAILED} ELSE {UNKNOWN} END"
    f" WHEN {int(JobStatus.REMOVED)} THEN {REMOVED} WHEN {int(JobStatus.HELD)} THEN {HELD}"
    f" ELSE {UNKNOWN} END",
    sa.Integer,
)
"""How a job ended, in one look: it is asked of every job."""
Condition = sa.ColumnElement[bool]
_BY_PEOPLE: Condition = actions.c.who != sa.literal_column(f"'{PRODSYS}'")
"""A literal, so that it can be grouped by: two parameters are never the same expression."""


class LedgerReport(LedgerDatabase):
    """The part of the ledger that sums up."""

    def job_tallies(self, scope: ReportScope) -> list[JobTally]:
        """Return the jobs by campaign, stage and site; with a span of time those that ended in it."""
        # First by submission, in whose order jobs are stored: sorting them all by name takes twice as long.
        each = (
            sa.select(jobs.c.submission_id, jobs.c.site, _ENDING.label("ending"), *_job_sums())
            .join_from(jobs, submissions)
            .where(*_where(scope, jobs.c.ended_at))
            .group_by(jobs.c.submission_id, jobs.c.site, _ENDING)
            .subquery()
        )
        key = (submissions.c.dag_id, submissions.c.stage, each.c.site)
        sums = [sa.func.sum(each.c[name]).label(name) for name in SUMS]
        most = sa.func.max(each.c.memory_mb).label("memory_mb")
        same = submissions.c.id == each.c.submission_id
        query = (
            sa.select(*key, each.c.ending, *sums, most)
            .join_from(each, submissions, same)
            .group_by(*key, each.c.ending)
            .order_by(*key)
        )
        with self._read() as connection:
            rows = [_whole(row) for row in connection.execute(query).mappings()]
        places = groupby(rows, key=itemgetter("dag_id", "stage", "site"))
        return [_job_tally(place, list(some)) for place, some in places]

    def submission_tallies(self, scope: ReportScope) -> list[SubmissionTally]:
        """Return the submissions by campaign and stage; with a span of time those intended in it."""
        sent = submissions.c
        refused, units = sent.state == SubmissionState.REFUSED, submission_units.c
        of_each = sa.select(sa.func.count()).where(units.submission_id == sent.id).scalar_subquery()
        columns = (
            _times(~refused).label("submissions"),
            _times(~refused & (sent.recovery > 0)).label("recoveries"),
            _times(refused).label("refused"),
            sa.func.sum(sa.case((~refused, of_each), else_=0)).label("units"),
            sa.func.sum(sent.jobs_open).label("open_jobs"),
            sa.func.min(sent.intended_at).label("first_at"),
            sa.func.max(sent.state_at).label("last_at"),
            _times(sent.state.in_((SubmissionState.INTENDED, SubmissionState.SUBMITTED))).label("unfinished"),
        )
        key = (sent.dag_id, sent.stage)
        query = (
            sa.select(*key, *columns).where(*_where(scope, sent.intended_at)).group_by(*key).order_by(*key)
        )
        with self._read() as connection:
            return [
                SubmissionTally(**_whole(row)) for row in connection.execute(query.order_by(*key)).mappings()
            ]

    def stage_totals(self, scope: ReportScope) -> dict[str, StageProgress]:
        """Return how each stage of a campaign or a tranche stands, by name; a span of time plays no part."""
        kept = stage_counts.c
        given = {"dag_id": scope.dag_id, "tranche": scope.tranche, "experiment": scope.experiment}
        names = ("subruns", "accepted", "missing", "duplicates")
        query = sa.select(kept.stage, *(sa.func.sum(kept[name]).label(name) for name in names))
        for name, value in given.items():
            if value is not None:
                query = query.where(kept[name] == value)
        with self._read() as connection:
            rows = [_whole(row) for row in connection.execute(query.group_by(kept.stage)).mappings()]
        return {
            row["stage"]: StageProgress(**row, unknown=row["subruns"] - row["accepted"] - row["missing"])
            for row in rows
        }

    def output_tallies(self, scope: ReportScope, intervals: Intervals | None = None) -> list[OutputTally]:
        """Return the files by campaign, stage, output, state and interval; with a span of time those of it.

        Accepted files count when they were accepted, others when they were recorded.
        """
        made = outputs.c
        accepted, at = made.accepted_at.is_not(None), sa.func.coalesce(made.accepted_at, made.recorded_at)
        interval = sa.literal_column("0") if intervals is None else self._interval(at, intervals)
        key = (submissions.c.dag_id, made.stage, made.name, made.state)
        sums = (
            sa.func.count().label("files"),
            sa.func.sum(made.size).label("bytes"),
            sa.func.sum(made.last_subrun - made.first_subrun + 1).label("subruns"),
            sa.func.sum(made.events).label("events"),
        )
        query = (
            sa.select(*key, accepted.label("accepted"), interval.label("interval"), *sums)
            .join_from(outputs, submissions)
            .where(*_where(scope, at))
            .group_by(*key, accepted, *(() if intervals is None else (interval,)))
            .order_by(*key)
        )
        with self._read() as connection:
            found = [_whole(row) for row in connection.execute(query).mappings()]
        return [
            OutputTally(**{**row, "state": OutputState(row["state"]), "accepted": bool(row["accepted"])})
            for row in found
        ]

    def cause_tallies(self, scope: ReportScope) -> list[CauseTally]:
        """Return the failures by campaign, stage and rule, those that cost most hours first."""
        with self._read() as connection:
            hours = {tuple(row)[:4]: row.wall_s or 0.0 for row in connection.execute(_hours_lost(scope))}
            rows = list(connection.execute(_causes(scope)).mappings())
        found = [
            CauseTally(
                **row, wall_s=hours.get((row["dag_id"], row["stage"], row["category"], row["rule"]), 0.0)
            )
            for row in rows
        ]
        return sorted(found, key=lambda each: (-each.wall_s, -each.failures, each.stage, each.rule))

    def ended_over_time(self, scope: ReportScope, intervals: Intervals) -> list[EndedMoment]:
        """Return how many jobs ended in each interval, and how; before the first, numbers are negative."""
        ended = jobs.c.status.in_((int(JobStatus.COMPLETED), int(JobStatus.REMOVED)))
        good = sa.literal_column(str(GOOD)) == _ENDING
        interval = self._interval(jobs.c.ended_at, intervals).label("interval")
        query = (
            sa.select(interval, _times(good).label("good"), _times(~good).label("bad"))
            .join_from(jobs, submissions)
            .where(jobs.c.ended_at.is_not(None), ended, *_where(scope, jobs.c.ended_at))
            .group_by(interval)
            .order_by(interval)
        )
        with self._read() as connection:
            return [EndedMoment(**_whole(row)) for row in connection.execute(query).mappings()]

    def submission_counts(self) -> list[CampaignCount]:
        """Return how many submissions each campaign has in each state."""
        sent = submissions.c
        columns = (sa.func.count().label("number"), _times(sent.recovery > 0).label("recoveries"))
        return self._campaign_counts(sa.select(sent.dag_id, sent.state.label("kind"), *columns), sent.state)

    def failure_counts(self) -> list[CampaignCount]:
        """Return how many failures of each category each campaign has had."""
        category = diagnoses.c.category
        query = sa.select(
            submissions.c.dag_id, category.label("kind"), sa.func.count().label("number")
        ).join_from(diagnoses, submissions)
        return self._campaign_counts(query, category)

    def _campaign_counts(self, query: sa.Select[Any], kind: sa.ColumnElement[str]) -> list[CampaignCount]:
        key = (submissions.c.dag_id, kind)
        with self._read() as connection:
            rows = connection.execute(query.group_by(*key).order_by(*key)).mappings()
            return [CampaignCount(**_whole(row)) for row in rows]

    def action_tallies(self, scope: ReportScope) -> list[ActionTally]:
        """Return how often what was done, by prodsys and by people."""
        key = (actions.c.kind, _BY_PEOPLE.label("by_people"))
        query = sa.select(*key, sa.func.count().label("times")).where(*_where_acted(scope))
        with self._read() as connection:
            rows = connection.execute(query.group_by(*key).order_by(*key))
            return [
                ActionTally(kind=ActionKind(row.kind), by_people=bool(row.by_people), times=row.times)
                for row in rows
            ]

    def people_did(self, scope: ReportScope, *, most: int) -> list[ActionRecord]:
        """Return what people did, the latest `most` of it, in order of time."""
        query = sa.select(actions).where(_BY_PEOPLE, *_where_acted(scope))
        with self._read() as connection:
            rows = connection.execute(query.order_by(actions.c.at.desc(), actions.c.id.desc()).limit(most))
            return [action_record(row) for row in rows][::-1]

    def _interval(self, at: sa.ColumnElement[Any], intervals: Intervals) -> sa.ColumnElement[int]:
        """Return the number of the interval that a time is in; SQLite's cast cuts, Postgres's rounds.

        The numbers are literals, as in `_BY_PEOPLE`.
        """
        start: sa.ColumnElement[float] = sa.literal_column(repr(float(intervals.start)))
        width: sa.ColumnElement[float] = sa.literal_column(repr(float(intervals.width_s)))
        passed = (at - start) / width
        cut = passed if self._engine.dialect.name == "sqlite" else sa.func.trunc(passed)
        return sa.cast(cut, sa.Integer)


def _where(scope: ReportScope, at: sa.ColumnElement[Any]) -> list[Condition]:
    """Return the conditions on a query that has `submissions`, with the time that decides."""
    sent = submissions.c
    found: list[Condition] = []
    if scope.dag_id is not None:
        found.append(sent.dag_id == scope.dag_id)
    if scope.tranche is not None:
        found.append(sent.tranche == scope.tranche)
    if scope.experiment is not None:
        found.append(sent.dag_id.in_(_campaigns_of(scope.experiment)))
    return found + _within(scope, at)


def _where_acted(scope: ReportScope) -> list[Condition]:
    """Return the conditions on actions; those about nodes belong to no campaign."""
    found: list[Condition] = []
    if scope.dag_id is not None:
        found.append(actions.c.dag_id == scope.dag_id)
    if scope.tranche is not None:
        found.append(actions.c.tranche == scope.tranche)
    if scope.experiment is not None:
        found.append(actions.c.dag_id.in_(_campaigns_of(scope.experiment)))
    return found + _within(scope, actions.c.at)


def _campaigns_of(experiment: str) -> sa.Select[Any]:
    return sa.select(campaigns.c.dag_id).where(campaigns.c.experiment == experiment)


def _within(scope: ReportScope, at: sa.ColumnElement[Any]) -> list[Condition]:
    since = [] if scope.since is None else [at >= scope.since]
    return since if scope.until is None else [*since, at < scope.until]


def _times(true: Condition) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((true, 1), else_=0)), 0)


def _seconds(value: sa.ColumnElement[Any], true: Condition) -> sa.ColumnElement[float]:
    return sa.func.coalesce(sa.func.sum(sa.case((true, value), else_=0.0)), 0.0)


def _job_sums() -> list[sa.Label[Any]]:
    """Return what is summed, by the names of SUMS, and the most memory."""
    job = jobs.c
    measured = job.cpu_s.is_not(None) & job.wall_s.is_not(None)
    waited = (job.started_at >= job.queued_at) & job.queued_at.is_not(None)
    again = sa.case((job.starts > 1, job.starts - 1), else_=0)
    return [
        sa.func.count().label("jobs"),
        sa.func.sum(again).label("again"),
        sa.func.coalesce(sa.func.sum(job.wall_s), 0.0).label("wall_s"),
        _seconds(job.cpu_s, measured).label("cpu_s"),
        _seconds(job.wall_s, measured).label("measured_wall_s"),
        _seconds(job.started_at - job.queued_at, waited).label("waited_s"),
        _times(waited).label("waited"),
        sa.func.max(job.memory_mb).label("memory_mb"),
    ]


def _job_tally(place: tuple[str, str, str | None], rows: Sequence[Mapping[str, Any]]) -> JobTally:
    """Return rows of one place, one an ending, as one."""
    count = {row["ending"]: row["jobs"] for row in rows}
    used = [row["memory_mb"] for row in rows if row["memory_mb"] is not None]
    dag_id, stage, site = place
    return JobTally(
        dag_id=dag_id,
        stage=stage,
        site=site,
        **{name: count.get(ending, 0) for name, ending in ENDINGS.items()},
        **{name: sum(row[name] for row in rows) for name in SUMS},
        good_wall_s=sum(row["wall_s"] for row in rows if row["ending"] == GOOD),
        memory_mb=max(used, default=None),
    )


def _causes(scope: ReportScope) -> sa.Select[Any]:
    said = diagnoses.c
    key = (submissions.c.dag_id, submissions.c.stage, said.category, said.rule)
    failures = sa.func.count().label("failures")
    return (
        sa.select(
            *key,
            failures,
            sa.func.count(said.host.distinct()).label("nodes"),
            sa.func.count(said.site.distinct()).label("sites"),
            *(sa.func.min(said[name]).label(name) for name in ("cause", "advice", "evidence")),
        )
        .join_from(diagnoses, submissions)
        .where(*_where(scope, sa.func.coalesce(said.at, said.diagnosed_at)))
        .group_by(*key)
        .order_by(failures.desc(), *key)
        .limit(MOST_CAUSES)
    )


def _hours_lost(scope: ReportScope) -> sa.Select[Any]:
    """Return the wall time of jobs by the first diagnosis of what they were to make.

    Each job looks for its diagnosis. The other way round each diagnosis would look at all jobs of its
    cluster: `coalesce` keeps the database from turning it round.
    """
    every = diagnoses.c
    place = sa.func.row_number().over(
        partition_by=(every.submission_id, every.process), order_by=every.position
    )
    ranked = sa.select(
        every.submission_id, every.process, every.category, every.rule, place.label("place")
    ).subquery("ranked")
    names = ("submission_id", "process", "category", "rule")
    said = sa.select(*(ranked.c[name] for name in names)).where(ranked.c.place == 1).subquery("said")
    same = (said.c.submission_id == jobs.c.submission_id) & (said.c.process == jobs.c.unit)
    key = (submissions.c.dag_id, submissions.c.stage, said.c.category, said.c.rule)
    return (
        sa.select(*key, sa.func.sum(jobs.c.wall_s).label("wall_s"))
        .select_from(jobs)
        .join(submissions)
        .join(said, same, isouter=True)
        .where(sa.func.coalesce(said.c.category, "") != "", *_where(scope, jobs.c.ended_at))
        .group_by(*key)
    )


def _whole(row: Any) -> dict[str, Any]:
    """Return a row as keywords; Postgres sums integers to a decimal."""
    return {
        name: int(value) if type(value).__name__ == "Decimal" else value for name, value in dict(row).items()
    }
