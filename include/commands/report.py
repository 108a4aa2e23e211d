"""`prodsys report`: what a campaign, or a week of a group, cost and made."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from include.bookkeeping.commands import LedgerOption  # noqa: TC001  typer resolves it
from include.errors import ProdsysError

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger
    from include.reports.figures import Report


def report(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT.NAME | DATE]",
            help="A campaign; or with --week a day of the week: 2026-11-23.",
        ),
    ] = None,
    *,
    ledger: LedgerOption,
    week: Annotated[
        bool,
        typer.Option("--week", help="The group's report of the week (UTC) of DATE; without one, of this."),
    ] = False,
    experiment: Annotated[str | None, typer.Option(help="With --week: this experiment alone.")] = None,
    dag_run: Annotated[str | None, typer.Option(help="Of a campaign: this dag_run alone.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The HTML file; by default named after the report, here."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write JSON to standard output, and no file.")
    ] = False,
) -> None:
    """Write a campaign's report, or a week's, as one HTML page that needs nothing else."""
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy
    from include.reports.writing import as_html, replace_file
    from include.reports.writing import as_json as json_text

    _require_sense(what, week=week, experiment=experiment, dag_run=dag_run)
    day = _day(what) if week else None
    try:
        with Ledger(ledger) as opened:
            made = _made(opened, what or "", day, experiment=experiment, dag_run=dag_run)
        if as_json:
            typer.echo(json_text(made))
            return
        path = output or Path(f"{_file_name(made.title)}.html")
        replace_file(path, as_html(made))
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{made.title}: {path.resolve()}")


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command()(report)


def _require_sense(what: str | None, *, week: bool, experiment: str | None, dag_run: str | None) -> None:
    if not week and what is None:
        raise typer.BadParameter("say which campaign, EXPERIMENT.NAME, or --week")
    if not week and experiment is not None:
        raise typer.BadParameter("--experiment goes with --week; a campaign has its own")
    if week and dag_run is not None:
        raise typer.BadParameter("--dag-run goes with a campaign, not with --week")


def _day(text: str | None) -> date:
    if text is None:
        return datetime.now(tz=UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"--week {text!r} is no date such as 2026-11-23") from None


def _made(
    ledger: Ledger, what: str, day: date | None, *, experiment: str | None, dag_run: str | None
) -> Report:
    now = time.time()
    if day is not None:
        from include.reports.week import week_report

        return week_report(ledger, day, now=now, experiment=experiment)
    from include.reports.campaign import campaign_report

    return campaign_report(ledger, what.replace("/", "."), now=now, tranche=dag_run)


def _file_name(title: str) -> str:
    """Return a file's name for a title; nothing in it is a path."""
    words = quote(title.replace(", ", "_").replace(" ", "-"), safe="-_.:+")
    return f"report_{words}"[:200]
