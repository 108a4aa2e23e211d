"""A report as a page that needs nothing else, and as JSON."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from include.errors import StorageError
from include.joblogs.text import clean, shorten
from include.reports import plots

if TYPE_CHECKING:
    from include.reports.figures import Report

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_NAME = 200
MOST_ROWS = 200
"""Rows of a table in the page; JSON has them all."""


def as_json(report: Report) -> str:
    """Return the report as JSON text."""
    text = json.dumps(report.plain(), indent=2, ensure_ascii=False)
    # Half a surrogate pair, of a file name that is not UTF-8, becomes JSON's escape for it.
    return text.encode("utf-8", "backslashreplace").decode()


def as_html(report: Report) -> str:
    """Return the report as one HTML page, with its plots inside and nothing from elsewhere."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_fit,
    )
    environment.filters.update(
        percent=percent, hours=hours, size=size, number=number, moment=moment, duration=duration
    )
    line = report.time_line
    svgs = {"accepted": "", "ended": ""}
    if line is not None:
        # Drawn here, of numbers and of text that the SVG writer escapes.
        svgs = {
            "accepted": Markup(plots.accepted_over_time(line)),  # noqa: S704
            "ended": Markup(plots.ended_over_time(line)),  # noqa: S704
        }
    return environment.get_template("report.html").render(report=report, plots=svgs, most=MOST_ROWS)


def write(report: Report, html: Path, plain: Path) -> None:
    """Write both files, each as a whole or not at all; StorageError names the one that cannot be written."""
    for path, text in ((plain, as_json(report)), (html, as_html(report))):
        replace_file(path, text)


def report_path(area: Path, dag_id: str, tranche: str) -> Path:
    """Return the page's path, `AREA/reports/EXPERIMENT/CAMPAIGN/TRANCHE.html`; the JSON is beside it.

    What a file's name cannot hold is percent-encoded; a name that is too long ends in its checksum.
    """
    experiment, _, campaign = dag_id.partition(".")
    name = quote(tranche, safe=":+")
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}-{sha256(tranche.encode()).hexdigest()[:12]}"
    return area / "reports" / experiment / campaign / f"{name}.html"


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old one or the new one; StorageError where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            part = Path(file.name)
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                part.chmod(0o644)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StorageError(
            f"the report {path} cannot be written: {error.strerror or error}; say another place"
        ) from error


def _fit(value: Any) -> Any:
    """Return what the template writes, text without control and invisible characters."""
    if type(value) is str:
        return shorten(clean(value), limit=2000)
    return value


def percent(share: float | None) -> str:
    """Return 0..1 as a percentage."""
    return "-" if share is None else f"{100 * share:.1f} %"


def hours(seconds: float) -> str:
    """Return seconds in hours."""
    return f"{seconds / 3600:,.1f} h"


def number(value: float | None) -> str:
    """Return a number with its thousands apart."""
    return "-" if value is None else f"{value:,}"


def size(count: float) -> str:
    """Return bytes in a unit that fits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} PB"


def moment(at: float | None) -> str:
    """Return epoch seconds as people read them."""
    return "-" if at is None else datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float | None) -> str:
    """Return a span of time in the unit that fits."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
