"""All that is known of a submission's jobs: reports, manifests and ads, brought together by process."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from include.batch.pool import JobAd
from include.bookkeeping.places import Places
from include.campaign.naming import area_of
from include.campaign.states import JobStatus, SubmissionState
from include.checks.batches import in_batches
from include.checks.case import storage_trouble
from include.checks.reports import EXECUTION, MAX_BYTES, Expected, Report, Unreadable, parse
from include.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.bookkeeping.records import JobRecord, Submission, Unit
    from include.campaign.plan import CampaignPlan

ALIVE = frozenset({JobStatus.IDLE, JobStatus.RUNNING, JobStatus.TRANSFERRING_OUTPUT, JobStatus.SUSPENDED})
"""A job in one of these may still produce its output."""
_BATCH = 64
"""Folders that a thread reads in a go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaEvidence:
    """What a submission's log and outstage areas hold."""

    logs: str
    outstage: str
    listed: bool
    """Whether the outstage folder is there; if not, that a file is missing proves nothing."""
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
    recalled: frozenset[str] = frozenset()
    """Ids of jobs whose ad is what the ledger had noted: neither queue nor history knows them any more."""

    @property
    def ad(self) -> JobAd | None:
        """The ad that counts."""
        return self.ads[-1] if self.ads else None

    @property
    def alive(self) -> bool:
        """Whether a job for this process may still produce something."""
        return any(ad.status in ALIVE for ad in self.ads)

    @property
    def held(self) -> bool:
        """Whether its job is held now."""
        ad = self.ad
        return ad is not None and ad.status is JobStatus.HELD and ad.job_id not in self.recalled

    @property
    def may_publish(self) -> bool:
        """Whether a job for this process may still produce something: a held one once it is released."""
        return self.alive or any(ad.status is JobStatus.HELD for ad in self.ads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Evidence of every process, and what belongs to none."""

    processes: tuple[Evidence, ...]
    unplaced: tuple[JobAd, ...]
    """Ads of this submission whose process nobody can tell (jobsub turned the cluster into a DAG)."""
    all_ended: bool
    """Whether this check or an earlier one knew as many jobs as were submitted, and every one has ended."""
    last_end: float | None
    """When the last of them ended, epoch seconds; None where no ad tells."""
    notes: tuple[str, ...]
    """One sentence on each thing found that fits nowhere."""

    @property
    def event_logs(self) -> dict[tuple[str, int], str]:
        """(schedd, cluster) → path of its event log, for those whose ads name one."""
        return {
            (ad.schedd, ad.cluster): ad.event_log
            for each in self.processes
            for ad in each.ads
            if ad.event_log
        }


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
        elif item.storage:
            broken[os.path.basename(item.folder)] = item  # noqa: PTH119
        else:
            broken.setdefault(os.path.basename(item.folder), item)  # noqa: PTH119
    return AreaEvidence(
        logs=logs,
        outstage=outstage,
        listed=published is not None,
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

    def read(name: str) -> Report | Unreadable:
        return _read(f"{area}/{name}", file, expected, is_manifest=is_manifest)

    return list(in_batches(read, names, size=_BATCH, workers=workers))


def _read(folder: str, file: str, expected: Expected, *, is_manifest: bool) -> Report | Unreadable:
    """Return what the folder of one execution says; never raises on its content."""
    named = EXECUTION.fullmatch(folder.rpartition("/")[2])
    if named is None:
        return Unreadable(folder=folder, unit=None, reason="its name is not that of an execution")
    trouble = False
    try:
        data, mtime = read_small(f"{folder}/{file}")
        return parse(data, file=f"{folder}/{file}", expected=expected, mtime=mtime, is_manifest=is_manifest)
    except FileNotFoundError:
        reason = f"there is no {file}: it ended before it could write one, or still runs"
    except OSError as error:
        reason = f"{file} cannot be read: {error.strerror}"
        trouble = storage_trouble(error) is not None
    except ValueError as error:
        reason = f"{file} does not count: {error}"
    unit = expected.places.unit_of(cluster=int(named["cluster"]), process=int(named["process"]))
    return Unreadable(folder=folder, unit=unit, reason=reason, storage=trouble)


def read_small(path: str) -> tuple[bytes, float]:
    """Return a regular file's content and time of change; never waits on a pipe, follows no link.

    Raises OSError, and ValueError for what is no regular file or larger than MAX_BYTES.
    """
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


def gather(
    submission: Submission, *, ads: Iterable[JobAd], area: AreaEvidence, known: Iterable[JobRecord] = ()
) -> Gathered:
    """Bring ads, reports and units together by process.

    `known` is what the ledger had noted of the jobs: it counts where there is no ad, for history rotates.
    """
    ours, notes = _own(submission, ads)
    recalled = _recall(submission, known, ours)
    everything = [*ours, *(ad for _, ad in recalled)]
    placed, unplaced = _place(submission, ours, area)
    for process, ad in recalled:
        placed.setdefault(process, []).append(ad)
    ids = frozenset(ad.job_id for _, ad in recalled)
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
    jobs = sum(jobs for _, _, jobs in submission.clusters)
    return Gathered(
        processes=tuple(
            Evidence(
                process=process,
                unit=unit,
                ads=tuple(sorted(placed.get(process, ()), key=_news)),
                reports=tuple(reports.get(process, ())),
                unreadable=tuple(broken.get(process, ())),
                recalled=ids & {ad.job_id for ad in placed.get(process, ())},
            )
            for process, unit in enumerate(submission.units)
        ),
        unplaced=tuple(unplaced),
        all_ended=(submission.state is SubmissionState.ENDED or len(everything) >= jobs > 0)
        and all(ad.status.ended for ad in everything),
        last_end=max((ad.ended_at for ad in everything if ad.ended_at is not None), default=None),
        notes=tuple(notes),
    )


def _place(
    submission: Submission, ours: Iterable[JobAd], area: AreaEvidence
) -> tuple[dict[int, list[JobAd]], list[JobAd]]:
    """Return process → its ads, and the ads whose process nobody can tell."""
    places = Places(submission)
    sections = {report.cluster: report.unit for report in area.reports}
    placed: dict[int, list[JobAd]] = {}
    unplaced = []
    for ad in ours:
        process = places.unit_of(schedd=ad.schedd, cluster=ad.cluster, process=ad.process)
        if process is None and ad.process == 0:
            process = sections.get(ad.cluster)
        if process is None:
            unplaced.append(ad)
        else:
            placed.setdefault(process, []).append(ad)
    return placed, unplaced


def _own(submission: Submission, ads: Iterable[JobAd]) -> tuple[list[JobAd], list[str]]:
    """Return the ads of this submission, and a note on those of others (numbers repeat on a wiped pool)."""
    ours: list[JobAd] = []
    others: list[JobAd] = []
    for ad in ads:
        (ours if ad.tag == submission.tag else others).append(ad)
    if not others:
        return ours, []
    return ours, [f"{len(others)} ads have not this submission's tag, {others[0].job_id} first: not used"]


def _recall(
    submission: Submission, known: Iterable[JobRecord], ads: Iterable[JobAd]
) -> list[tuple[int, JobAd]]:
    """Return (process, ad) of jobs that the ledger knows and no ad tells of any more."""
    there = {(ad.schedd, ad.cluster, ad.process) for ad in ads}
    return [
        (job.unit, _recalled(job, tag=submission.tag))
        for job in known
        if (job.schedd, job.cluster, job.process) not in there and job.unit < len(submission.units)
    ]


def _recalled(job: JobRecord, *, tag: str) -> JobAd:
    """Return a job's ad as the ledger remembers it; one that had not ended then may be anything now."""
    ad = JobAd(
        schedd=job.schedd,
        cluster=job.cluster,
        process=job.process,
        global_job_id=job.global_job_id,
        tag=tag,
        status=job.status,
        exit_code=job.exit_code,
        exit_signal=job.exit_signal,
        hold_code=job.hold_code,
        hold_subcode=job.hold_subcode,
        hold_reason=job.reason if job.status is JobStatus.HELD else None,
        remove_reason=job.reason if job.status is JobStatus.REMOVED else None,
        host=job.host,
        site=job.site,
        starts=job.starts,
        shadow_starts=job.starts,
        queued_at=_seconds(job.queued_at),
        started_at=_seconds(job.started_at),
        ended_at=_seconds(job.ended_at),
        status_since=None,
        wall_s=job.wall_s,
        cpu_s=job.cpu_s,
        memory_mb=job.memory_mb,
    )
    return replace(ad, status=JobStatus.UNKNOWN) if job.status in ALIVE else ad


def _seconds(time: float | None) -> int | None:
    return None if time is None else int(time)


def _news(ad: JobAd) -> tuple[int, int]:
    """Sort key: what has ended, then what is held, then what may still run; later news last."""
    rank = 2 if ad.status in ALIVE else 1 if ad.status is JobStatus.HELD else 0
    return rank, ad.ended_at or ad.status_since or ad.queued_at or 0
