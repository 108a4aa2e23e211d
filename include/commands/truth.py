"""`prodsys truth`: where ledger, pool and storage disagree."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Annotated

import typer

from include.bookkeeping.commands import LedgerOption  # noqa: TC001  typer resolves it
from include.campaign.units import parse_time
from include.campaign.wording import did_you_mean
from include.errors import ProdsysError
from include.joblogs.text import clean


def truth(
    campaign: Annotated[
        str | None, typer.Argument(metavar="[EXPERIMENT.NAME]", help="Only this campaign.")
    ] = None,
    *,
    ledger: LedgerOption,
    limit: Annotated[
        str, typer.Option(help="What has lasted for less is left out: `15 min`, `0 s`.")
    ] = "15 min",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show where ledger, queues and storage have disagreed for too long, with both sides' figures.

    Exit code 1: they disagree, or one of them gave no answer.
    """
    from include.batch.pool_process import PoolProcess
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy
    from include.data.storage import PosixStorage
    from include.recovery.truth import compare

    try:
        limit_s = parse_time(limit)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    dag_id = campaign.replace("/", ".") if campaign else None
    try:
        with Ledger(ledger) as opened, PoolProcess() as pool:
            if dag_id is not None and dag_id not in (known := opened.campaigns()):
                hint = did_you_mean(dag_id, known)
                raise ProdsysError(f"no dag_run of {dag_id} is in the ledger {opened.place} ({hint})")  # noqa: TRY301
            found = compare(opened, pool, PosixStorage(), dag_id=dag_id, now=time.time(), limit_s=limit_s)
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    else:
        for each in found.disagreements:
            typer.echo(clean(each.text))
        looked = f"{found.submissions} submissions, {found.files} of {found.accepted} accepted files compared"
        typer.echo(f"{len(found.disagreements)} disagreements of more than {limit}; {looked}")
        for line in found.given_back:
            typer.echo(clean(f"room is given back: {line}"))
    for line in found.no_answer:
        typer.echo(clean(f"not known: {line}"), err=True)
    if found.disagreements or found.no_answer:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command()(truth)
