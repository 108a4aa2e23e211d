"""What a wrapper or program says of itself in a log: values, each with the line that says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from include.joblogs.text import shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact(Generic[Value]):
    """A value and its evidence."""

    value: Value
    line: int
    """In the log, from 1."""
    text: str
    """The line, cleaned, at most 300 characters."""


@dataclass(frozen=True, slots=True)
class Found:
    """A line that one of a collector's texts stands in."""

    line: int
    text: str
    """Cleaned; at most 4 kB of a longer line."""
    start: int
    """Offset in the log of the text that was searched for."""
    after: Callable[[int], list[str]]
    """Returns that many of the lines that follow, cleaned, as far as they are within 3 kB."""

    def fact(self, value: Value) -> Fact[Value]:
        """Return a value that this line tells."""
        return Fact(value=value, line=self.line, text=shorten(self.text))


class Collector(Protocol):
    """One format's part in reading a log."""

    @property
    def takes(self) -> Mapping[str, Callable[[Found], None]]:
        """Return text → what is to be told of the lines that hold it."""

    def passed(self, data: memoryview) -> None:
        """Take the log's bytes, in order, after all lines that begin in them were told."""


_WHOLE = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{0,12})?")


def whole(text: str | None) -> int | None:
    """Return a decimal number; None where it is none, or absurdly long."""
    return int(text) if text is not None and _WHOLE.fullmatch(text) else None


def decimal(text: str | None) -> float | None:
    """Return a number such as 12.5; None where it is none, or absurdly long."""
    return float(text) if text is not None and _DECIMAL.fullmatch(text) else None
