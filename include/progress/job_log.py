"""Where a job's log is read from: its file today; a live source can take its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from include.joblogs.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from include.bookkeeping.overview_records import JobPlace
    from include.bookkeeping.records import ExecutionRecord

TAIL_BYTES = 32 * 1024
CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTail:
    """The end of a log."""

    lines: tuple[str, ...]
    """Without control characters and escapes."""
    size: int
    """Bytes of the whole log."""
    whole: bool
    """Whether `lines` are all of it."""
    source: str
    """Where it was read."""


class JobLogSource(Protocol):
    """Gives the logs of jobs; a job's place and execution say which."""

    def tail(self, place: JobPlace, execution: ExecutionRecord | None) -> LogTail | None:
        """Return the end of a log; None where this source has none."""

    def whole(self, place: JobPlace, execution: ExecutionRecord | None) -> Iterator[bytes] | None:
        """Return the log in pieces; None where this source has none."""


class FileLogs:
    """Reads logs where the jobs' reports say that they are, but only in some folders.

    A report is the job's own word: it must not make a page show any file of the server.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = [Path(folder).resolve() for folder in folders if folder.startswith("/")]

    def tail(self, place: JobPlace, execution: ExecutionRecord | None) -> LogTail | None:  # noqa: ARG002
        """Return the end of a log's file; None where it is not there."""
        path = self._path(execution)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - TAIL_BYTES))
                text = file.read(TAIL_BYTES).decode("utf-8", "replace")
        except OSError:
            return None
        lines = text.splitlines()
        whole = size <= TAIL_BYTES
        return LogTail(
            lines=tuple(clean(line) for line in (lines if whole else lines[1:])),
            size=size,
            whole=whole,
            source=str(path),
        )

    def whole(self, place: JobPlace, execution: ExecutionRecord | None) -> Iterator[bytes] | None:  # noqa: ARG002
        """Return a log's file in pieces; None where it is not there."""
        path = self._path(execution)
        return None if path is None else _pieces(path)

    def _path(self, execution: ExecutionRecord | None) -> Path | None:
        if execution is None or not execution.log.startswith("/"):
            return None
        try:
            path = Path(execution.log).resolve()
            inside = any(path.is_relative_to(folder) for folder in self._folders)
            return path if inside and path.is_file() else None
        except (OSError, ValueError):
            return None


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece
