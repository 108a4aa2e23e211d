"""`prodsys up`, `prodsys down`, `prodsys demo`: the embedded default as a whole."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console

from embedded.demo import run_demo
from embedded.deployment import CHECKOUT, Deployment
from include.errors import ProdsysError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
DEMO_LIMIT_S = 1800.0

StateOption = Annotated[
    Path, typer.Option("--state", envvar="PRODSYS_STATE", help="Folder of all that is kept.", metavar="DIR")
]
STATE = CHECKOUT / ".prodsys"


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(up)
    app.command()(down)
    app.command()(demo)
    app.command()(env)


def up(*, state: StateOption = STATE) -> None:
    """Start the embedded pool and Airflow (`airflow standalone`), and leave them running."""
    console, deployment = _open(state)
    _do(deployment.start)
    console.print(_where(deployment), highlight=False)


def down(*, state: StateOption = STATE) -> None:
    """Stop what `up` or `demo --keep` left running; queue, ledger and files stay."""
    _, deployment = _open(state)
    _do(deployment.stop)


def env(*, state: StateOption = STATE) -> None:
    """Print what a shell needs to talk to the deployment: eval "$(prodsys env)"."""
    _, deployment = _open(state)
    for name, value in sorted(_do(deployment.shell_environment).items()):
        if name == "PATH" or name.startswith(("AIRFLOW", "PRODSYS", "CONDOR", "JOBSUB")):
            typer.echo(f"export {name}={shlex.quote(value)}")


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the UI up at the end.")] = False,
    campaign: Annotated[str, typer.Option(help="The campaign to run, EXPERIMENT.NAME.")] = "demo.pythia",
    state: StateOption = STATE,
) -> None:
    """Run the example campaign from nothing to merged ROOT files, and check them."""
    console, deployment = _open(state)
    try:
        _do(deployment.start)
        _do(lambda: run_demo(deployment, dag_id=campaign, limit_s=DEMO_LIMIT_S, console=console))
        console.print(f"outputs   {deployment.area}/outstage", highlight=False)
        console.print(f"job logs  {deployment.area}/logs", highlight=False)
        console.print(f"ledger    {deployment.ledger_url}", highlight=False)
        if keep:
            console.print(_where(deployment), highlight=False)
    finally:
        if not keep:
            _do(deployment.stop)


def _where(deployment: Deployment) -> str:
    return (
        f"UI        {deployment.url}   (user admin, password {deployment.password})\n"
        f"log       {deployment.log_file}\n"
        "stop it   make down"
    )


def _open(state: Path) -> tuple[Console, Deployment]:
    console = Console(soft_wrap=True)
    return console, Deployment(
        state=state.resolve(), say=lambda text: console.print(text, highlight=False, markup=False)
    )


def _do(act: Callable[[], T]) -> T:
    try:
        return act()
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
