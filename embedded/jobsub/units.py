"""Sizes and times as jobsub's options write them."""

from __future__ import annotations

import math
import re

from embedded.jobsub.errors import JobsubError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_SIZE_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LIFETIMES = {"short": 3 * 3600, "medium": 8 * 3600, "long": 85200}


def size(text: str, *, option: str, unit: str) -> int:
    """Return a size in `unit` ("k" or "m", powers of 1024), rounded up; a bare number is in it already."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise JobsubError(f"{option} {text}: not a size; write a number with KB, MB, GB or TB, such as 2GB")
    suffix = found[2].lower() or unit
    factor: float = 1024.0 ** (_SIZE_POWERS[suffix] - _SIZE_POWERS[unit])
    return math.ceil(float(found[1]) * factor)


def lifetime(text: str) -> int:
    """Return the seconds of --expected-lifetime."""
    return _LIFETIMES.get(text.strip().lower()) or seconds(text, option="--expected-lifetime")


def seconds(text: str, *, option: str) -> int:
    """Return a time in seconds, rounded up."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise JobsubError(f"{option} {text}: not a time; write a number with s, m, h or d, such as 8h")
    return math.ceil(float(found[1]) * _SECONDS[found[2].lower()])
