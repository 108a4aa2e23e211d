"""The report of a group: one week of an experiment's campaigns, or of all."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING

from include.bookkeeping.report_records import Intervals, ReportScope
from include.campaign.wording import did_you_mean
from include.errors import ProdsysError
from include.reports.figures import Line, Report
from include.reports.gather import actions_of, added, causes_of, people_of, tallies_of, time_line, within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.report_records import OutputTally
    from include.reports.figures import Row
    from include.reports.gather import Tallies

DAY_S = 86_400.0
WIDTH_S = 6 * 3600.0


def week_report(ledger: Ledger, day: date, *, now: float, experiment: str | None = None) -> Report:
    """Report on the week (Monday to Sunday, UTC) of `day`; ProdsysError for an experiment without campaigns.

    Jobs belong to the week in which they ended, files to that in which they were accepted.
    """
    known = _experiments(ledger)
    if experiment is not None and experiment not in known:
        hint = did_you_mean(experiment, sorted(known))
        raise ProdsysError(f"no campaign of {experiment} is in the ledger {ledger.place} ({hint})")
    monday = day - timedelta(days=day.weekday())
    start = datetime.combine(monday, time(), tzinfo=UTC).timestamp()
    end = start + 7 * DAY_S
    scope = ReportScope(experiment=experiment, since=start, until=end)
    intervals = Intervals(start=start, width_s=WIDTH_S)
    tallies = tallies_of(ledger, scope, ledger.submission_tallies(scope), intervals)
    campaigns = _campaigns(tallies)
    experiments = _by_experiment(campaigns)
    whose = experiment or "all experiments"
    return Report(
        title=f"Week of {monday.isoformat()}, {whose}",
        about=(("experiment", whose), ("from", monday.isoformat()), ("days", "7, in UTC")),
        made_at=now,
        start=start,
        end=min(end, max(now, start)),
        finished=now >= end,
        total=_total(experiments),
        experiments=experiments,
        campaigns=campaigns,
        stages=tuple(tallies.rows(lambda *place: place).values()),
        sites=tallies.sites(by_stage=False),
        causes=causes_of(ledger, scope),
        time_line=time_line(
            ledger, scope, intervals, end=end - 1, lines=partial(_line, whose, tallies.outputs)
        ),
        actions=actions_of(ledger, scope),
        people=people_of(ledger, scope),
    )


def _experiments(ledger: Ledger) -> set[str]:
    return {_experiment(dag_id) for dag_id in ledger.campaigns()}


def _experiment(dag_id: str) -> str:
    return dag_id.partition(".")[0]


def _campaigns(tallies: Tallies) -> tuple[Row, ...]:
    rows = tallies.rows(lambda campaign, _: (campaign, campaign)).values()
    return tuple(sorted(rows, key=lambda row: (-row.work.wall_s, row.name)))


def _by_experiment(campaigns: Sequence[Row]) -> tuple[Row, ...]:
    names = sorted({_experiment(row.name) for row in campaigns})
    return tuple(
        added([row for row in campaigns if _experiment(row.name) == name], "", name, all_events=True)
        for name in names
    )


def _total(experiments: Sequence[Row]) -> Row:
    return added(experiments, "", "all", all_events=True)


def _line(name: str, outputs: Sequence[OutputTally], count: int) -> tuple[Line, ...]:
    """Return one line: of each stage the output that has the most."""
    most: dict[tuple[int, str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in outputs:
        if each.accepted:
            most[within(each.interval, count), each.dag_id, each.stage][each.name] += each.subruns
    found = [0] * count
    for (interval, *_), subruns in most.items():
        found[interval] += max(subruns.values())
    return (Line(name=name, whole=None, subruns=tuple(found)),)
