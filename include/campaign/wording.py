"""How messages show values and numbers, and what errors suggest instead."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST_SHOWN = 80
SPANS_SHOWN = 5


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


def spans(numbers: Sequence[int]) -> str:
    """Return rising numbers in words, such as `1000..1002, 1005`; the first few spans of many."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    told = [str(first) if first == last else f"{first}..{last}" for first, last in found[:SPANS_SHOWN]]
    more = len(numbers) - sum(last - first + 1 for first, last in found[:SPANS_SHOWN])
    return ", ".join(told) + (f" and {more} more" if more else "")
