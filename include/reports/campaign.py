"""The report of one campaign, or of one of its dag_runs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from include.bookkeeping.report_records import Intervals, ReportScope
from include.campaign.wording import did_you_mean
from include.errors import ProdsysError
from include.reports.figures import Line, Report, Row, Work
from include.reports.gather import (
    actions_of,
    added,
    causes_of,
    people_of,
    tallies_of,
    time_line,
    width_for,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.report_records import OutputTally
    from include.campaign.plan import CampaignPlan
    from include.reports.gather import Tallies


def campaign_report(ledger: Ledger, dag_id: str, *, now: float, tranche: str | None = None) -> Report:
    """Report on a campaign, or on one of its tranches; ProdsysError where the ledger has none of it."""
    tranches = _tranches(ledger, dag_id, tranche)
    scope = ReportScope(dag_id=dag_id, tranche=tranche)
    plan = ledger.plan_of(dag_id, tranches[-1])
    sent = ledger.submission_tallies(scope)
    start = min((each.first_at for each in sent), default=None)
    going = any(each.unfinished for each in sent)
    end = now if going else max((each.last_at for each in sent), default=None)
    intervals = None
    if start is not None and end is not None:
        intervals = Intervals(start=start, width_s=width_for(end - start))
    tallies = tallies_of(ledger, scope, sent, intervals)
    stages = _stages(ledger, tallies, plan, scope)
    total = added(stages, dag_id, "all stages")
    return Report(
        title=dag_id if tranche is None else f"{dag_id}, dag_run {tranche}",
        about=_about(plan, tranches, ledger),
        made_at=now,
        start=start,
        end=end,
        finished=not going and total.accepted == total.subruns,
        total=total,
        experiments=(),
        campaigns=(),
        stages=stages,
        sites=tallies.sites(by_stage=True),
        causes=causes_of(ledger, scope),
        time_line=None
        if intervals is None
        else time_line(
            ledger, scope, intervals, end=end or now, lines=partial(_lines, stages, plan, tallies.outputs)
        ),
        actions=actions_of(ledger, scope),
        people=people_of(ledger, scope),
    )


def _tranches(ledger: Ledger, dag_id: str, tranche: str | None) -> list[str]:
    known = ledger.tranches(dag_id)
    if not known:
        hint = did_you_mean(dag_id, ledger.campaigns())
        raise ProdsysError(f"no dag_run of {dag_id} is in the ledger {ledger.place} ({hint})")
    if tranche is None:
        return known
    if tranche not in known:
        hint = did_you_mean(tranche, known)
        raise ProdsysError(f"{dag_id} has no dag_run {tranche!r} in the ledger {ledger.place} ({hint})")
    return [tranche]


def _about(plan: CampaignPlan, tranches: Sequence[str], ledger: Ledger) -> tuple[tuple[str, str], ...]:
    runs = [each.run for name in tranches for each in ledger.slices_of(plan.dag_id, name)]
    return (
        ("experiment", plan.experiment),
        ("campaign", plan.campaign),
        ("description", plan.description),
        ("owner", plan.owner),
        ("phase", plan.phase),
        ("dag_runs", str(len(tranches)) if len(tranches) > 1 else tranches[0]),
        ("slices", str(len(runs))),
        ("runs", f"{min(runs)} to {max(runs)}"),
        ("spec", f"{plan.spec_file}, sha256 {plan.spec_sha256[:12]}"),
    )


def _stages(ledger: Ledger, tallies: Tallies, plan: CampaignPlan, scope: ReportScope) -> tuple[Row, ...]:
    """Return one row a stage in the plan's order; stages that only older plans had come last."""
    totals = ledger.stage_totals(scope)
    known = [stage.name for stage in plan.stages]
    found = {stage: row for (_, stage), row in tallies.rows(lambda *place: place).items()}
    rows = []
    for name in (*known, *(stage for stage in found if stage not in known)):
        row = found.get(name) or Row(campaign=plan.dag_id, name=name, work=Work())
        if (stands := totals.get(name)) is not None:
            row = replace(row, subruns=stands.subruns, accepted=stands.accepted, missing=stands.missing)
        rows.append(row)
    return tuple(rows)


def _lines(
    stages: Sequence[Row], plan: CampaignPlan, outputs: Sequence[OutputTally], count: int
) -> tuple[Line, ...]:
    """Return one line a stage, of the first output that its plan names."""
    firsts = {stage.name: stage.outputs[0].name for stage in plan.stages if stage.outputs}
    accepted = {row.name: [0] * count for row in stages}
    for each in outputs:
        if each.accepted and firsts.get(each.stage, each.name) == each.name:
            accepted[each.stage][within(each.interval, count)] += each.subruns
    return tuple(Line(name=row.name, whole=row.subruns, subruns=tuple(accepted[row.name])) for row in stages)
