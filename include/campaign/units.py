"""Sizes and times with units.

Sizes are powers of 1024, as in HTCondor's RequestMemory and in jobsub's `--memory` and `--disk`: 1 MB = 1 MiB
= 2**20 bytes (why: docs/decisions/0010-units.md). A bare number is refused, as nobody can tell what it means.
"""

from __future__ import annotations

import re
from decimal import Decimal
from math import ceil

from include.campaign.wording import shown

SIZE_UNITS = {
    "B": 1,
    "kB": 2**10,
    "MB": 2**20,
    "GB": 2**30,
    "TB": 2**40,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
"""Unit → bytes."""

TIME_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
"""Unit → seconds."""

LARGEST_SIZE = 2**50
"""1 PB in bytes: more than that is a slip of the keyboard, and would not fit into the plan's numbers."""
LONGEST_TIME = 366 * 86400
"""One year in seconds."""

SIZE_PATTERN = r"^[0-9]+(\.[0-9]+)? ?([kMGT]?B|[KMGT]iB)$"
"""The same in JSON Schema's words."""
TIME_PATTERN = r"^[0-9]+(\.[0-9]+)? ?(s|min|h|d)$"

_QUANTITY = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,6})?) ?(?P<unit>[A-Za-z]{0,12})", re.ASCII)

# What people write elsewhere (jobsub, POMS, slurm) → ours.
_SPELLINGS = {
    **{unit.lower(): unit for unit in (*SIZE_UNITS, *TIME_UNITS)},
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    "b": "B",
    "k": "kB",
    "g": "GB",
    "t": "TB",
}


def parse_size(value: object) -> int:
    """Return bytes for a text such as `2 GB`; ValueError names the units."""
    size = _parse(value, SIZE_UNITS, what="a size", example="2 GB")
    if size > LARGEST_SIZE:
        raise ValueError(f"{shown(value)} is more than 1 PB (1024 TB)")
    return size


def parse_time(value: object) -> int:
    """Return seconds for a text such as `8 h`; ValueError names the units."""
    time = _parse(value, TIME_UNITS, what="a time", example="8 h")
    if time > LONGEST_TIME:
        raise ValueError(f"{shown(value)} is longer than a year (366 d)")
    return time


def _parse(value: object, units: dict[str, int], *, what: str, example: str) -> int:
    known = ", ".join(units)
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(f"{shown(value)} has no unit: write {what} such as {example!r}, units {known}")
        raise ValueError(f"{shown(value)} is not {what}: write one such as {example!r}, units {known}")
    unit = match["unit"]
    if not unit:
        raise ValueError(f"{shown(value)} has no unit: write {what} such as {example!r}, units {known}")
    if unit not in units:
        meant = _SPELLINGS.get(unit.lower())
        if meant == "min" and "MB" in units:
            meant = "MB"
        near = f"; did you mean {match['number']} {meant}?" if meant in units else ""
        raise ValueError(f"{shown(value)} has the unit {unit!r}, which is not one of {known}{near}")
    return ceil(Decimal(match["number"]) * units[unit])
