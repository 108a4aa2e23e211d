"""How campaign errors show a value, and what they suggest instead."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_SHOWN = 80


def shown(value: object) -> str:
    """Return `value` as an error shows it: quoted, cut where it is long."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, tuple | list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint: the nearest of `known`, or all of them where none is near."""
    names = list(known)
    lower = {known_name.lower(): known_name for known_name in names}
    # A long word is no typing slip, and comparing costs its length squared.
    near = get_close_matches(name.lower(), lower, n=1, cutoff=0.6) if len(name) <= LONGEST_SHOWN else []
    if near:
        return f"did you mean {lower[near[0]]!r}?"
    if not names:
        return "there is none to choose from"
    return "one of: " + ", ".join(names)
