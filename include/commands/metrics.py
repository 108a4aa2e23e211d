"""`prodsys metrics`: the campaigns' gauges for Prometheus, printed or served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from include.bookkeeping.commands import LedgerOption  # noqa: TC001  typer resolves it
from include.errors import ProdsysError

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger


def metrics(
    *,
    ledger: LedgerOption,
    serve: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve them over HTTP at this port; 0: any that is free."),
    ] = None,
    address: Annotated[
        str, typer.Option(help="With --serve: where to listen. Nobody is asked who they are.")
    ] = "127.0.0.1",
) -> None:
    """Print the campaigns' gauges in Prometheus's format, or serve them at /metrics."""
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy
    from include.reports.metrics import exposition

    try:
        with Ledger(ledger) as opened:
            opened.campaigns()  # a ledger that is not there is an error here, and a gauge when served
            if serve is None:
                typer.echo(exposition(opened).decode(), nl=False)
            else:
                _serve(opened, serve, address)
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command()(metrics)


def _serve(opened: Ledger, port: int, address: str) -> None:
    """Serve until the process is ended."""
    from prometheus_client import CollectorRegistry, start_http_server

    from include.reports.metrics import LedgerCollector

    registry = CollectorRegistry()
    registry.register(LedgerCollector(opened))
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise ProdsysError(
            f"nothing can listen at {address} port {port}: {error.strerror or error}; choose another"
        ) from error
    typer.echo(f"metrics: http://{address}:{server.server_port}/metrics")
    try:
        thread.join()
    except KeyboardInterrupt:
        server.shutdown()
        server.server_close()
