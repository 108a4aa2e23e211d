"""The log server inside Airflow's api-server, the embedded default: jobs post here, pages read the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.errors import ProdsysError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from fastapi import FastAPI

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]

URL_PREFIX = "/prodsys-logs"


class LogServer:
    """An ASGI app that is made at its first request: all of Airflow's processes load the plugin."""

    def __init__(self) -> None:
        self._app: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if self._app is None:
            try:
                self._app = make_log_server()
            except ProdsysError as error:
                from include.logserver.app import refusal

                await refusal(503, str(error))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def make_log_server() -> FastAPI:
    """Return the app; ProdsysError unless `[prodsys] log_server` says that jobs post to this api-server."""
    from include.campaign.units import parse_size
    from include.logserver.app import make_app
    from include.logserver.intake import Intake
    from include.logserver.records import Policy
    from prodsys_operators.settings import settings

    deployment = settings()
    if not deployment.log_server.rstrip("/").endswith(URL_PREFIX):
        raise ProdsysError("there is no log server here")
    try:
        space = parse_size(deployment.log_space)
    except ValueError as error:
        raise ProdsysError(f"airflow.cfg, section [prodsys]: log_space: {error}") from error
    policy = Policy(days=deployment.log_days, total_bytes=space)
    return make_app(Intake(deployment.open_logs(), deployment.log_key, policy=policy))


app = LogServer()
