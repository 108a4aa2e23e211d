"""The page of all campaigns: one line each; filtered, sorted and cut into pages here, not in the browser."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from include.campaign.wording import did_you_mean
from include.errors import ProdsysError
from include.progress.estimate import Outlook
from include.progress.stages import TrancheState, looks, states_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from include.bookkeeping.ledger import Ledger

PAGE_SIZE = 50


class Standing(StrEnum):
    """How a campaign stands, in a word."""

    ASKS = "asks"
    """A question to a person is open, or jobs are held."""
    RUNS = "runs"
    """It has slices in flight."""
    STOPPED = "stopped"
    """It is not complete, and nothing is in flight."""
    DONE = "done"
    """Every slice is finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignLine:
    """One campaign: its latest tranche, and those that are in flight beside it."""

    dag_id: str
    standing: Standing
    needs: tuple[str, ...]
    """What a person should look at, one short sentence each."""
    state: TrancheState
    others: tuple[str, ...]
    """Further tranches in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a reader wants to see of the campaigns."""

    text: str = ""
    """Part of the name or the owner."""
    standing: Standing | None = None
    sort: str = "needs"
    page: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignsPage:
    """The page of all campaigns."""

    at: float
    wish: Wish
    lines: tuple[CampaignLine, ...]
    total: int
    """Campaigns that fit the wish."""
    pages: int
    standings: tuple[tuple[Standing, int], ...]
    """How many campaigns, of those that fit the text, stand so."""


SORTS: dict[str, Callable[[CampaignLine], tuple[object, ...]]] = {
    "needs": lambda line: (list(Standing).index(line.standing), -len(line.needs), line.dag_id),
    "name": lambda line: (line.dag_id,),
    "owner": lambda line: (line.state.facts.owner, line.dag_id),
    "percent": lambda line: (line.state.percent, line.dag_id),
    "end": lambda line: (line.state.estimate.end or float("inf"), line.dag_id),
    "started": lambda line: (-line.state.facts.reserved_at, line.dag_id),
}
"""The orders that there are."""


def wish(*, text: str = "", standing: str = "", sort: str = "", page: int = 1) -> Wish:
    """Return a wish from what a reader typed; ProdsysError names what there is."""
    if sort and sort not in SORTS:
        raise ProdsysError(f"campaigns cannot be sorted by {sort!r} ({did_you_mean(sort, SORTS)})")
    known = [each.value for each in Standing]
    if standing and standing not in known:
        raise ProdsysError(f"no campaign stands as {standing!r} ({did_you_mean(standing, known)})")
    chosen = Standing(standing) if standing else None
    return Wish(text=text.strip()[:200], standing=chosen, sort=sort or "needs", page=max(page, 1))


def campaign_lines(ledger: Ledger, *, now: float) -> list[CampaignLine]:
    """Return a line for each campaign of the ledger."""
    by_campaign: dict[str, list[TrancheState]] = {}
    for state in states_of(ledger.overview(times=looks(now)), now=now):
        by_campaign.setdefault(state.facts.dag_id, []).append(state)
    return [_line(dag_id, states, now=now) for dag_id, states in by_campaign.items()]


def campaigns_page(
    lines: Sequence[CampaignLine], visible: Collection[str], wanted: Wish, *, now: float
) -> CampaignsPage:
    """Return the page that a reader wants of the campaigns that they may see."""
    words = wanted.text.lower().split()
    mine = [
        line
        for line in lines
        if line.dag_id in visible
        and all(word in f"{line.dag_id} {line.state.facts.owner}".lower() for word in words)
    ]
    standings = Counter(line.standing for line in mine)
    if wanted.standing is not None:
        mine = [line for line in mine if line.standing is wanted.standing]
    mine.sort(key=SORTS[wanted.sort])
    pages = max(1, -(-len(mine) // PAGE_SIZE))
    page = min(wanted.page, pages)
    return CampaignsPage(
        at=now,
        wish=replace(wanted, page=page),
        lines=tuple(mine[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]),
        total=len(mine),
        pages=pages,
        standings=tuple((each, standings[each]) for each in Standing),
    )


def _line(dag_id: str, states: Sequence[TrancheState], *, now: float) -> CampaignLine:
    latest = states[-1]
    needs = tuple(sentence for state in states for sentence in needs_of(state, now=now))
    return CampaignLine(
        dag_id=dag_id,
        standing=_standing(states, needs),
        needs=needs,
        state=latest,
        others=tuple(state.facts.tranche for state in states[:-1]),
    )


def _standing(states: Sequence[TrancheState], needs: Sequence[str]) -> Standing:
    if needs:
        return Standing.ASKS
    if any(state.facts.in_flight or (not state.settled and state.bar.in_queue) for state in states):
        return Standing.RUNS
    if all(state.facts.finished == state.facts.slices for state in states):
        return Standing.DONE
    return Standing.STOPPED


SILENT_S = 600.0
"""Without a count of open jobs for so long, somebody should see whether the triggerer lives, seconds."""


def needs_of(state: TrancheState, *, now: float) -> list[str]:
    """Return what a person should look at in a tranche, one short sentence each."""
    found = [f"{each.stage}, run {each.run}: a decision is asked for" for each in state.questions]
    for line in () if state.settled else state.stages:
        if line.bar.held:
            held = line.bar.held
            found.append(f"{line.stage}: {held} subrun{'' if held == 1 else 's'} held")
        if line.estimate.outlook is Outlook.STALLED:
            found.append(f"{line.stage}: no job ended for hours, {line.bar.to_end} to go")
    if state.seen_at is not None and now - state.seen_at > SILENT_S:
        found.append(f"jobs were last counted {(now - state.seen_at) / 60:.0f} min ago")
    return found
