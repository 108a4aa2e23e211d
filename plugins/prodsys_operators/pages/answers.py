"""Answers: whole pages, the parts of them that change, tables as CSV and JSON; with an ETag each."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.progress.bars import PARTS
from include.triage.story import will
from prodsys_operators.pages import wording

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastapi import Request

FOLDER = Path(__file__).parent
LIVE_HEADER = "x-prodsys-live"
"""Sent by a page that asks for its changing part alone."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "x-frame-options": "SAMEORIGIN",
    "vary": "Cookie, Authorization, X-Prodsys-Live",
}
PRIVATE = "private, no-cache"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters that a spreadsheet takes for a formula."""
MOMENT = "at"
"""Of a page's values, when they were looked up: no reason to send the others again."""


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = ("moment", "second", "iso", "span", "size", "percent", "number", "rate", "bar_text", "bar_parts")
    made.filters.update({name: getattr(wording, name) for name in names} | {"will": will})
    made.globals.update(end=wording.end, parts=wording.PART_NAMES, all_parts=PARTS)
    return made


ENVIRONMENT = _environment()


def static_version() -> str:
    """Return a text that changes with the static files, so that browsers may keep them for ever."""
    digest = hashlib.sha256()
    for path in sorted((FOLDER / "static").rglob("*.*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


VERSION = static_version()


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a page, or the part of it that changes where its own script asks for that."""
    base = request.scope.get("root_path", "")
    live = LIVE_HEADER in request.headers
    html = ENVIRONMENT.get_template(template).render(
        base=base,
        version=VERSION,
        layout="live.html" if live else "page.html",
        query=request.url.query,
        **values,
    )
    return tagged(request, html.encode(), "text/html; charset=utf-8", status=status)


def tagged(
    request: Request, body: bytes, kind: str, *, status: int = 200, lasting: bytes | None = None
) -> Response:
    """Return a body with its ETag, or 304 where the browser has it.

    Of a body that tells the moment of the request, the ETag is that of what is `lasting` in it.
    """
    etag = f'"{hashlib.sha256(body if lasting is None else lasting).hexdigest()[:24]}"'
    headers = {"etag": etag if lasting is None else f"W/{etag}", "cache-control": PRIVATE}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if status == 200 and etag in known:
        return Response(status_code=304, headers=headers)
    return Response(body, status_code=status, media_type=kind, headers=headers)


def as_json(request: Request, value: Any) -> Response:
    """Return a page's values for programs."""
    plain = wording.plain(value)
    lasting = {name: each for name, each in plain.items() if name != MOMENT} if MOMENT in plain else None
    return tagged(
        request, _json(plain), "application/json", lasting=None if lasting is None else _json(lasting)
    )


def _json(plain: Any) -> bytes:
    text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def as_csv(request: Request, name: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """Return a table as a file; what a spreadsheet would take for a formula is made text."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    answer = tagged(request, text.getvalue().encode("utf-8", "backslashreplace"), "text/csv; charset=utf-8")
    answer.headers["content-disposition"] = f'attachment; filename="{name}.csv"'
    return answer


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value


__all__ = ["ENVIRONMENT", "HEADERS", "as_csv", "as_json", "page", "tagged"]
