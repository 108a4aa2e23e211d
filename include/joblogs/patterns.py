"""What to look for in a log, and the table that a scanner makes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.joblogs.regex_safety import explodes

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TEXT = 256
"""Characters of a literal."""
MIN_TEXT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What to look for in a line."""

    name: str
    literals: tuple[str, ...]
    """The line holds at least one of them: 3 to 256 printable ASCII characters each."""
    regex: str | None = None
    """Then searched for in that line, cleaned; None: the literal is enough. Its named groups are reported."""
    ignore_case: bool = False
    """For literals (ASCII letters) and regex."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A pattern that wants a text."""

    pattern: int
    """Its place in the table."""
    exact: bytes | None
    """What must stand there letter by letter, where the search itself ignores case; None: it need not."""


@dataclass(frozen=True, slots=True)
class Table:
    """Patterns compiled, and the texts that they need, each once."""

    patterns: tuple[Pattern, ...]
    regexes: tuple[re.Pattern[str] | None, ...]
    texts: tuple[bytes, ...]
    """Lower case if `fold`."""
    owners: tuple[tuple[Owner, ...], ...]
    """Of each text."""
    texts_of: tuple[tuple[int, ...], ...]
    """Of each pattern."""
    fold: bool
    """Whether the search ignores case, because at least one pattern does."""


def table(patterns: Iterable[Pattern]) -> Table:
    """Compile patterns; ValueError says what is wrong with one."""
    given = tuple(patterns)
    fold = any(pattern.ignore_case for pattern in given)
    owners: dict[bytes, list[Owner]] = {}
    places: dict[bytes, int] = {}
    regexes, texts_of = [], []
    names: set[str] = set()
    for number, pattern in enumerate(given):
        if pattern.name in names:
            raise ValueError(f"two patterns are called {pattern.name!r}")
        names.add(pattern.name)
        regexes.append(_regex(pattern))
        wanted: dict[int, None] = {}
        for literal in _literals(pattern):
            text = literal.lower() if fold else literal
            exact = literal if fold and not pattern.ignore_case else None
            owners.setdefault(text, []).append(Owner(number, exact))
            wanted[places.setdefault(text, len(places))] = None
        texts_of.append(tuple(wanted))
    return Table(
        patterns=given,
        regexes=tuple(regexes),
        texts=tuple(places),
        owners=tuple(tuple(owners[text]) for text in places),
        texts_of=tuple(texts_of),
        fold=fold,
    )


def _literals(pattern: Pattern) -> tuple[bytes, ...]:
    if not pattern.literals:
        raise ValueError(f"pattern {pattern.name!r} has no literal: give a text that every such line holds")
    for literal in pattern.literals:
        if not (MIN_TEXT <= len(literal) <= MAX_TEXT and literal.isascii() and literal.isprintable()):
            msg = (
                f"pattern {pattern.name!r}: the literal {literal!r} is not"
                f" {MIN_TEXT} to {MAX_TEXT} printable ASCII characters"
            )
            raise ValueError(msg)
    return tuple(dict.fromkeys(literal.encode() for literal in pattern.literals))


def _regex(pattern: Pattern) -> re.Pattern[str] | None:
    if pattern.regex is None:
        return None
    flags = re.IGNORECASE if pattern.ignore_case else 0
    try:
        compiled = re.compile(pattern.regex, flags)
        endless = explodes(pattern.regex, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"pattern {pattern.name!r}: {pattern.regex!r} is no regex: {error}") from error
    if endless:
        msg = (
            f"pattern {pattern.name!r}: {pattern.regex!r} repeats what can match the same text in two ways,"
            " and may search for ever; put something fixed between, or write ++ or *+ for the outer repeat"
        )
        raise ValueError(msg)
    return compiled
