"""What must be inside an HDF5 file, and what is wrong with one.

A file's table is a group of datasets with one value an event each, or a dataset of compound type. The first
bytes are read by hand: they tell what the library does not, such as how much of a cut file is there. Source:
HDF5 File Format Specification, version 3.0, section II.A (the superblock).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.checks.content import Found, compare, look, missing

if TYPE_CHECKING:
    from include.checks.content import Content

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FIRST_PLACES = 8
"""The superblock is at 0, or at 512, 1024, 2048 … behind what a user put in front."""
_HEADER = 64
_OPEN_FOR_WRITING = 1


def look_into(path: str, wanted: Content | None) -> Found:
    """Open an HDF5 file, and compare its table with what it must hold where that is known.

    Raises OSError if it is the storage that gives trouble, not the file's content.
    """
    problem = look_at_header(path)
    return Found(problem=problem) if problem else look("HDF5", lambda: _look_inside(path, wanted))


def _look_inside(path: str, wanted: Content | None) -> Found:
    import h5py  # slow, and not needed by stages without HDF5 files

    # No lock: many storages have none, and the file has been published, so nobody writes it.
    with h5py.File(path, "r", locking=False) as file:
        there = list(file)
        if wanted is None:
            return Found(problem="")
        if _leads_out(file, wanted.tree):
            return Found(problem=f"tree missing: {wanted.tree!r} is a link to another file")
        if wanted.tree not in file:
            return missing(wanted.tree, there)
        table = _Group(file[wanted.tree])
        if len(table.lengths) != 1:
            lengths = ", ".join(map(str, sorted(table.lengths)[:5]))
            what = f"columns of {lengths} entries" if lengths else "no column"
            return Found(problem=f"tree missing: {wanted.tree!r} is no table, it has {what}")
        return compare(table, wanted)


def _leads_out(group: Any, path: str) -> bool:
    """Whether a part of a path is a link to another file, which might be anything, a pipe too."""
    import h5py

    parts = path.strip("/").split("/")
    ways = ("/".join(parts[: count + 1]) for count in range(len(parts)))
    return any(isinstance(group.get(way, getlink=True), h5py.ExternalLink) for way in ways)


class _Group:
    """A group of datasets, or one of compound type, as a table."""

    def __init__(self, item: Any) -> None:
        compound = getattr(getattr(item, "dtype", None), "names", None)
        self._item = item
        own = () if compound else [name for name in item if not _leads_out(item, name)]
        names = compound or [name for name in own if getattr(item[name], "shape", None)]
        self.columns = frozenset(names)
        self.lengths = {len(item)} if compound else {int(item[name].shape[0]) for name in names}
        self.entries = next(iter(self.lengths), 0)
        self._is_compound = bool(compound)

    def values(self, column: str, start: int, stop: int) -> Any:
        """See Table; a column of shape (n, 1), as some writers make it, counts as one of n."""
        part = self._item[start:stop][column] if self._is_compound else self._item[column][start:stop]
        return part.reshape(stop - start, -1)[:, 0]


def look_at_header(path: str) -> str:
    """Return what is wrong with an HDF5 file, in one sentence; empty if nothing is. Raises OSError."""
    with Path(path).open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        for place in (0, *(512 << step for step in range(_FIRST_PLACES))):
            stream.seek(place)
            header = stream.read(_HEADER)
            if header.startswith(SIGNATURE):
                return _look(header, size=size)
            if place == 0:
                start = header[:8]
    return f"not an HDF5 file: it begins with {start!r}"


def _look(header: bytes, *, size: int) -> str:
    version = header[8] if len(header) > 8 else -1
    if version not in (0, 1, 2, 3):
        return f"HDF5 file is damaged: its superblock has version {version}"
    width = header[13] if version < 2 and len(header) > 13 else header[9] if len(header) > 9 else 0
    if width not in (2, 4, 8):
        return f"HDF5 file is damaged: its addresses have {width} bytes"
    if version >= 2 and len(header) > 11 and header[11] & _OPEN_FOR_WRITING:
        return "HDF5 file was not closed by its writer"
    base = (24, 28, 12, 12)[version]
    # The addresses: base, free space or extension, end of file.
    end_of_file = header[base + 2 * width : base + 3 * width]
    if len(end_of_file) < width:
        return f"HDF5 file is cut: {size} bytes are not even a header"
    end = int.from_bytes(end_of_file, "little")
    return f"HDF5 file is cut: {size} bytes of {end}" if size < end else ""
