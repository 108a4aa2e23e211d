"""Reading over HTTP, for a log server on its own: JSON, and raw bytes as a download."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from starlette.responses import Response, StreamingResponse

from include.errors import LogsError, LogsUnavailable, NoSuchLog, PostRefused
from include.logserver.app import HEADERS, bearer, refusal
from include.logserver.records import LARGEST_OFFSET, Before, Where
from include.logserver.tokens import read_reader_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.logserver.intake import Intake

Text = Annotated[str | None, Query(max_length=300)]
Number = Annotated[int | None, Query(ge=0, le=2**53)]
Place = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}:[0-9]{1,16}$")]
Moment = Annotated[float | None, Query(ge=0, le=1e11)]


def where_of(  # noqa: PLR0913, PLR0917  one parameter of the address each
    dag_id: Text = None,
    stage: Text = None,
    run: Number = None,
    subrun: Number = None,
    tag: Text = None,
    execution: Text = None,
    cluster: Number = None,
    process: Number = None,
    schedd: Text = None,
    host: Text = None,
    site: Text = None,
    category: Text = None,
    since: Moment = None,
    until: Moment = None,
) -> Where:
    """Return which logs a request means."""
    return Where(
        dag_id=dag_id, stage=stage, run=run, subrun=subrun, tag=tag, execution=execution, cluster=cluster,
        process=process, schedd=schedd, host=host, site=site, category=category, since=since, until=until,
    )  # fmt: skip


Meant = Annotated[Where, Depends(where_of)]


def add_routes(app: FastAPI, intake: Intake) -> None:
    """Let readers with a token read: /v1/logs, /v1/logs/ID, /v1/logs/ID/raw, /v1/search, /v1/refusals."""
    store = intake.store

    router = APIRouter(prefix="/v1", dependencies=[Depends(_readers_of(intake))])

    @router.get("/logs")
    def logs(where: Meant, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Any:
        return {"logs": [log.to_dict() for log in store.logs(where, limit=limit)]}

    @router.get("/logs/{number}")
    def log(number: int, since: Annotated[int | None, Query(ge=0, le=LARGEST_OFFSET)] = None) -> Any:
        found = store.tail(number) if since is None else store.since(number, since)
        return {"log": store.log(number).to_dict(), **asdict(found)}

    @router.get("/logs/{number}/raw")
    def raw(number: int) -> Response:
        name = f"{store.log(number).execution}.log"
        headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(store.raw(number), media_type="application/octet-stream", headers=headers)

    @router.get("/search")
    def search(
        where: Meant,
        text: Annotated[str, Query(max_length=500)],
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Place = None,
    ) -> Any:
        place = None if before is None else Before.parse(before)
        return store.search(text, where, limit=limit, before=place).to_dict()

    @router.get("/refusals")
    def refusals() -> Any:
        return {"days": store.refusals()}

    app.include_router(router)
    app.add_exception_handler(PostRefused, _refused)
    app.add_exception_handler(LogsError, _failed)


def _readers_of(intake: Intake) -> Callable[[Request, Response], str]:
    """Return what lets readers in, and nobody else."""

    def reader(request: Request, response: Response) -> str:
        response.headers.update(HEADERS)
        return read_reader_token(intake.key, bearer(request), now=intake.clock())

    return reader


def _refused(_: Request, error: Exception) -> Response:
    return refusal(getattr(error, "status", 400), str(error))


def _failed(_: Request, error: Exception) -> Response:
    if isinstance(error, LogsUnavailable):
        return refusal(503, "the database does not answer")
    return refusal(404 if isinstance(error, NoSuchLog) else 400, str(error))
