"""`prodsys ledger …`: create, upgrade and examine the bookkeeping database."""

from __future__ import annotations

from typing import Annotated

import typer

from include.errors import LedgerError

app = typer.Typer(help="The bookkeeping database.", no_args_is_help=True)


def missing() -> str:
    """Refuse to go on without an address, and say what sets it; BadParameter always."""
    raise typer.BadParameter('missing; in the folder of a deployment, eval "$(prodsys env)" sets it')


LedgerOption = Annotated[
    str,
    typer.Option(
        "--ledger",
        default_factory=missing,
        show_default=False,
        envvar="PRODSYS_LEDGER",
        help="The ledger's URL: sqlite:////absolute/path/ledger.db or postgresql://user@host/database.",
    ),
]


@app.command()
def upgrade(ledger: LedgerOption) -> None:
    """Create the ledger's tables, or bring them to the newest revision; safe to run at any time."""
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy

    try:
        with Ledger(ledger) as opened:
            revision = opened.upgrade()
            typer.echo(f"ledger {opened.place} is at revision {revision}")
    except LedgerError as error:
        _fail(error)


@app.command()
def check(ledger: LedgerOption) -> None:
    """Say whether the ledger is whole: at the newest revision, with the tables it should have, undamaged."""
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy

    try:
        with Ledger(ledger) as opened:
            problems = opened.problems()
            typer.echo(
                "\n".join(problems) or f"ledger {opened.place} is whole, at {opened.current_revision()}"
            )
    except LedgerError as error:
        _fail(error)
    if problems:
        raise typer.Exit(1)


def _fail(error: LedgerError) -> None:
    typer.echo(str(error), err=True)
    raise typer.Exit(1) from error
