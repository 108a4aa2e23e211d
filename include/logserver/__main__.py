"""The log server on its own: `python -m include.logserver`; docs/log-server.md says how it is deployed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from include.campaign.units import parse_size, parse_time
from include.errors import LogsError

if TYPE_CHECKING:
    from include.logserver.records import Policy

CONNECTIONS = 2000
"""Requests at a time that one process works on; more are told to come back."""
KEEP_ALIVE_S = 5


def serve(
    *,
    db: Annotated[str, typer.Option(envvar="PRODSYS_LOGS_DB", help="URL of the logs' database.")],
    key: Annotated[
        str, typer.Option(envvar="PRODSYS_LOG_KEY", help="Signs tokens; give it in the environment.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8790,
    days: Annotated[
        str, typer.Option(help="How long a log is kept after its last post; 0 d: for ever.")
    ] = "60 d",
    space: Annotated[str, typer.Option(help="The most that all logs take; 0 B: no limit.")] = "50 GB",
    upgrade: Annotated[bool, typer.Option(help="Bring the database to the newest revision first.")] = True,
) -> None:
    """Take jobs' logs and let readers read them; several may run on one database."""
    import uvicorn

    from include.logserver.app import make_app
    from include.logserver.intake import Intake
    from include.logserver.readers import add_routes
    from include.logserver.store import LogStore

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        store = LogStore(db)
        if upgrade:
            store.upgrade()
        intake = Intake(store, key, policy=_policy(days, space))
    except LogsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    app = make_app(intake)
    add_routes(app, intake)
    typer.echo(f"taking logs at http://{host}:{port} into {store.place}")
    uvicorn.run(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        server_header=False,
        proxy_headers=False,
    )
    store.close()


def _policy(days: str, space: str) -> Policy:
    from include.logserver.records import DAY_S, Policy

    try:
        return Policy(days=parse_time(days) / DAY_S, total_bytes=parse_size(space))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def main() -> None:
    """Run the server with the command line's options."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(serve)
    app()


if __name__ == "__main__":
    main()
