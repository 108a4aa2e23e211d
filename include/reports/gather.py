"""Rows of reports from the ledger's tallies."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from include.reports.figures import Cause, Did, Made, Row, TimeLine, Work, work_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.report_records import (
        CauseTally,
        Intervals,
        JobTally,
        OutputTally,
        ReportScope,
        SubmissionTally,
    )
    from include.reports.figures import Line

NO_SITE = "not known"
MOST_PEOPLE = 500
"""Acts of people in a report, the latest."""
INTERVALS = 60
"""Of a time line, at most."""
WIDTHS_S = (60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 7 * 86_400)
"""Widths of intervals that people can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallies:
    """What the ledger counted for one scope."""

    jobs: tuple[JobTally, ...]
    outputs: tuple[OutputTally, ...]
    submissions: tuple[SubmissionTally, ...]
    cpus: dict[tuple[str, str], int]
    """(campaign, stage) → CPUs that a job asks for, by the dag_run's plan, of several the latest."""

    def rows(self, place: Callable[[str, str], tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """Return (campaign, name) → row; `place` says where a campaign's stage belongs. In order of place."""
        jobs, made, sent = (_by_place(some, place) for some in (self.jobs, self.outputs, self.submissions))
        return {
            each: self._row(each, jobs[each], made[each], sent[each])
            for each in sorted({*jobs, *made, *sent})
        }

    def _row(
        self,
        place: tuple[str, str],
        jobs: Sequence[JobTally],
        made: Sequence[OutputTally],
        sent: Sequence[SubmissionTally],
    ) -> Row:
        campaign, name = place
        return Row(
            campaign=campaign,
            name=name,
            work=work_of(jobs, self.cpus),
            made=made_of(made),
            accepted=accepted_in(made),
            submissions=sum(each.submissions for each in sent),
            recoveries=sum(each.recoveries for each in sent),
            refused=sum(each.refused for each in sent),
            open_jobs=sum(each.open_jobs for each in sent),
        )

    def sites(self, *, by_stage: bool) -> tuple[Row, ...]:
        """Return one row a site, or a stage and site; those with the most jobs first."""
        found: dict[tuple[str, str], list[JobTally]] = defaultdict(list)
        for each in self.jobs:
            found[each.stage if by_stage else "", each.site or NO_SITE].append(each)
        rows = [
            Row(campaign=stage, name=site, work=work_of(some, self.cpus))
            for (stage, site), some in found.items()
        ]
        return tuple(sorted(rows, key=lambda row: (-row.work.jobs, row.campaign, row.name)))


def _by_place(
    tallies: Sequence[Any], place: Callable[[str, str], tuple[str, str]]
) -> dict[tuple[str, str], list[Any]]:
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for each in tallies:
        found[place(each.dag_id, each.stage)].append(each)
    return found


def tallies_of(
    ledger: Ledger,
    scope: ReportScope,
    submissions: Sequence[SubmissionTally],
    intervals: Intervals | None,
) -> Tallies:
    """Count in the ledger; `submissions` are counted already, since they say when the time line begins."""
    jobs = tuple(ledger.job_tallies(scope))
    return Tallies(
        jobs=jobs,
        outputs=tuple(ledger.output_tallies(scope, intervals)),
        submissions=tuple(submissions),
        cpus=_cpus(ledger, {each.dag_id for each in jobs}, scope.tranche),
    )


def _cpus(ledger: Ledger, dag_ids: Iterable[str], tranche: str | None) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for dag_id in sorted(dag_ids):
        for stage in ledger.plan_of(dag_id, tranche or ledger.tranches(dag_id)[-1]).stages:
            found[dag_id, stage.name] = stage.resources.cpus
    return found


def made_of(tallies: Iterable[OutputTally]) -> Made:
    """Return files as one; events are those of the stage and output that has the most, a campaign each."""
    events: dict[str, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    found = Made()
    for each in tallies:
        found += _files(each)
        if each.accepted and each.events is not None:
            events[each.dag_id][each.stage, each.name] += each.events
    told = sum(max(outputs.values()) for outputs in events.values())
    return replace(found, events=told if events else None)


def _files(each: OutputTally) -> Made:
    if each.accepted:
        removed = each.bytes if each.state.value == "removed" else 0
        return Made(files=each.files, bytes=each.bytes, removed_bytes=removed)
    if each.state.value == "duplicate":
        return Made(duplicate_files=each.files, duplicate_bytes=each.bytes)
    return Made(other_bytes=0 if each.state.value == "removed" else each.bytes)


def accepted_in(tallies: Iterable[OutputTally]) -> int:
    """Return the accepted subruns of each stage's output that has the fewest, summed over stages."""
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in tallies:
        if each.accepted:
            found[each.dag_id, each.stage][each.name] += each.subruns
    return sum(min(outputs.values()) for outputs in found.values())


def added(rows: Sequence[Row], campaign: str, name: str, *, all_events: bool = False) -> Row:
    """Return rows as one; its events are of the row that has the most, or of all.

    Stages of one campaign have the same events again, other campaigns have others.
    """
    made = reduce(Made.__add__, (row.made for row in rows), Made())
    told = [row.made.events for row in rows if row.made.events is not None]
    events = sum(told) if all_events and told else max(told, default=None)
    sums = {
        field: sum(getattr(row, field) for row in rows)
        for field in ("accepted", "missing", "submissions", "recoveries", "refused", "open_jobs")
    }
    wanted = [row.subruns for row in rows if row.subruns is not None]
    return Row(
        campaign=campaign,
        name=name,
        work=reduce(Work.__add__, (row.work for row in rows), Work()),
        made=replace(made, events=events),
        subruns=sum(wanted) if wanted else None,
        **sums,
    )


def causes_of(ledger: Ledger, scope: ReportScope) -> tuple[Cause, ...]:
    """Return why jobs failed, what cost the most hours first."""
    return tuple(_cause(each) for each in ledger.cause_tallies(scope))


def _cause(each: CauseTally) -> Cause:
    same = {name: getattr(each, name) for name in Cause.__dataclass_fields__ if name != "campaign"}
    return Cause(campaign=each.dag_id, **same)


def actions_of(ledger: Ledger, scope: ReportScope) -> tuple[tuple[str, int, int], ...]:
    """Return (what, times by prodsys, times by people) of what was done."""
    times: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for each in ledger.action_tallies(scope):
        times[each.kind.value][int(each.by_people)] += each.times
    return tuple((kind, own, people) for kind, (own, people) in sorted(times.items()))


def people_of(ledger: Ledger, scope: ReportScope) -> tuple[Did, ...]:
    """Return what people did, in order of time."""
    return tuple(
        Did(
            at=each.at,
            who=each.who,
            kind=each.kind.value,
            where=" ".join(
                filter(None, (each.dag_id, "" if each.run is None else f"run {each.run}", each.stage))
            ),
            detail=each.detail,
        )
        for each in ledger.people_did(scope, most=MOST_PEOPLE)
    )


def width_for(span_s: float) -> float:
    """Return the width that divides a span of time into at most INTERVALS."""
    return float(next((width for width in WIDTHS_S if span_s <= width * INTERVALS), span_s / INTERVALS))


def within(interval: int, count: int) -> int:
    """Return the interval, or the time line's nearest: clocks differ, and nothing is to be lost."""
    return min(max(interval, 0), count - 1)


def time_line(
    ledger: Ledger,
    scope: ReportScope,
    intervals: Intervals,
    *,
    end: float,
    lines: Callable[[int], tuple[Line, ...]],
) -> TimeLine:
    """Return what happened up to `end`; `lines` makes so many intervals of what was accepted."""
    count = max(int((end - intervals.start) // intervals.width_s) + 1, 1)
    good, bad = [0] * count, [0] * count
    for each in ledger.ended_over_time(scope, intervals):
        at = within(each.interval, count)
        good[at] += each.good
        bad[at] += each.bad
    return TimeLine(
        start=intervals.start,
        width_s=intervals.width_s,
        lines=lines(count),
        good=tuple(good),
        bad=tuple(bad),
    )
