"""The application: its routes, its headers, its errors."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from include.errors import LedgerError, ProdsysError
from prodsys_operators.pages import acts, answers, campaign_views, job_views

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

WORDS = {
    401: ("You are not signed in", "Sign in to Airflow, then open this page again."),
    403: ("You may not do this", "Ask who looks after Airflow's permissions here."),
    404: ("There is nothing here", "It may have another name, or it has not run yet."),
    422: ("The address is not right", "Go back, and follow a link to what you look for."),
    503: ("The ledger does not answer", "It is tried again by itself; if it stays so, see its database."),
}


def make_app() -> FastAPI:
    """Return the pages as an application, to be mounted where Airflow's API server says."""
    app = FastAPI(title="prodsys pages", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=answers.FOLDER / "static"), name="static")
    for router in (campaign_views.router, job_views.router, acts.router):
        app.include_router(router)
    app.middleware("http")(_with_headers)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(ProdsysError, _failed)
    return app


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    answer = await call_next(request)
    for name, value in answers.HEADERS.items():
        answer.headers[name] = value
    if "/static/" in request.url.path and request.url.query == f"v={answers.VERSION}":
        answer.headers["cache-control"] = "public, max-age=31536000, immutable"
    return answer


def _refused(request: Request, error: Exception) -> Response:
    status, detail = 422, "the address has a value that does not fit"
    if isinstance(error, HTTPException):
        status, detail = error.status_code, str(error.detail)
    return _error(request, status, detail)


def _failed(request: Request, error: Exception) -> Response:
    if isinstance(error, LedgerError):
        log.warning("pages: %s", error)
        return _error(
            request, 503, "The ledger's database cannot be used just now; the api-server's log says why."
        )
    return _error(request, 404, str(error))


def _error(request: Request, status: int, detail: str) -> Response:
    title, advice = WORDS.get(status, ("This did not work", "Try again."))
    if request.url.path.endswith((".json", ".csv")):
        answer = answers.as_json(request, {"error": detail})
        answer.status_code = status
        return answer
    values = {"title": title, "detail": detail, "advice": advice, "code": status}
    return answers.page(request, "error.html", status=status, **values)
