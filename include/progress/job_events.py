"""The events of one job, from its cluster's event log where this machine can read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from include.joblogs.event_log import EventCode, EventLog

if TYPE_CHECKING:
    from include.joblogs.event_log import Event

MOST = 200
"""Events of a job that are shown: the latest."""
LARGEST = 64_000_000
"""Bytes of an event log that are read for a page."""
QUIET = frozenset({EventCode.IMAGE_SIZE})
"""Codes that tell nothing of how a job went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvents:
    """What an event log says of a job."""

    path: str
    events: tuple[Event, ...]
    """In the order in which they were written."""
    problem: str
    """One sentence on why there are not all; empty if there are."""


def job_events(path: str, *, cluster: int, process: int) -> JobEvents:
    """Return a job's events, its cluster's among them. Never raises on what the file is or holds."""
    if not path.startswith("/") or "\x00" in path:
        return JobEvents(path=path, events=(), problem="its path is not absolute")
    try:
        size = Path(path).lstat().st_size
    except OSError as error:
        why = f"this machine cannot read it ({error.strerror}): it may be on the schedd's machine alone"
        return JobEvents(path=path, events=(), problem=why)
    if size > LARGEST:
        return JobEvents(path=path, events=(), problem=f"it has {size} bytes, too many to read for a page")
    log = EventLog(path)
    found = [
        each
        for each in log
        if each.cluster == cluster and each.process in (process, -1) and each.code not in QUIET
    ]
    left_out = (
        f"the first {len(found) - MOST} of {len(found)} events are left out" if len(found) > MOST else ""
    )
    return JobEvents(
        path=path, events=tuple(found[-MOST:]), problem="; ".join(filter(None, (log.problem, left_out)))
    )
