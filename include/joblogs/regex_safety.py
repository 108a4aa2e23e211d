"""Regular expressions that could search one line for ever, told before they meet one."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

# The parser of the standard library: private, but the same in Python 3.11 to 3.13, and a test would tell.
_parser: Any = import_module("re._parser")
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT"})
_FIXED = frozenset({"LITERAL", "NOT_LITERAL", "IN", "ANY", "CATEGORY", "GROUPREF"})
_MANY = 20


def explodes(regex: str, flags: int = 0) -> bool:
    """Return whether a repeat holds only other repeats, as in `(a+)+` or `(?:\\w*\\s*)*`.

    Python tries exponentially many ways to match such an expression, and cannot be interrupted. One item
    that must be there each time makes it harmless, as in `(?:\\.\\w+)*`; so does a possessive repeat,
    `(?:a+)++`.
    """
    return _any_explodes(_parser.parse(regex, flags & re.IGNORECASE))


def _any_explodes(items: Any) -> bool:
    for operation, argument in items:
        if str(operation) in _REPEATS and argument[1] >= _MANY and _loose(argument[2]):
            return True
        if any(_any_explodes(inner) for inner in _inside(str(operation), argument)):
            return True
    return False


def _inside(operation: str, argument: Any) -> list[Any]:
    """Return the sequences within an item."""
    if operation in _REPEATS:
        return [argument[2]]
    if operation == "SUBPATTERN":
        return [argument[3]]
    if operation == "BRANCH":
        return list(argument[1])
    if operation in {"ASSERT", "ASSERT_NOT"}:
        return [argument[1]]
    return []


def _loose(items: Any) -> bool:
    """Return whether a sequence has a repeat of open length, and nothing that must be there once."""
    repeats = False
    for operation, argument in items:
        name = str(operation)
        if name in _FIXED:
            return False
        if name in _REPEATS:
            repeats = repeats or (argument[1] > max(1, argument[0]))
        elif name == "BRANCH":
            repeats = repeats or any(_loose(one) for one in argument[1])
        elif name == "SUBPATTERN":
            if not _loose(argument[3]):
                return False
            repeats = True
    return repeats
