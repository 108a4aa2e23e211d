"""How numbers, times and states are written on pages."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from include.progress.estimate import Estimate, Outlook
from include.progress.stages import TrancheState

if TYPE_CHECKING:
    from include.progress.bars import Bar

PART_NAMES = {
    "accepted": "accepted",
    "running": "running",
    "idle": "idle",
    "held": "held",
    "failed": "failed",
    "unknown": "not known",
    "waiting": "not sent yet",
}
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_NO_END = {
    Outlook.DONE: "done",
    Outlook.EARLY: "too early to tell",
    Outlook.STALLED: "stalled",
    Outlook.WAITING: "waits",
    Outlook.OVER: "no job left",
    Outlook.INCOMPLETE: "some held or not judged",
}


def moment(at: float | None) -> str:
    """Return a time in UTC, to the minute."""
    return "" if at is None else datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M")


def second(at: float | None) -> str:
    """Return a time in UTC, to the second, to be compared with logs."""
    return "" if at is None else datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso(at: float | None) -> str:
    """Return a time for machines."""
    return "" if at is None else datetime.fromtimestamp(at, tz=UTC).isoformat(timespec="seconds")


def span(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    if seconds is None:
        return ""
    left = max(0, round(seconds))
    if left < 60:
        return f"{left} s"
    minutes, hours, days = left // 60, left // 3600, left // 86400
    if days:
        return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"
    if hours:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{minutes} min"


def size(number: float | None) -> str:
    """Return bytes in a unit that fits."""
    if number is None:
        return ""
    value = float(number)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def percent(share: float) -> str:
    """Return a percentage; never 100 before all is done, never 0 once something is."""
    if 99.5 <= share < 100:
        return "99 %"
    if 0 < share < 1:
        return "<1 %"
    return f"{share:.0f} %"


def number(value: float | None) -> str:
    """Return a count with thin spaces between thousands."""
    return "" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def rate(estimate: Estimate) -> str:
    """Return a rate an hour."""
    if not estimate.rate:
        return ""
    return f"{number(estimate.rate)}/h" if estimate.rate >= 10 else f"{estimate.rate:.1f}/h"


def end(estimate: Estimate, now: float) -> str:
    """Return how long it still takes, with the band that nine in ten ends fall into."""
    if estimate.end is None:
        return _NO_END.get(estimate.outlook, "")
    early, late = (estimate.early or estimate.end) - now, (estimate.late or estimate.end) - now
    return f"{span(estimate.end - now)} ({span(early)} to {span(late)})"


def bar_text(bar: Bar) -> str:
    """Return a bar in words, for who cannot see it."""
    parts = [
        f"{number(getattr(bar, part))} {name}" for part, name in PART_NAMES.items() if getattr(bar, part)
    ]
    return f"{percent(bar.percent)} of {number(bar.subruns)} subruns: {', '.join(parts) or 'none'}"


def bar_parts(bar: Bar) -> list[tuple[str, float, float]]:
    """Return (part, from, width) in thousandths of the bar; a part that is there can always be seen."""
    whole = bar.subruns
    found, start = [], 0.0
    for part in PART_NAMES:
        count = getattr(bar, part)
        if count and part != "waiting":
            width = max(1000.0 * count / whole, 6.0)
            found.append((part, round(start, 2), round(min(width, 1000.0 - start), 2)))
            start = min(start + width, 1000.0)
    return found


def plain(value: Any) -> Any:
    """Return a page as JSON values."""
    if isinstance(value, TrancheState):
        value = value.to_dict()
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):  # a named one
        value = value._asdict()
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value
