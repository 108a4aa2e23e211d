"""`prodsys status`: how far a campaign is, and why subruns are not accepted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from include.bookkeeping.commands import LedgerOption  # noqa: TC001  typer resolves it
from include.campaign.wording import did_you_mean
from include.errors import ProdsysError

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""
COUNTS = ("subruns", "accepted", "missing", "unknown", "duplicates")


def status(
    campaign: Annotated[str, typer.Argument(help="EXPERIMENT.NAME")],
    *,
    ledger: LedgerOption,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show a campaign's dag_runs: subruns by stage, and why some are not accepted."""
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy

    dag_id = campaign.replace("/", ".")
    try:
        with Ledger(ledger) as opened:
            dag_runs = status_of(opened, dag_id)
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if as_json:
        found = {"campaign": dag_id, "dag_runs": dag_runs}
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        for dag_run in dag_runs:
            _show(dag_id, dag_run)


def status_of(ledger: Ledger, dag_id: str) -> list[dict[str, Any]]:
    """Return each dag_run's stages and causes, as JSON values; ProdsysError if the ledger has none."""
    from include.bookkeeping.summaries import STAGE_COLUMNS, campaign_summary, cause_summary

    frame = campaign_summary(ledger, dag_id)
    if frame.empty:
        hint = did_you_mean(dag_id, ledger.campaigns())
        raise ProdsysError(f"no dag_run of {dag_id} is in the ledger {ledger.place} ({hint})")
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


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command()(status)


def _show(dag_id: str, dag_run: dict[str, Any]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
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
