"""HTCondor's job ads as records, and the few expressions that prodsys asks schedds."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from include.batch.pool import Awaited, JobAd
from include.campaign.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = logging.getLogger(__name__)

AD_PROJECTION = [
    *(
        "ClusterId",
        "ProcId",
        "GlobalJobId",
        "ProdsysTag",
        "JobStatus",
        "ExitBySignal",
        "ExitCode",
        "ExitSignal",
    ),
    *("HoldReasonCode", "HoldReasonSubCode", "HoldReason", "RemoveReason", "RemoteHost", "LastRemoteHost"),
    *(
        "MATCH_GLIDEIN_Site",
        "NumJobStarts",
        "NumShadowStarts",
        "QDate",
        "JobCurrentStartDate",
        "JobStartDate",
    ),
    *("CompletionDate", "EnteredCurrentStatus", "RemoteWallClockTime", "RemoteUserCpu", "RemoteSysCpu"),
    # MemoryUsage is an expression of ResidentSetSize.
    *(
        "MemoryUsage",
        "ResidentSetSize",
        "RequestMemory",
        "NumJobReconnects",
        "NumHolds",
        "NumVacates",
        "UserLog",
    ),
    *("JobUniverse", "Args", "Arguments"),
]
"""What `job_ad` reads; a query without a projection costs seven times as much."""

SCHEDULER_UNIVERSE = 7
FIRST_UNIT = re.compile(r"(?:^|\s)--f[a-z-]*[=\s]\s*(\d{1,9})(?=\s|$)")
"""argparse takes the option's name cut short, too."""

FEW_CLUSTERS = 8
"""So many are asked for by number. A thousand alternatives get an empty answer, without an error (25.14)."""

LEAVING_S = 5
"""A job may have ended this long before it leaves the queue."""


TAGGED = "ProdsysTag =!= undefined && JobStatus != 3 && JobStatus != 4"
"""Constraint for jobs of any submission of prodsys that may still run; all it names is projected."""
TAGGED_PROJECTION = ["ClusterId", "ProdsysTag", "JobStatus", "QDate", "Owner"]


def tagged_job(ad: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `tagged_clusters` counts of a grouped row."""
    return {
        "jobs": int(ad["JobCount"]),
        "cluster": int(ad["ClusterId"]),
        "tag": _text(ad, "ProdsysTag"),
        "status": status_of(ad.get("JobStatus")),
        "queued_at": _time(ad, "QDate"),
        "owner": _text(ad, "Owner") or "",
    }


def quoted(text: str) -> str:
    """Return `text` as a ClassAd string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def of_tag(tag: str) -> str:
    """Return the constraint for a tag; `=?=`, because `==` on strings ignores case."""
    return f"ProdsysTag =?= {quoted(tag)}"


def of_clusters(clusters: Iterable[int]) -> str:
    """Return the constraint for clusters: each by number where they are few, else the range they span.

    A range may bring jobs of other clusters along, which callers leave out. It still costs the schedd less
    than `member`, and a long list of alternatives is answered wrongly.
    """
    numbers = sorted(set(clusters))
    if len(numbers) <= FEW_CLUSTERS:
        return " || ".join(f"ClusterId == {number}" for number in numbers) or "false"
    return f"ClusterId >= {numbers[0]} && ClusterId <= {numbers[-1]}"


def rows_of(awaited: Iterable[Awaited], rows: Iterable[Any]) -> dict[Awaited, list[Any]]:
    """Return the rows of each cluster that is waited for: those with its tag, or all where none is awaited.

    Ten thousand rows are sorted by what they say, and the few sorts compared: this is done in every poll.
    """
    sorts: defaultdict[tuple[int, str | None], list[Any]] = defaultdict(list)
    for row in rows:
        tag = row.get("ProdsysTag")
        # An expression, which somebody else's job may have here, is no key of a dict.
        sorts[row["ClusterId"], (tag or None) if isinstance(tag, str) else None].append(row)
    found: dict[Awaited, list[Any]] = {each: [] for each in awaited}
    numbered: defaultdict[int, list[Awaited]] = defaultdict(list)
    for each in found:
        numbered[each.cluster].append(each)
    for (cluster, tag), alike in sorts.items():
        for each in numbered.get(cluster, ()):
            if each.tag in (None, tag):
                found[each] += alike
    return found


_STATUSES: frozenset[object] = frozenset(map(int, JobStatus))


def status_of(value: Any) -> JobStatus:
    """Return a JobStatus; UNKNOWN for what HTCondor never says."""
    return JobStatus(value) if value in _STATUSES else JobStatus.UNKNOWN


def job_ad(schedd: str, ad: Mapping[str, Any]) -> JobAd:
    """Return the record of one job's ad, whatever may be missing from it.

    ExitStatus is always 0 and ExitSignal can be stale: ExitBySignal decides which of ExitCode and ExitSignal
    counts, and neither counts before the job has completed (a retried job keeps its last exit).
    """
    status = status_of(ad.get("JobStatus"))
    completed = status in {JobStatus.COMPLETED, JobStatus.TRANSFERRING_OUTPUT}
    by_signal = _truth(ad, "ExitBySignal")
    cpu = [value for name in ("RemoteUserCpu", "RemoteSysCpu") if (value := _number(ad, name)) is not None]
    entered = _time(ad, "EnteredCurrentStatus")
    removed_at = entered if status is JobStatus.REMOVED else None
    return JobAd(
        schedd=schedd,
        cluster=int(ad["ClusterId"]),
        process=int(ad["ProcId"]),
        global_job_id=_text(ad, "GlobalJobId") or "",
        tag=_text(ad, "ProdsysTag"),
        status=status,
        exit_code=_whole(ad, "ExitCode") if completed and not by_signal else None,
        exit_signal=_whole(ad, "ExitSignal") if completed and by_signal else None,
        hold_code=_whole(ad, "HoldReasonCode"),
        hold_subcode=_whole(ad, "HoldReasonSubCode"),
        hold_reason=_text(ad, "HoldReason"),
        remove_reason=_text(ad, "RemoveReason"),
        host=_text(ad, "RemoteHost") or _text(ad, "LastRemoteHost"),
        site=_text(ad, "MATCH_GLIDEIN_Site"),
        starts=_whole(ad, "NumJobStarts") or 0,
        shadow_starts=_whole(ad, "NumShadowStarts") or 0,
        queued_at=_time(ad, "QDate"),
        started_at=_time(ad, "JobCurrentStartDate") or _time(ad, "JobStartDate"),
        ended_at=_time(ad, "CompletionDate") or removed_at,
        status_since=entered,
        wall_s=_number(ad, "RemoteWallClockTime"),
        cpu_s=sum(cpu) if cpu else None,
        memory_mb=_whole(ad, "MemoryUsage"),
        reconnects=_whole(ad, "NumJobReconnects") or 0,
        holds=_whole(ad, "NumHolds") or 0,
        evictions=_whole(ad, "NumVacates") or 0,
        requested_memory_mb=_whole(ad, "RequestMemory"),
        event_log=_text(ad, "UserLog"),
        first_unit=first_unit(_text(ad, "Args") or _text(ad, "Arguments") or ""),
        is_dagman=_whole(ad, "JobUniverse") == SCHEDULER_UNIVERSE,
    )


def first_unit(arguments: str) -> int:
    """Return N of the last `--first-unit N` among a job's arguments, as prodsys_job takes it; 0 without."""
    found = FIRST_UNIT.findall(arguments)
    return int(found[-1]) if found else 0


def one_a_job(
    queue: Iterable[JobAd], history: Iterable[JobAd], *, asked_at: float | None = None
) -> list[JobAd]:
    """Return one ad a job, in order: the queue's where it is queued, else the history row that ended last.

    Jobs with one number and several tags are several: the schedd lost its queue, and began again at 1.
    `asked_at` is the schedd's time when it was asked for the queue, before the history: a job that left in
    between is in both, and its history row counts. All other jobs with several ads ended more than once, as
    after a roll-back of the job queue: the ad's `rows` says how often, and it is logged.
    """
    rows: dict[tuple[int, int, str], list[JobAd]] = {}
    for ad in history:
        rows.setdefault(_job(ad), []).append(ad)
    queued = {_job(ad): ad for ad in queue}
    found = []
    for key in sorted(rows.keys() | queued):
        old, now = rows.get(key, []), queued.get(key)
        if now is None or _left(now, old, asked_at):
            # History comes newest first: of those that ended in the same second the last one read is older.
            found.append(replace(max(old, key=lambda ad: ad.ended_at or 0), rows=len(old)))
        else:
            found.append(replace(now, rows=len(old) + 1))
    again = [ad.job_id for ad in found if ad.rows > 1]
    if again:
        log.warning(
            "%d jobs have several ads, so they may have ended twice: %s", len(again), ", ".join(again[:20])
        )
    return found


def _job(ad: JobAd) -> tuple[int, int, str]:
    return ad.cluster, ad.process, ad.tag or ""


def _left(queued: JobAd, rows: Iterable[JobAd], asked_at: float | None) -> bool:
    """Say whether a job that was queued has left to history while the two were asked, one after the other."""
    return any(
        (asked_at is not None and (row.ended_at or 0) >= asked_at - LEAVING_S)
        or (queued.status.ended and (row.status, row.ended_at) == (queued.status, queued.ended_at))
        for row in rows
    )


def _value(ad: Mapping[str, Any], name: str) -> object:
    """Return an attribute's value; None for a missing one and for an expression that has no value."""
    value: Any = ad.get(name)
    if hasattr(value, "eval"):
        value = value.eval(ad)  # by itself it would not find the attributes that it names
    # ClassAd's undefined and error are members of an enumeration of whole numbers: 2 and 1.
    return value if isinstance(value, bool | int | float | str) and not isinstance(value, Enum) else None


def _truth(ad: Mapping[str, Any], name: str) -> bool:
    """Return a boolean attribute, False where it is missing."""
    return _value(ad, name) is True


def _whole(ad: Mapping[str, Any], name: str) -> int | None:
    """Return a number without its fraction."""
    value = _number(ad, name)
    return None if value is None else int(value)


def _number(ad: Mapping[str, Any], name: str) -> float | None:
    """Return a number attribute."""
    value = _value(ad, name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(ad: Mapping[str, Any], name: str) -> str | None:
    """Return a text attribute, None where it is empty."""
    value = _value(ad, name)
    return value if isinstance(value, str) and value else None


def _time(ad: Mapping[str, Any], name: str) -> int | None:
    """Return a time attribute; HTCondor writes 0 for `not yet`."""
    return _whole(ad, name) or None
