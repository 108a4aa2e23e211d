"""All that is known of a submission's jobs: reports, manifests and ads, brought together by process."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.campaign.naming import area_of
from include.campaign.states import JobStatus
from include.checks.reports import EXECUTION, MAX_BYTES, Expected, Report, Unreadable, parse
from include.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.batch.pool import JobAd
    from include.bookkeeping.records import Submission, Unit
    from include.campaign.plan import CampaignPlan

ALIVE = frozenset({JobStatus.IDLE, JobStatus.RUNNING, JobStatus.TRANSFERRING_OUTPUT, JobStatus.SUSPENDED})
"""A job in one of these may still produce its output."""
_BATCH = 64
"""Folders that one thread reads in a go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaEvidence:
    """What a submission's log and outstage areas hold."""

    logs: str
    outstage: str
    listed: bool
    """Whether at least one of the two folders is there; if not, that a file is missing proves nothing."""
    reports: tuple[Report, ...]
    unreadable: tuple[Unreadable, ...]
    leftovers: tuple[str, ...]
    """`.NAME.part` folders: outputs that were never published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known of one process of a submission; several ads or reports are a conflict to be shown."""

    process: int
    unit: Unit
    ads: tuple[JobAd, ...]
    """Oldest news first; jobs that may still run come last."""
    reports: tuple[Report, ...]
    """In the order in which the executions ended."""
    unreadable: tuple[Unreadable, ...]

    @property
    def ad(self) -> JobAd | None:
        """The ad that counts."""
        return self.ads[-1] if self.ads else None

    @property
    def alive(self) -> bool:
        """Whether a job for this process may still produce something."""
        return any(ad.status in ALIVE for ad in self.ads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Evidence of every process, and what belongs to none."""

    processes: tuple[Evidence, ...]
    unplaced: tuple[JobAd, ...]
    """Ads of this submission whose process nobody can tell (jobsub turned the cluster into a DAG)."""
    all_ended: bool
    """Whether as many jobs as were submitted are known, and every one has ended."""
    notes: tuple[str, ...]
    """One sentence on each thing found that fits nowhere."""


def read_areas(plan: CampaignPlan, submission: Submission, *, workers: int = 8) -> AreaEvidence:
    """Read what the submission's executions left; StorageError if a folder is there but cannot be listed."""
    logs, outstage = (
        area_of(base, stage=submission.stage, run=submission.run, tag=submission.tag)
        for base in (plan.logs, plan.outstage)
    )
    expected = Expected.of(submission, logs=logs, outstage=outstage)
    told, published = _folders(logs), _folders(outstage)
    found = _read_all(told or (), expected, workers=workers, is_manifest=False)
    reports = {item.execution: item for item in found if isinstance(item, Report)}
    broken = {os.path.basename(item.folder): item for item in found if isinstance(item, Unreadable)}  # noqa: PTH119
    lone = [name for name in published or () if not name.startswith(".") and name not in reports]
    for item in _read_all(lone, expected, workers=workers, is_manifest=True):
        if isinstance(item, Report):
            reports[item.execution] = item
            broken.pop(item.execution, None)
        else:
            broken.setdefault(os.path.basename(item.folder), item)  # noqa: PTH119
    return AreaEvidence(
        logs=logs,
        outstage=outstage,
        listed=told is not None or published is not None,
        reports=tuple(sorted(reports.values(), key=_ended)),
        unreadable=tuple(broken[name] for name in sorted(broken)),
        leftovers=tuple(f"{outstage}/{name}" for name in published or () if name.endswith(".part")),
    )


def _ended(report: Report) -> tuple[float, str]:
    return report.ended, report.execution


def _folders(area: str) -> list[str] | None:
    """Return the names of the folders in `area`, sorted; None if there is no such area."""
    try:
        with os.scandir(area) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = (
            f"cannot list {area}: {error.strerror}; see that it is mounted and readable, then clear the check"
        )
        raise StorageError(msg) from error


def _read_all(
    names: Sequence[str], expected: Expected, *, workers: int, is_manifest: bool
) -> list[Report | Unreadable]:
    area, file = (expected.outstage, "manifest.json") if is_manifest else (expected.logs, "report.json")

    def read(batch: Sequence[str]) -> list[Report | Unreadable]:
        return [_read(f"{area}/{name}", file, expected, is_manifest=is_manifest) for name in batch]

    batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return [item for batch in pool.map(read, batches) for item in batch]


def _read(folder: str, file: str, expected: Expected, *, is_manifest: bool) -> Report | Unreadable:
    """Return what the folder of one execution says; never raises on its content."""
    named = EXECUTION.fullmatch(folder.rpartition("/")[2])
    if named is None:
        return Unreadable(folder=folder, unit=None, reason="its name is not that of an execution")
    try:
        data, mtime = _bytes(f"{folder}/{file}")
        return parse(data, file=f"{folder}/{file}", expected=expected, mtime=mtime, is_manifest=is_manifest)
    except FileNotFoundError:
        reason = f"there is no {file}: it ended before it could write one, or still runs"
    except OSError as error:
        reason = f"{file} cannot be read: {error.strerror}"
    except ValueError as error:
        reason = f"{file} does not count: {error}"
    unit = expected.unit_of(cluster=int(named["cluster"]), process=int(named["process"]))
    return Unreadable(folder=folder, unit=unit, reason=reason)


def _bytes(path: str) -> tuple[bytes, float]:
    """Return a small regular file's content and time of change; never waits on a pipe, follows no link."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(handle, "rb") as stream:  # noqa: PTH123  pathlib opens no descriptors
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            msg = "it is not a regular file"
            raise ValueError(msg)
        if status.st_size > MAX_BYTES:
            msg = f"it has {status.st_size} bytes, more than {MAX_BYTES}"
            raise ValueError(msg)
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        msg = f"it has more than {MAX_BYTES} bytes"
        raise ValueError(msg)
    return data, status.st_mtime


def gather(submission: Submission, *, ads: Iterable[JobAd], area: AreaEvidence) -> Gathered:
    """Bring ads, reports and units together by process."""
    ours, notes = _own(submission, ads)
    expected = Expected.of(submission, logs=area.logs, outstage=area.outstage)
    sections = {report.cluster: report.unit for report in area.reports}
    placed: dict[int, list[JobAd]] = {}
    unplaced = []
    for ad in ours:
        process = expected.unit_of(cluster=ad.cluster, process=ad.process)
        if process is None and ad.process == 0:
            process = sections.get(ad.cluster)
        if process is None:
            unplaced.append(ad)
        else:
            placed.setdefault(process, []).append(ad)
    reports: dict[int, list[Report]] = {}
    for report in area.reports:
        reports.setdefault(report.unit, []).append(report)
    broken: dict[int, list[Unreadable]] = {}
    for item in area.unreadable:
        if item.unit is None:
            notes.append(f"{item.folder} belongs to no process: {item.reason}")
        else:
            broken.setdefault(item.unit, []).append(item)
    notes += [f"{folder} was never published" for folder in area.leftovers]
    jobs = max(len(submission.units), sum(jobs for _, _, jobs in submission.clusters))
    return Gathered(
        processes=tuple(
            Evidence(
                process=process,
                unit=unit,
                ads=tuple(sorted(placed.get(process, ()), key=_news)),
                reports=tuple(reports.get(process, ())),
                unreadable=tuple(broken.get(process, ())),
            )
            for process, unit in enumerate(submission.units)
        ),
        unplaced=tuple(unplaced),
        all_ended=bool(ours) and len(ours) >= jobs and all(ad.status.ended for ad in ours),
        notes=tuple(notes),
    )


def _own(submission: Submission, ads: Iterable[JobAd]) -> tuple[list[JobAd], list[str]]:
    """Return the ads of this submission, and a note on those of others (numbers repeat on a wiped pool)."""
    known = {(schedd, cluster) for schedd, cluster, _ in submission.clusters}
    ours: list[JobAd] = []
    others: list[JobAd] = []
    for ad in ads:
        belongs = ad.tag == submission.tag if ad.tag is not None else (ad.schedd, ad.cluster) in known
        (ours if belongs else others).append(ad)
    if not others:
        return ours, []
    return ours, [f"{len(others)} ads belong to other submissions, {others[0].job_id} first: not used"]


def _news(ad: JobAd) -> tuple[int, int]:
    """Sort key: what has ended, then what is held, then what may still run; later news last."""
    rank = 2 if ad.status in ALIVE else 1 if ad.status is JobStatus.HELD else 0
    return rank, ad.ended_at or ad.status_since or ad.queued_at or 0
