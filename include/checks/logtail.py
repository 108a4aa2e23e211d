"""The last line of a job's log, as evidence."""

from __future__ import annotations

import os
import stat

from include.joblogs.text import clean, last_segment

TAIL_BYTES = 64 * 1024
"""No more of a log is read, however long it is."""
OWN_LINES = "prodsys_job: "
MAX_LINE = 200
"""Characters of the line that are shown."""
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip, bzip2, xz and zstd."""


def last_line(path: str) -> str:
    """Return `path:line: text` of the last line that the script wrote, or the path and why there is none.

    What prodsys_job itself adds at the end tells nothing of the cause. The line's number is left out for
    logs longer than 64 KB: finding it would mean reading all of them.
    """
    try:
        data, whole = _tail(path)
    except FileNotFoundError:
        return f"{path}: no such log"
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    lines = data.split(b"\n")
    for number in range(len(lines), 0, -1):
        text = clean(last_segment(lines[number - 1]))
        if text and not text.startswith(OWN_LINES):
            shown = text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}…"
            return f"{path}:{number}: {shown}" if whole else f"{path}: {shown}"
    return f"{path}: " + ("the log is empty" if whole else f"the last {TAIL_BYTES} bytes are blank")


def _tail(path: str) -> tuple[bytes, bool]:
    """Return the last bytes of a file, and whether they are all of it."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(handle, "rb") as stream:  # noqa: PTH123  pathlib opens no descriptors
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "not a regular file")
        if stream.read(6).startswith(_PACKED):
            raise OSError(0, "it is packed")
        start = max(0, status.st_size - TAIL_BYTES)
        stream.seek(start)
        return stream.read(TAIL_BYTES), start == 0
