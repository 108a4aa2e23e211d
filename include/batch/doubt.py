"""What to tell a person where a submission's jobs are not what was asked for, and what may be decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from include.batch.launcher import OUTPUT
from include.batch.placing import counted, disjoint, kept, shortfall, whole
from include.batch.submit_note import NOTE
from include.campaign.states import JobStatus
from include.campaign.wording import did_you_mean, shown
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from include.batch.placing import Placed
    from include.batch.pool import ClusterId, JobAd, SubmitRequest

ADOPT = "adopt"
"""A file of this name in the work folder lets the submission go on with fewer jobs than it was to have.

It may name the clusters that count, one CLUSTER@SCHEDD a line; empty: all that were not removed.
"""
SHOWN = 20
"""Clusters that a text names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A cluster that a launcher named and whose jobs do not carry the tag."""

    id: ClusterId
    jobs: int
    """0: neither queue nor history has it."""
    is_dagman: bool

    def __str__(self) -> str:
        if self.is_dagman:
            return f"{self.id} is a DAGMan job"
        return (
            f"{self.id} has {counted(self.jobs)}" if self.jobs else f"{self.id} is in no queue and no history"
        )


def stray_of(tag: str, cluster: ClusterId, ads: Sequence[JobAd]) -> Stray | None:
    """Return a cluster that was named as a stray; None where it carries the tag or all of it was removed."""
    if any(ad.tag == tag for ad in ads) or (ads and all(ad.status is JobStatus.REMOVED for ad in ads)):
        return None
    return Stray(id=cluster, jobs=len(ads), is_dagman=any(ad.is_dagman for ad in ads))


def chosen(request: SubmitRequest, found: Sequence[Placed], *, folder: Path) -> tuple[Placed, ...]:
    """Return the clusters that a person has the submission go on with; none where they are not asked for so.

    LedgerError where the file names what is none of them, or leaves out what may still run.
    """
    names = _named(folder / ADOPT)
    if names is None:
        return ()
    there = {str(each.id): each for each in kept(found)}
    unknown = [name for name in names if name not in there]
    if unknown:
        why = f"{shown(unknown[0])} is no cluster with the tag that was not removed"
        _not_adopted(request, folder, f"{why} ({did_you_mean(unknown[0], there)})")
    mine = tuple(each for name, each in there.items() if name in names or not names)
    if not disjoint(mine, request.jobs):
        if names:
            which = f"{', '.join(map(str, mine))}: {shortfall(mine, request.jobs)}"
            _not_adopted(request, folder, f"together they are not each unit at most once: {which}")
        return ()
    running = [each for each in there.values() if each not in mine and each.alive]
    if running:
        why = f"{_listed(running)}: not named, and may still run: jobsub_rm -J {_ids(running)}"
        _not_adopted(request, folder, why)
    return mine


def _named(path: Path) -> tuple[str, ...] | None:
    """Return the lines of the file; None where there is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(f"{path} cannot be read: {error.strerror}. Nothing is recorded.") from error
    return tuple(line.strip() for line in lines if line.strip())


def _not_adopted(request: SubmitRequest, folder: Path, why: str) -> NoReturn:
    """Refuse what the file asks for."""
    raise LedgerError(
        f"{request.tag}: nothing is recorded and nothing is submitted: {folder / ADOPT}: {why}. Then "
        "clear the task."
    )


def story(request: SubmitRequest, found: Sequence[Placed], strays: Sequence[Stray], *, folder: Path) -> str:
    """Say what is where, what is wrong with it, and what to do."""
    lacks = shortfall(found, request.jobs)
    lines = [
        (
            f"{request.tag}: {request.jobs} jobs were to be submitted, each for one of units "
            f"0-{request.jobs - 1}, and the pool has something else. Nothing is recorded, and nothing more "
            "is submitted."
        ),
        f"with the tag: {_listed(found) or 'no job'}",
        *([f"that is: {lacks}"] if lacks else []),
        *(
            ["their jobs are not numbered as the units are: see --first-unit in docs/launchers.md"]
            if not lacks and not strays
            else []
        ),
        *([f"named by the launcher, without the tag: {_listed(strays)}"] if strays else []),
        *_todo(request, found, strays, folder),
    ]
    return "\n".join(lines)


def _todo(
    request: SubmitRequest, found: Sequence[Placed], strays: Sequence[Stray], folder: Path
) -> list[str]:
    """Return what a person may do."""
    lines = []
    if any(each.is_dagman for each in strays):
        lines.append(
            "cause: --maxConcurrent, --dag and --dataset_definition make a DAG, which prodsys cannot follow: "
            "the launcher must do without"
        )
    elif any(each.jobs for each in strays):
        lines.append(
            "cause: the launcher must leave JOBSUB_EXTRA_LINES, which holds the tag, to jobsub_submit; see "
            "docs/launchers.md. What has ended already cannot be removed: once nothing of it runs, remove "
            f"{folder / OUTPUT} and {folder / NOTE}"
        )
    if any(not each.jobs for each in strays):
        lines.append(f"once you know what became of a cluster that is nowhere, remove {folder / OUTPUT}")
    if len(kept(found)) > 1 and not disjoint(kept(found), request.jobs) and not strays:
        ids = _ids(kept(found))
        lines.append(
            f"to do: look at these clusters ({ids}); remove what is too much with jobsub_rm, then clear the "
            "task: what is whole without the removed clusters is recorded"
        )
        lines += _or_choose(request, kept(found), folder)
    only_strays = bool(whole(found, request.jobs)) or any(each.is_dagman for each in strays)
    mine = () if only_strays else kept(found)  # a DAG's jobs are removed with its DAGMan job
    if ids := _ids([*mine, *(each for each in strays if each.jobs)]):
        then = "what has the tag is recorded" if whole(found, request.jobs) else "the whole is submitted anew"
        lines.append(
            f"to do: end them, jobsub_rm -J {ids}, then clear the task: once every job of them is removed, "
            f"{then}"
        )
    if not strays and disjoint(kept(found), request.jobs):
        lines.append(
            f"or keep them, if you know that no others exist: touch {folder / ADOPT}, then clear the task: "
            "they are recorded, those that left the history too, and the recover task makes what is missing"
        )
    return lines


def _or_choose(request: SubmitRequest, found: Sequence[Placed], folder: Path) -> list[str]:
    """Return how to say which clusters count, where one alone may: what has completed cannot be removed."""
    fit = [each for each in found if disjoint([each], request.jobs)]
    if not fit:
        return []
    return [
        (
            "or, where jobs of several have completed, write the ids of the clusters that are to count into "
            f"{folder / ADOPT}, one a line, as {fit[0].id}, remove what still runs of the others, and clear "
            "the task: these are recorded, and the recover task makes what is missing"
        )
    ]


def _ids(items: Sequence[Placed | Stray]) -> str:
    """Return cluster ids as jobsub_rm takes them."""
    return ",".join(sorted(str(each.id) for each in items))


def _listed(items: Sequence[object]) -> str:
    """Return some of them in words."""
    text = [str(each) for each in items[:SHOWN]]
    return "; ".join([*text, f"and {len(items) - SHOWN} more"] if len(items) > SHOWN else text)
