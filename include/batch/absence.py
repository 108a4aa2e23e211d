"""Whether a tag that is in no queue and no history was never submitted; docs/batch.md tells the rules.

History rotates: jobs of an earlier start may have run, ended and left it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from include.batch.package import JOB_FILE
from include.batch.submit_note import NOTE
from include.errors import LedgerError, ScheddUnreachable, SubmissionAmbiguous

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from include.batch.pool import Pool
    from include.batch.steady_time import Clock
    from include.batch.submit_note import Note

YOUNG_S = 86_400.0
"""No history is taken to lose within this what entered it, so that a new pool's short one stops nothing."""
SLACK_S = 3600.0
"""The clocks of the machine that submits and of a schedd agree within this."""
SHOWN = 5
"""Folders that a text names."""
_EXECUTION = re.compile(r"\.?(?P<cluster>\d{1,15})\.\d{1,9}\.\d{1,9}\b.*")
"""A folder that one execution makes, published or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """An earlier start of jobsub_submit or a launcher, of which no job is found."""

    tag: str
    who: str
    """What was started, for texts."""
    note: Note
    folder: Path
    """The submission's work folder."""
    explained: frozenset[int]
    """Numbers of clusters that are known to be removed whole: what they left proves nothing new."""

    def __str__(self) -> str:
        at = _utc(self.note.started)
        return f"{self.tag}: nothing is submitted: an earlier try started {self.who} at {at}"


def require_absence(start: Start, *, pool: Pool, clock: Clock) -> None:
    """Return where nothing of an earlier start can have run; call it after the search that found nothing.

    LedgerError where its areas hold what jobs left: a person must look. SubmissionAmbiguous where an area or
    a schedd does not answer, or a history does not reach back to the start.
    """
    areas = _areas(start)
    for area in areas:
        left = _left_in(start, area)
        if left:
            raise LedgerError(_jobs_ran(start, area, left))
    before = _sure_before(start.note, clock)
    if before is None:
        return
    gaps = []
    for schedd in start.note.schedds:
        try:
            reach = pool.history_reach(schedd, before=before)
        except ScheddUnreachable as error:
            raise SubmissionAmbiguous(f"{start}, and {error}") from error
        if not reach.reaches:
            gaps.append(f"{schedd}'s {'is empty' if reach.oldest is None else f'to {_utc(reach.oldest)}'}")
    if gaps:
        raise SubmissionAmbiguous(_history_is_short(start, gaps, areas))


def _sure_before(note: Note, clock: Clock) -> float | None:
    """Return what histories must reach back to, epoch seconds; None where the start is too young to ask.

    A clock that was set may make the start look younger than steady time says, or as yet to come.
    """
    now = clock.now()
    passed = clock.steady().since(note.boot, note.steady_s) or 0.0
    if max(now - note.started, passed) < YOUNG_S and now - note.started >= -SLACK_S:
        return None
    return min(note.started, now - passed) - SLACK_S


def _areas(start: Start) -> tuple[str, ...]:
    """Return the log and outstage areas that any try told its jobs: each job.json keeps its own."""
    found = set()
    for path in (*start.folder.glob(JOB_FILE), *start.folder.glob(f"job-*/{JOB_FILE}")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            found |= {str(document["logs"]), str(document["outstage"])}
        except (OSError, ValueError, TypeError, KeyError) as error:
            msg = (
                f"{start}, and {path}, which names the areas of its jobs, cannot be read ({error!r}). "
                "See whether its jobs left anything there; then remove "
                f"{start.folder / NOTE} and clear the task."
            )
            raise SubmissionAmbiguous(msg) from error
    return tuple(sorted(found))


def _left_in(start: Start, area: str) -> list[str]:
    """Return the folders in an area that no removed cluster explains."""
    try:
        with os.scandir(area) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
    except OSError as error:
        msg = (
            f"{start}, and {area}, where its jobs would have written, cannot be listed: {error.strerror}. "
            "See that it is mounted and readable, then clear the task."
        )
        raise SubmissionAmbiguous(msg) from error
    return [name for name in names if _is_left(name, start.explained)]


def _is_left(name: str, explained: Collection[int]) -> bool:
    """Whether a folder proves jobs that nobody knows of; a file system's own hidden folders do not."""
    execution = _EXECUTION.fullmatch(name)
    return not name.startswith(".") if execution is None else int(execution["cluster"]) not in explained


def _jobs_ran(start: Start, area: str, left: list[str]) -> str:
    """Say that jobs ran of which no schedd knows any more."""
    names = ", ".join([*left[:SHOWN], *(["…"] if len(left) > SHOWN else [])])
    folders = "1 folder" if len(left) == 1 else f"{len(left)} folders"
    return "\n".join(
        [
            f"{start}, and jobs of it ran, although no queue and no history knows them any more.",
            f"found: {folders} of executions in {area}: {names}",
            (
                "likely: they have ended, and history has rotated since. A folder's name is "
                "CLUSTER.PROCESS.START: see that nothing of these clusters is in a queue."
            ),
            (
                f"to do: remove {start.folder / NOTE} and clear the task: the whole is submitted anew. What "
                "the folders hold is looked at by the check as well, and of each subrun one output is "
                "accepted. Where it must not count, move the folders to another place first."
            ),
        ]
    )


def _history_is_short(start: Start, gaps: list[str], areas: Collection[str]) -> str:
    """Say how far history reaches back."""
    return "\n".join(
        [
            (
                f"{start}, and history does not reach back that far: {', '.join(gaps)}. No queue and no "
                "history has a job with this tag, but jobs of then may have ended and left the history."
            ),
            f"found: nothing of such jobs in {', '.join(areas) or 'any area that is known'}",
            (
                "to do: ask those who run the schedds for older history files, or look into the logs of the "
                f"time. Where no job of it ran, remove {start.folder / NOTE} and clear the task: the whole "
                "is submitted."
            ),
        ]
    )


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
