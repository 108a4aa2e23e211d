"""`prodsys status`: how far campaigns are, and why subruns are not accepted."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from include.bookkeeping.commands import LedgerOption  # noqa: TC001  typer resolves it
from include.campaign.wording import did_you_mean
from include.errors import LedgerUnavailable, ProdsysError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from include.bookkeeping.ledger import Ledger

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""
COUNTS = ("subruns", "accepted", "missing", "unknown", "duplicates")


def status(
    campaign: Annotated[
        str | None, typer.Argument(metavar="[EXPERIMENT.NAME]", help="Without one: all that are not done.")
    ] = None,
    *,
    ledger: LedgerOption,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="With --watch: seconds between two looks.")] = 5.0,
    finished: Annotated[
        bool, typer.Option("--all", help="Without a campaign: those that are done too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON; with --watch a line for each look.")
    ] = False,
) -> None:
    """Show how far campaigns are, a bar a stage; of one campaign also why subruns are not accepted."""
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy

    dag_id = None if campaign is None else campaign.replace("/", ".")
    try:
        with Ledger(ledger) as opened:
            if watch and as_json:
                _watch_json(opened, dag_id, every, finished=finished)
            elif watch:
                _watch(opened, dag_id, every, finished=finished)
            elif as_json:
                looked = _look(opened, dag_id, finished=finished)
                typer.echo(json.dumps(looked, indent=2, ensure_ascii=False))
            else:
                _print(opened, dag_id, finished=finished)
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command()(status)


def status_of(ledger: Ledger, dag_id: str) -> list[dict[str, Any]]:
    """Return each dag_run's stages and causes, as JSON values; ProdsysError if the ledger has none."""
    from include.bookkeeping.summaries import STAGE_COLUMNS, campaign_summary, cause_summary

    frame = campaign_summary(ledger, dag_id)
    if frame.empty:
        raise _unknown(ledger, dag_id)
    found: list[dict[str, Any]] = []
    for tranche, stages in frame.groupby("tranche", sort=False):
        head = stages[["slices", "first_run", "last_run"]].iloc[0].to_dict()
        causes = cause_summary(ledger, dag_id, str(tranche))
        found.append(
            {
                "dag_run": tranche,
                **{str(name): int(number) for name, number in head.items()},
                "stages": json.loads(stages[STAGE_COLUMNS].to_json(orient="records")),
                "causes": json.loads(causes.to_json(orient="records")),
            }
        )
    return found


def _unknown(ledger: Ledger, dag_id: str) -> ProdsysError:
    hint = did_you_mean(dag_id, ledger.campaigns())
    return ProdsysError(f"no dag_run of {dag_id} is in the ledger {ledger.place} ({hint})")


def _look(ledger: Ledger, dag_id: str | None, *, finished: bool) -> dict[str, Any]:
    """Return what there is to be said, as JSON values."""
    from include.commands.status_bars import lines_of, plain_line, plain_state, states_now

    now = time.time()
    if dag_id is None:
        return {
            "at": now,
            "campaigns": [plain_line(one) for one in lines_of(ledger, now=now, every=finished)],
        }
    dag_runs = status_of(ledger, dag_id)
    current = [plain_state(each) for each in states_now(ledger, dag_id, now=now)]
    return {"campaign": dag_id, "at": now, "now": current, "dag_runs": dag_runs}


def _bars(ledger: Ledger, dag_id: str | None, *, finished: bool, fancy: bool) -> Iterator[RenderableType]:
    """Yield the bars of all campaigns, or of one campaign's latest dag_runs."""
    from include.commands.status_bars import legend, lines_of, shown_line, stage_table, states_now

    now = time.time()
    if dag_id is not None:
        states = states_now(ledger, dag_id, now=now)
        if not states:
            raise _unknown(ledger, dag_id)
        yield stage_table(states, now=now, fancy=fancy)
    else:
        lines = lines_of(ledger, now=now, every=finished)
        if not lines:
            yield Text("no campaign is under way; --all shows those that are done")
        for line in lines:
            yield from shown_line(line, now=now, fancy=fancy)
    yield legend(fancy=fancy)


def _watch(ledger: Ledger, dag_id: str | None, every: float, *, finished: bool) -> None:
    """Show it until Ctrl-C; a ledger that is away for a while is said, and asked again."""
    console = _console()
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        while True:
            try:
                shown = list(_bars(ledger, dag_id, finished=finished, fancy=_fancy(console)))
            except LedgerUnavailable as error:
                shown = [Text(str(error), style="red")]
            at = Text(time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), style="dim")
            if live is None:
                console.print(at, *shown, sep="\n")
            else:
                live.update(Group(at, *shown), refresh=True)
            time.sleep(every)


def _watch_json(ledger: Ledger, dag_id: str | None, every: float, *, finished: bool) -> None:
    while True:
        typer.echo(json.dumps(_look(ledger, dag_id, finished=finished), ensure_ascii=False))
        time.sleep(every)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def _fancy(console: Console) -> bool:
    """Return whether the output takes more than ASCII."""
    return console.encoding.lower().startswith("utf")


def _print(ledger: Ledger, dag_id: str | None, *, finished: bool) -> None:
    console = _console()
    for dag_run in [] if dag_id is None else status_of(ledger, dag_id):
        _show(console, dag_id or "", dag_run)
    console.print(*_bars(ledger, dag_id, finished=finished, fancy=_fancy(console)), sep="\n")


def _show(console: Console, dag_id: str, dag_run: dict[str, Any]) -> None:
    runs = f"{dag_run['slices']} slices, runs {dag_run['first_run']}..{dag_run['last_run']}"
    console.print(Text(f"{dag_id}, dag_run {dag_run['dag_run']}: {runs}"), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage")
    for name in (*COUNTS, "complete"):
        table.add_column(name, justify="right")
    for stage in dag_run["stages"]:
        share = f"{100 * stage['complete']:.1f} %"
        table.add_row(Text(stage["stage"]), *(str(stage[name]) for name in COUNTS), share)
    console.print(table)
    for cause in dag_run["causes"]:
        what = f"{cause['check']}: {cause['cause']}"
        head = f"{cause['stage']}: {cause['subruns']} subruns {cause['outcome']}, {what}"
        example = f"    example: run {cause['run']}, subrun {cause['subrun']}: {cause['reason']}"
        for line in (head, example, f"    evidence: {cause['evidence']}"):
            console.print(Text(line), soft_wrap=True)
