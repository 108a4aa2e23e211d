"""What must be inside a ROOT file, and what is wrong with one."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.checks.case import storage_trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = 1_000_000
"""Entries of the run and subrun branches that are in memory at once."""
_SHOWN = 5
_LARGE = 1_000_000
"""Files of 2 GB and more have this added to their version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a tree must hold."""

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
    """Entries of the tree; None where it could not be read."""


def look_into(path: str, wanted: Content) -> Found:
    """Compare a ROOT file with what it must hold.

    Raises OSError if it is the storage that gives trouble, not the file's content.
    """
    problem = _header(path)
    if problem:
        return Found(problem=problem)
    try:
        return _look(path, wanted)
    except Exception as error:  # damaged bytes make uproot raise nearly anything
        trouble = storage_trouble(error)
        if trouble is not None:
            raise trouble from error
        text = " ".join(str(error).split())
        return Found(problem=f"ROOT file cannot be read: {type(error).__name__}: {text:.200}")


def _header(path: str) -> str:
    """Return what the first bytes say against a file: a cut one may still open, its tree seem whole.

    Source: ROOT, class reference of TFile: magic, version, fBEGIN, fEND (8 bytes in large files).
    """
    with Path(path).open("rb") as stream:
        first = stream.read(20)
        size = os.fstat(stream.fileno()).st_size
    if first[:4] != b"root":
        return f"not a ROOT file: it begins with {first[:4]!r}"
    if len(first) < 20:
        return f"ROOT file is cut: {size} bytes are not even a header"
    (version,) = struct.unpack(">i", first[4:8])
    (end,) = struct.unpack(">q", first[12:20]) if version >= _LARGE else struct.unpack(">i", first[12:16])
    return f"ROOT file is cut: {size} bytes of {end}" if size < end else ""


def _look(path: str, wanted: Content) -> Found:
    import uproot  # slow, and not needed by stages without ROOT files

    with uproot.open(Path(path)) as file:
        classes = {name.partition(";")[0]: kind for name, kind in file.classnames(recursive=True).items()}
        if wanted.tree not in classes:
            there = sorted(classes)[:_SHOWN]
            only = f"only {', '.join(there)}" if there else "it is empty"
            return Found(problem=f"tree missing: no {wanted.tree!r} in it, {only}")
        tree = file[wanted.tree]
        entries = getattr(tree, "num_entries", None)
        if entries is None:
            return Found(problem=f"tree missing: {wanted.tree!r} is a {classes[wanted.tree]}")
        if entries != wanted.entries if wanted.entries is not None else entries < 1:
            expected = "at least 1" if wanted.entries is None else str(wanted.entries)
            return Found(problem=f"wrong number of entries: {entries}, expected {expected}", entries=entries)
        return Found(problem=_numbers(tree, wanted), entries=entries)


def _numbers(tree: Any, wanted: Content) -> str:
    """Return what is wrong with the run and subrun branches, where the tree has them."""
    there = set(tree.keys())
    if "run" in there:
        for _, runs in _values(tree, "run"):
            wrong = runs[runs != wanted.run]
            if len(wrong):
                return (
                    f"wrong run: {len(wrong)} entries of run {int(wrong[0])}, expected only run {wanted.run}"
                )
    return _subruns(tree, wanted) if "subrun" in there else ""


def _subruns(tree: Any, wanted: Content) -> str:
    seen: set[int] = set()
    last: int | None = None
    for start, subruns in _values(tree, "subrun"):
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


def _values(tree: Any, branch: str) -> Iterator[tuple[int, Any]]:
    """Yield (first entry, values) of one branch, a bounded part at a time."""
    for start in range(0, tree.num_entries, _STEP):
        stop = min(start + _STEP, tree.num_entries)
        yield start, tree.arrays([branch], entry_start=start, entry_stop=stop, library="np")[branch]
