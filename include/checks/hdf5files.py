"""What the first bytes of an HDF5 file say of the whole: is it one, was it closed, is all of it there.

Read by hand, so that no HDF5 library is needed; datasets are not opened. Source: HDF5 File Format
Specification, version 3.0, section II.A (the superblock).
"""

from __future__ import annotations

import os
from pathlib import Path

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_FIRST_PLACES = 8
"""The superblock is at 0, or at 512, 1024, 2048 … behind what a user put in front."""
_HEADER = 64
_OPEN_FOR_WRITING = 1


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
