"""From what a person types to jobs: a job id, a run and subrun, or a file's name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.overview_records import JobPlace

MOST = 100
"""Jobs that a search returns."""
LARGEST = 2**31 - 1
"""Largest number that the ledger's columns all take."""
JOB_ID = re.compile(r"(\d{1,12})\.(\d{1,9})(?:@(\S{1,255}))?")
SUBRUN = re.compile(r"(?:run\s*)?(\d{1,10})(?:\s*[/:,_ ]\s*(?:subrun\s*)?(\d{1,10}))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found."""

    text: str
    kind: str
    """What the text was taken for, in words; empty for nothing to search for."""
    jobs: tuple[JobPlace, ...]
    """The latest first."""


def search(ledger: Ledger, text: str, *, visible: Collection[str]) -> Found:
    """Return the jobs that a text names, among the campaigns that the reader may see."""
    asked = text.strip()[:300]
    if not asked:
        return Found(text="", kind="", jobs=())
    if not visible:
        return Found(text=asked, kind="no campaign to search in", jobs=())
    if match := JOB_ID.fullmatch(asked):
        cluster, process, schedd = int(match[1]), int(match[2]), match[3]
        jobs = ledger.jobs_by_id(cluster, process, schedd, dag_ids=visible, limit=MOST)
        return Found(text=asked, kind="job id", jobs=tuple(jobs))
    if match := SUBRUN.fullmatch(asked):
        run, subrun = int(match[1]), None if match[2] is None else int(match[2])
        if max(run, subrun or 0) > LARGEST:
            return Found(text=asked, kind="run number too large", jobs=())
        jobs = ledger.jobs_by_subrun(run, subrun, dag_ids=visible, limit=MOST)
        return Found(text=asked, kind="run" if subrun is None else "run and subrun", jobs=tuple(jobs))
    name = asked.replace("\x00", "").rpartition("/")[2]
    jobs = ledger.jobs_by_file(name, dag_ids=visible, limit=MOST) if name else []
    return Found(text=asked, kind="file name", jobs=tuple(jobs))
