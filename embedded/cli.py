"""`prodsys pool start|stop|status|env`: the embedded pool by hand."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from embedded.pool import PersonalPool
from embedded.pool_config import PoolSettings
from include.errors import ProdsysError

CHECKOUT = Path(__file__).resolve().parents[1]

app = typer.Typer(
    no_args_is_help=True, help="The embedded HTCondor pool: real daemons on this machine alone."
)

_State = Annotated[Path, typer.Option(help="Folder of the pool: configuration, queue, history, logs.")]
_Binaries = Annotated[
    Path, typer.Option(help="Folder for private HTCondor binaries, where the machine has none.")
]
_STATE = CHECKOUT / ".prodsys/pool"
_BINARIES = CHECKOUT / ".prodsys/condor"


def _pool(
    state: Path, binaries: Path = _BINARIES, port: int | None = None, job_path: str = ""
) -> PersonalPool:
    settings = PoolSettings(state=state, binaries=binaries, port=port, job_path=job_path)
    return PersonalPool(settings, say=lambda text: typer.echo(text, err=True))


@app.command()
def start(
    *,
    state: _State = _STATE,
    binaries: _Binaries = _BINARIES,
    port: Annotated[
        int | None,
        typer.Option(
            help="Wanted port, a free one where it is in use; without: that of the last start, else 9618."
        ),
    ] = None,
    job_path: Annotated[str, typer.Option(help="Folders in front of the jobs' PATH.")] = str(
        Path(sys.executable).parent
    ),
) -> None:
    """Start the pool, or say that it runs; makes private binaries the first time."""
    try:
        _pool(state, binaries, port, job_path).start()
    except ProdsysError as error:
        _fail(error)


@app.command()
def stop(*, state: _State = _STATE) -> None:
    """Stop the pool and every process of it; the queue stays for the next start."""
    try:
        _pool(state).stop()
    except ProdsysError as error:
        _fail(error)


@app.command()
def status(*, state: _State = _STATE) -> None:
    """Say what runs; exit code 1 if nothing does."""
    found = _pool(state).status()
    if not found.running:
        typer.echo(f"no pool runs in {state}")
        raise typer.Exit(1)
    typer.echo(
        f"condor_master {found.pid}, port {found.port}, config {found.config}\n"
        f"nodes:   {', '.join(found.nodes)}\nschedds: {', '.join(found.schedds)}"
    )


@app.command()
def env(*, state: _State = _STATE) -> None:
    """Print what a shell needs: eval "$(prodsys pool env)"."""
    try:
        variables = _pool(state).environment()
    except ProdsysError as error:
        _fail(error)
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def _fail(error: ProdsysError) -> None:
    typer.echo(f"prodsys pool: {error}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
