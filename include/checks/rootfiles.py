"""What must be inside a ROOT file, and what is wrong with one."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.checks.content import Found, compare, look, missing

if TYPE_CHECKING:
    from include.checks.content import Content

_LARGE = 1_000_000
"""Files of 2 GB and more have this added to their version."""


def look_into(path: str, wanted: Content) -> Found:
    """Compare a ROOT file with what it must hold.

    Raises OSError if it is the storage that gives trouble, not the file's content.
    """
    problem = _header(path)
    return Found(problem=problem) if problem else look("ROOT", lambda: _look(path, wanted))


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
            return missing(wanted.tree, classes)
        tree = file[wanted.tree]
        if getattr(tree, "num_entries", None) is None:
            return Found(problem=f"tree missing: {wanted.tree!r} is a {classes[wanted.tree]}")
        return compare(_Tree(tree), wanted)


class _Tree:
    """A tree as a table."""

    def __init__(self, tree: Any) -> None:
        self._tree = tree
        self.columns = frozenset(tree.keys())
        self.entries = int(tree.num_entries)

    def values(self, column: str, start: int, stop: int) -> Any:
        """See Table."""
        arrays = self._tree.arrays([column], entry_start=start, entry_stop=stop, library="np")
        return arrays[column]
