"""The HTTP side: what jobs call. It is public, and takes nothing without a token."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from include.errors import LogsError, LogsUnavailable, PostRefused
from include.logserver.protocol import MOST_BODY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from include.logserver.intake import Intake

log = logging.getLogger(__name__)

POST_PATH = "/v1/post"
HEALTH_PATH = "/v1/health"
PAUSE_S = 60
"""What a job that was refused for now is told to wait, seconds."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def make_app(intake: Intake) -> FastAPI:
    """Return the app that takes posts; `readers.add_routes` adds reading, or Airflow's pages have it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        intake.start()
        try:
            yield
        finally:
            await intake.stop()

    app = FastAPI(title="prodsys logs", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    async def post(request: Request) -> Response:
        try:
            stored = await intake.take(intake.claims(bearer(request)), await _body(request, intake))
        except PostRefused as refused:
            intake.refuse(refused.reason)
            return refusal(refused.status, str(refused))
        except ClientDisconnect:
            intake.refuse("gone")
            return refusal(400, "the job went away")
        except LogsUnavailable:
            intake.refuse("unavailable")
            return refusal(503, "the database does not answer")
        except LogsError:
            intake.refuse("database")
            return refusal(500, "the database refuses this post")
        return Response(json.dumps({"offset": stored.have}), media_type="application/json", headers=HEADERS)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=HEADERS)

    app.add_route(POST_PATH, post, methods=["POST"])
    app.add_middleware(_Direct, post=post)
    app.add_route(HEALTH_PATH, health, methods=["GET"])
    return app


class _Direct:
    """Gives posts to what takes them, past the routing, which costs nearly as much as taking one."""

    def __init__(self, app: ASGIApp, post: Callable[[Request], Awaitable[Response]]) -> None:
        self._app, self._post = app, post

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, as an ASGI application."""
        if scope["type"] == "http" and scope["method"] == "POST":
            mounted_at = scope.get("root_path", "")
            if scope["path"].removeprefix(mounted_at) == POST_PATH:
                answer = await self._post(Request(scope, receive))
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def refusal(status: int, sentence: str) -> Response:
    """Return an error's response; `Retry-After` says that trying again may help."""
    later = {"Retry-After": str(PAUSE_S)} if status in (429, 503) else {}
    return JSONResponse({"error": sentence}, status_code=status, headers={**HEADERS, **later})


def bearer(request: Request) -> str:
    """Return the request's token; PostRefused if there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise PostRefused("no-token", "there is no token: Authorization: Bearer TOKEN", status=401)
    return token.strip()


async def _body(request: Request, intake: Intake) -> bytes:
    """Return the body; PostRefused if it is too long or too slow, as soon as that is known."""
    too_long = PostRefused("too-long", f"a post has {MOST_BODY} bytes at most", status=413)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 12 or int(announced) > MOST_BODY):
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(intake.manners.body_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BODY:
                    raise too_long
    except TimeoutError as error:
        raise PostRefused("too-slow", "the post did not arrive in time", status=408) from error
    return bytes(body)
