"""The page of one campaign: a tranche of it in detail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from include.errors import ProdsysError
from include.progress.bars import Bar
from include.progress.campaigns import needs_of
from include.progress.curve import Curve, curves
from include.progress.estimate import after_parents
from include.progress.stages import TrancheState, looks, states_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.overview_records import SiteLine, StageCount, SubmissionLine
    from include.bookkeeping.records import ActionRecord
    from include.campaign.plan import CampaignPlan
    from include.progress.estimate import Estimate

SUBMISSIONS_SHOWN = 200
ACTIONS_SHOWN = 100
CURVE_POINTS = 61


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceLine:
    """One slice: a bar a stage, as of its latest check."""

    run: int
    cells: tuple[tuple[str, Bar], ...]
    """(stage, bar)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What a stage's files take."""

    stage: str
    bytes: int
    duplicate_bytes: int
    forecast: int | None
    """Bytes once every subrun is accepted and nothing is removed; None before the first file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPage:
    """One tranche of a campaign in detail."""

    at: float
    dag_id: str
    state: TrancheState
    needs: tuple[str, ...]
    tranches: tuple[tuple[str, str, float], ...]
    """(tranche, dag_run id, when reserved), the latest first."""
    slices: tuple[SliceLine, ...]
    submissions: tuple[SubmissionLine, ...]
    sites: tuple[SiteLine, ...]
    space: tuple[Space, ...]
    actions: tuple[ActionRecord, ...]
    """The latest first."""
    plan: CampaignPlan
    """Pinned when the tranche was reserved: what it ran with, whatever the spec says since."""


def campaign_page(ledger: Ledger, dag_id: str, tranche: str | None, *, now: float) -> CampaignPage:
    """Return the page of a tranche, without one of the latest; ProdsysError where there is none."""
    tranches = ledger.tranche_list(dag_id)
    chosen = chosen_tranche(dag_id, tranche, [each[0] for each in tranches])
    overview = ledger.overview(times=looks(now), dag_id=dag_id, tranche=chosen)
    plan = ledger.plan_of(dag_id, chosen)
    (state,) = states_of(overview, now=now)
    state = _after_parents(state, plan)
    counts = ledger.slice_counts(dag_id, chosen)
    actions = ledger.actions(dag_id=dag_id, tranche=chosen)
    cpus = {stage.name: stage.resources.cpus for stage in plan.stages}
    return CampaignPage(
        at=now,
        dag_id=dag_id,
        state=state,
        needs=tuple(needs_of(state, now=now)),
        tranches=tuple(tranches),
        slices=tuple(_slices(counts)),
        submissions=tuple(ledger.submission_lines(dag_id, chosen, limit=SUBMISSIONS_SHOWN)),
        sites=tuple(ledger.site_lines(dag_id, chosen, cpus)),
        space=tuple(_space(state)),
        actions=tuple(reversed(actions[-ACTIONS_SHOWN:])),
        plan=plan,
    )


def chosen_tranche(dag_id: str, tranche: str | None, known: Sequence[str]) -> str:
    """Return the tranche that is meant; ProdsysError where the campaign has none such."""
    if not known:
        raise ProdsysError(f"{dag_id} has not run yet: trigger its DAG, and it is shown here")
    if tranche is None or tranche == "":
        return known[0]
    if tranche not in known:
        raise ProdsysError(f"{dag_id} has no tranche {tranche!r}; the latest is {known[0]!r}")
    return tranche


def campaign_curves(ledger: Ledger, dag_id: str, tranche: str | None, *, now: float) -> list[Curve]:
    """Return percent complete against time of each stage of a tranche, in order of the plan."""
    tranches = {name: since for name, _, since in ledger.tranche_list(dag_id)}
    chosen = chosen_tranche(dag_id, tranche, list(tranches))
    counts = ledger.slice_counts(dag_id, chosen)
    marks = ledger.accepted_marks(dag_id, chosen)
    since, until = tranches[chosen], now
    if marks and all(count.accepted >= count.subruns for count in counts):
        until = max(mark.at for mark in marks)
    ended = ledger.unchecked_curve(dag_id, chosen, since=since, now=until, points=CURVE_POINTS)
    return curves(counts, marks, ended, since=since, until=until)


def _after_parents(state: TrancheState, plan: CampaignPlan) -> TrancheState:
    """Let no stage end before those that it waits for."""
    ends: dict[str, Estimate] = {}
    for line in state.stages:
        parents = [ends[name] for name in plan.stage(line.stage).parents if name in ends]
        ends[line.stage] = after_parents(line.estimate, parents)
    lines = tuple(replace(line, estimate=ends[line.stage]) for line in state.stages)
    return replace(state, make_lines=lambda: lines)


def _slices(counts: Sequence[StageCount]) -> list[SliceLine]:
    by_run: dict[int, list[tuple[str, Bar]]] = {}
    for count in counts:
        if count.run is not None:
            by_run.setdefault(count.run, []).append((count.stage, _judged(count)))
    return [SliceLine(run=run, cells=tuple(cells)) for run, cells in by_run.items()]


def _judged(count: StageCount) -> Bar:
    """Return a bar of what checks have said; where jobs are in the queue is not looked at."""
    left = max(count.subruns - count.accepted - count.missing, 0)
    waiting = min(max(count.subruns - max(count.sent, count.accepted + count.missing), 0), left)
    held = min(count.held, left - waiting)
    return Bar(
        accepted=count.accepted,
        failed=count.missing,
        held=held,
        unknown=left - waiting - held,
        waiting=waiting,
    )


def _space(state: TrancheState) -> list[Space]:
    found = []
    for line in state.stages:
        known = line.bar.accepted and line.accepted_bytes
        grown = round(line.accepted_bytes / line.bar.accepted * line.bar.subruns) if known else None
        found.append(
            Space(
                stage=line.stage, bytes=line.bytes, duplicate_bytes=line.duplicate_bytes,
                forecast=None if grown is None else grown + line.duplicate_bytes,
            )
        )  # fmt: skip
    return found
