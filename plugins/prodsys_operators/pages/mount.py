"""The pages as Airflow mounts them, made at the first request: every task loads the plugin, few serve."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

PREFIX = "/prodsys"


@cache
def pages() -> FastAPI:
    """Return the application, made once."""
    from prodsys_operators.pages.app import make_app

    return make_app()


async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request, as an ASGI application."""
    await pages()(scope, receive, send)
