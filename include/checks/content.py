"""What must be inside a file's table of events, whatever its format, and what is wrong with one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from include.checks.case import storage_trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_STEP = 1_000_000
"""Entries of the run and subrun columns that are in memory at once."""
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a table must hold."""

    tree: str
    entries: int | None
    """None: at least one."""
    run: int
    first_subrun: int
    last_subrun: int
    complete: frozenset[int] | None
    """Subruns that must all be there; None where that is not known."""
    ordered: bool
    """Whether the subruns must not decrease from entry to entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look into a file gave."""

    problem: str
    """What is wrong with it, in one sentence; empty if nothing is."""
    entries: int | None = None
    """Entries of the table; None where it could not be read."""


class Table(Protocol):
    """One entry an event; a tree of a ROOT file or a group of an HDF5 file."""

    @property
    def columns(self) -> Collection[str]:
        """The names of its columns."""

    @property
    def entries(self) -> int:
        """How many it has."""

    def values(self, column: str, start: int, stop: int) -> Any:
        """Return a column's values of the entries start..stop-1 as an array."""


def look(kind: str, inside: Callable[[], Found]) -> Found:
    """Return what `inside` finds in a file of that kind; what it cannot read is a problem of the file.

    Raises OSError if it is the storage that gives trouble.
    """
    try:
        return inside()
    except Exception as error:  # damaged bytes make the libraries raise nearly anything
        trouble = storage_trouble(error)
        if trouble is not None:
            raise trouble from error
        text = " ".join(str(error).split())
        return Found(problem=f"{kind} file cannot be read: {type(error).__name__}: {text:.200}")


def compare(table: Table, wanted: Content) -> Found:
    """Compare a table with what it must hold."""
    entries = table.entries
    if entries != wanted.entries if wanted.entries is not None else entries < 1:
        expected = "at least 1" if wanted.entries is None else str(wanted.entries)
        return Found(problem=f"wrong number of entries: {entries}, expected {expected}", entries=entries)
    return Found(problem=_numbers(table, wanted), entries=entries)


def missing(tree: str, there: Collection[str]) -> Found:
    """Return that the table is not in the file, but others are."""
    some = sorted(there)[:_SHOWN]
    only = f"only {', '.join(some)}" if some else "it is empty"
    return Found(problem=f"tree missing: no {tree!r} in it, {only}")


def _numbers(table: Table, wanted: Content) -> str:
    """Return what is wrong with the run and subrun columns, where the table has them."""
    if "run" in table.columns:
        for _, runs in _values(table, "run"):
            wrong = runs[runs != wanted.run]
            if len(wrong):
                return (
                    f"wrong run: {len(wrong)} entries of run {int(wrong[0])}, expected only run {wanted.run}"
                )
    return _subruns(table, wanted) if "subrun" in table.columns else ""


def _subruns(table: Table, wanted: Content) -> str:
    seen: set[int] = set()
    last: int | None = None
    for start, subruns in _values(table, "subrun"):
        outside = subruns[(subruns < wanted.first_subrun) | (subruns > wanted.last_subrun)]
        if len(outside):
            return (
                f"wrong subrun: {len(outside)} entries of subrun {int(outside[0])}, "
                f"expected {wanted.first_subrun}..{wanted.last_subrun}"
            )
        # The dtype may be unsigned: compare, do not subtract.
        falls = (subruns[1:] < subruns[:-1]).nonzero()[0]
        if wanted.ordered and (len(falls) or (last is not None and subruns[0] < last)):
            entry = start + int(falls[0]) + 1 if len(falls) else start
            return f"subruns out of order: they fall at entry {entry}"
        seen.update(int(subrun) for subrun in set(subruns.tolist()))
        last = int(subruns[-1])
    lost = sorted((wanted.complete or frozenset()) - seen)
    if lost:
        return f"subruns missing inside: {', '.join(map(str, lost[:_SHOWN]))}" + (
            " …" if len(lost) > _SHOWN else ""
        )
    return ""


def _values(table: Table, column: str) -> Iterator[tuple[int, Any]]:
    """Yield (first entry, values) of one column, a bounded part at a time."""
    for start in range(0, table.entries, _STEP):
        yield start, table.values(column, start, min(start + _STEP, table.entries))
