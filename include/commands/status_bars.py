"""How campaigns stand, for a terminal and as JSON: a bar a stage, rate, and end with its error band."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from include.joblogs.text import clean
from include.progress.bars import PARTS
from include.progress.campaigns import Standing, campaign_lines
from include.progress.estimate import Outlook
from include.progress.stages import looks, states_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from include.bookkeeping.ledger import Ledger
    from include.progress.bars import Bar
    from include.progress.campaigns import CampaignLine
    from include.progress.estimate import Estimate
    from include.progress.stages import StageLine, TrancheState

WIDTH = 30
"""Characters of a bar."""
LOOKS = {
    "accepted": ("█", "#", "green"),
    "running": ("▓", "=", "cyan"),
    "idle": ("▒", "-", "blue"),
    "held": ("H", "H", "bold magenta"),
    "failed": ("X", "X", "bold red"),
    "unknown": ("?", "?", "yellow"),
    "waiting": ("·", ".", "dim"),
}
"""Part of a bar → its character, the one where there is no Unicode, its colour; colours say nothing more."""


def lines_of(ledger: Ledger, *, now: float, every: bool) -> list[CampaignLine]:
    """Return the campaigns, those that need a person first; without `every` those that are not done."""
    lines = [line for line in campaign_lines(ledger, now=now) if every or line.standing is not Standing.DONE]
    return sorted(lines, key=lambda line: (list(Standing).index(line.standing), line.dag_id))


def states_now(ledger: Ledger, dag_id: str, *, now: float) -> list[TrancheState]:
    """Return how a campaign's latest dag_run, and those in flight beside it, stand."""
    return states_of(ledger.overview(times=looks(now), dag_id=dag_id), now=now)


def plain_state(state: TrancheState) -> dict[str, Any]:
    """Return a dag_run's state as JSON values."""
    return {
        "dag_run": state.facts.tranche,
        "slices": state.facts.slices,
        "in_flight": state.facts.in_flight,
        "finished": state.facts.finished,
        "percent": state.percent,
        "counted_at": state.seen_at,
        **_plain_end(state.estimate),
        "questions": [{"stage": each.stage, "run": each.run} for each in state.questions],
        "stages": [
            {
                "stage": line.stage,
                "subruns": line.bar.subruns,
                **asdict(line.bar),
                "percent": line.bar.percent,
                "rate": line.estimate.rate,
                **_plain_end(line.estimate),
            }
            for line in state.stages
        ],
    }


def plain_line(line: CampaignLine) -> dict[str, Any]:
    """Return a campaign as JSON values."""
    return {
        "campaign": line.dag_id,
        "standing": line.standing.value,
        "needs": list(line.needs),
        **plain_state(line.state),
        "other_dag_runs": list(line.others),
    }


def _plain_end(estimate: Estimate) -> dict[str, Any]:
    names = ("end", "early", "late")
    return {"outlook": estimate.outlook.value, **{name: getattr(estimate, name) for name in names}}


def shown_line(line: CampaignLine, *, now: float, fancy: bool) -> list[RenderableType]:
    """Return a campaign as rich shows it."""
    head = Text(f"{line.dag_id}: {line.standing.value}, {line.state.percent:.1f} %", style="bold")
    needs = [Text(f"    ! {clean(need)}", style="magenta") for need in line.needs]
    return [head, *needs, stage_table([line.state], now=now, fancy=fancy)]


def stage_table(states: Sequence[TrancheState], *, now: float, fancy: bool) -> Table:
    """Return one row a stage; of several dag_runs with their names."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    if len(states) > 1:
        table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    table.add_column()
    for state in states:
        name = [Text(clean(state.facts.tranche))] if len(states) > 1 else []
        for line in state.stages:
            percent = f"{line.bar.percent:.1f} %"
            row = (line.stage, bar_text(line.bar, fancy=fancy), percent, counts_text(line.bar))
            table.add_row(*name, *row, end_text(line, now=now))
    return table


def legend(*, fancy: bool) -> Text:
    """Return what the characters of a bar mean."""
    found = Text()
    for part, (character, plain, colour) in LOOKS.items():
        found.append(character if fancy else plain, style=colour)
        found.append(f" {part}  ")
    found.rstrip()
    return found


def bar_text(bar: Bar, *, fancy: bool) -> Text:
    """Return a bar of WIDTH characters; a part that is there has at least one."""
    found = Text()
    for part, width in zip(PARTS, widths([getattr(bar, part) for part in PARTS]), strict=True):
        character, plain, colour = LOOKS[part]
        found.append((character if fancy else plain) * width, style=colour)
    return found


def widths(numbers: Sequence[int], width: int = WIDTH) -> list[int]:
    """Share `width` characters out by `numbers`: all of it, and none of a number without any."""
    whole = sum(numbers)
    if not whole:
        return [0] * len(numbers)
    found = [max(1, width * number // whole) if number else 0 for number in numbers]
    # The largest parts give, or get, what rounding has made too much or too little.
    while (spare := width - sum(found)) != 0:
        at = max(range(len(found)), key=lambda place: found[place] if spare < 0 else numbers[place])
        found[at] += 1 if spare > 0 else -1
    return found


def counts_text(bar: Bar) -> str:
    """Return a bar in numbers, what is zero left out."""
    parts = [f"{number} {part}" for part in PARTS[1:] if (number := getattr(bar, part))]
    return ", ".join([f"{bar.accepted}/{bar.subruns} accepted", *parts])


def end_text(line: StageLine, *, now: float) -> str:
    """Return rate and end in words."""
    estimate = line.estimate
    if estimate.outlook is not Outlook.KNOWN or estimate.end is None:
        words = {
            Outlook.EARLY: "too early for a rate",
            Outlook.STALLED: "stalled: no job has ended for hours",
            Outlook.WAITING: "waits",
            Outlook.OVER: "no job left",
            Outlook.INCOMPLETE: "some held or not judged",
        }
        return words.get(estimate.outlook, "")
    early, late = estimate.early or estimate.end, estimate.late or estimate.end
    band = f"{lasting(early - now)} to {lasting(late - now)}"
    return f"{estimate.rate or 0.0:.0f}/h, done in {lasting(estimate.end - now)} ({band})"


def lasting(seconds: float) -> str:
    """Return a span of time in the unit that fits."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{max(seconds, 0):.0f} s"
