"""The note in a submission's work folder: when it was last started, and which schedds there were then.

A schedd that is down vanishes from the collector while its jobs stay.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from include.errors import StorageError, SubmissionAmbiguous

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.batch.steady_time import Clock, SteadyTime

log = logging.getLogger(__name__)

NOTE = "submit.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What the work folder says of the last start of jobsub_submit or a launcher."""

    started: float
    ended: float | None
    """None: it may still be running, for at most the time-out it was given."""
    timeout_s: float
    schedds: tuple[str, ...]
    boot: str = ""
    steady_s: float = 0.0
    """When it started, or ended if it has, in the steady time of `boot`."""

    def left_s(self, *, grace_s: float, steady: SteadyTime) -> float:
        """How long something of that start can still come: zero or less where nothing can.

        Where the try was on another machine, or before a reboot, nothing counts as having passed: no clock
        tells, for either may have been wrong or set.
        """
        whole = grace_s + (self.timeout_s if self.ended is None else 0.0)
        return whole - (steady.since(self.boot, self.steady_s) or 0.0)


def read_note(folder: Path) -> Note | None:
    """Return the note in the work folder; None if nothing was ever started there."""
    path = folder / NOTE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Note(**{**data, "schedds": tuple(data["schedds"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        msg = (
            f"{path} cannot be read ({error}), so nobody knows what an earlier try did. Look, then remove it."
        )
        raise SubmissionAmbiguous(msg) from error


def write_note(folder: Path, note: Note) -> None:
    """Write the note so that a crash leaves the old or the new one."""
    part = folder / f".{NOTE}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump(asdict(note), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / NOTE)


@contextlib.contextmanager
def writing(folder: Path, tag: str) -> Iterator[None]:
    """Explain a work folder that takes no file; jobsub_submit is not started by then."""
    try:
        yield
    except OSError as error:
        msg = (
            f"{tag}: nothing is submitted: the work folder {folder} cannot be written ({error.strerror}). "
            "Make space there, or give the rights; then clear the task."
        )
        raise StorageError(msg) from error


def note_end(folder: Path, note: Note, *, clock: Clock) -> Note:
    """Note that it has ended; a full disk costs only that a next try waits for its time limit."""
    steady = clock.steady()
    ended = replace(note, ended=clock.now(), boot=steady.boot, steady_s=steady.seconds)
    try:
        write_note(folder, ended)
    except OSError as error:
        log.warning("%s does not say that what was started has ended: %s", folder / NOTE, error)
    return ended
