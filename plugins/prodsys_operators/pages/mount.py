"""The pages as Airflow mounts them, made at the first request: every task loads the plugin, few serve."""

from __future__ import annotations

import gc
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

PREFIX = "/prodsys"


@cache
def pages() -> FastAPI:
    """Return the application, made once.

    What is loaded by then stays, and is not walked by the garbage collector any more: with all of Airflow in
    memory a full collection stops every request for longer than a page takes.
    """
    from prodsys_operators.pages.app import make_app

    made = make_app()
    gc.collect()
    gc.freeze()
    return made


async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request, as an ASGI application."""
    await pages()(scope, receive, send)
