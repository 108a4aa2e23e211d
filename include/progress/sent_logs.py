"""Logs that jobs send as they run: there before a job has ended, and where its file cannot be read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from include.errors import LogsError
from include.logserver.records import Where
from include.progress.job_log import LogTail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from include.bookkeeping.overview_records import JobPlace
    from include.bookkeeping.records import ExecutionRecord
    from include.logserver.records import LogInfo, LogLine
    from include.logserver.store import LogStore
    from include.progress.job_log import JobLogSource

log = logging.getLogger(__name__)


class SentLogs:
    """Reads the log server's store; without an answer of it there is no log."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    def tail(self, place: JobPlace, execution: ExecutionRecord | None) -> LogTail | None:
        """Return the end of what the job has sent so far, of its latest execution where none is given."""
        try:
            found = self._find(place, execution)
            if found is None:
                return None
            piece = self._store.tail(found.id)
        except LogsError as error:
            log.warning("logs that jobs sent cannot be read: %s", error)
            return None
        state = "" if found.ended else ", still coming in"
        return LogTail(
            lines=tuple(_shown(line) for line in piece.lines),
            size=found.size,
            whole=piece.start == 0,
            source=f"sent by {found.execution} from {found.host or 'its node'}{state}",
        )

    def whole(self, place: JobPlace, execution: ExecutionRecord | None) -> Iterator[bytes] | None:
        """Return in pieces what the job has sent, its latest execution where none is given; None: nothing."""
        try:
            found = self._find(place, execution)
        except LogsError as error:
            log.warning("logs that jobs sent cannot be read: %s", error)
            return None
        return None if found is None else self._store.raw(found.id)

    def _find(self, place: JobPlace, execution: ExecutionRecord | None) -> LogInfo | None:
        """Return the latest log of the job; the tag is proven by the token that it was sent with."""
        if execution is not None:
            where = Where(tag=place.tag, execution=execution.execution)
        else:
            where = Where(tag=place.tag, subrun=place.first_subrun)
        found = self._store.logs(where, limit=1)
        return found[0] if found else None


class FirstThatHas:
    """Asks one source after the other."""

    def __init__(self, sources: Sequence[JobLogSource]) -> None:
        self._sources = tuple(sources)

    def tail(self, place: JobPlace, execution: ExecutionRecord | None) -> LogTail | None:
        """Return the end of a log by the first source that has it."""
        answers = (source.tail(place, execution) for source in self._sources)
        return next((answer for answer in answers if answer is not None), None)

    def whole(self, place: JobPlace, execution: ExecutionRecord | None) -> Iterator[bytes] | None:
        """Return a log in pieces by the first source that has it."""
        answers = (source.whole(place, execution) for source in self._sources)
        return next((answer for answer in answers if answer is not None), None)


def _shown(line: LogLine) -> str:
    return f"[{line.missing} bytes did not arrive]" if line.missing else line.text
