"""Whether the storage has what the ledger says of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from include.campaign.naming import area_of
from include.campaign.states import SubmissionState
from include.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.oversight_records import AcceptedFile, SubmissionFacts
    from include.data.storage import Storage, StorageEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class LostFile:
    """An accepted file that is not there, or not as it was."""

    path: str
    since: float
    """Epoch seconds: not before this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFiles:
    """What of one submission the storage has otherwise."""

    looked_at: int
    """Accepted files."""
    lost: tuple[LostFile, ...]
    known: int
    """Executions of which the ledger has outputs."""
    stray: tuple[str, ...]
    """Executions that published, of which the ledger has nothing."""
    stray_since: float
    """When the oldest of them was published, epoch seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at the storage."""

    stored: dict[str, StoredFiles]
    """Tag → what is amiss."""
    looked_at: int
    accepted: int
    """Accepted files that there were to look at."""
    no_answer: tuple[str, ...]
    """A sentence on each area that could not be read: nothing is known of what is there."""


def look(
    ledger: Ledger,
    storage: Storage,
    facts: Sequence[SubmissionFacts],
    *,
    since: float,
    most: int,
    dag_id: str | None = None,
) -> Look:
    """Look at `most` accepted files of the submissions in `facts`, and for outputs that the ledger lacks."""
    files, accepted = ledger.accepted_files(since=since, most=most, dag_id=dag_id)
    silent: list[str] = []
    lost, looked_at = _lost(storage, files, silent)
    over = [fact for fact in facts if fact.state is SubmissionState.ENDED]
    known = ledger.published_executions([fact.tag for fact in over])
    areas = _areas(ledger, over)
    stored = {}
    for fact in facts:
        stray = _stray(storage, areas[fact.tag], known[fact.tag], silent) if fact.tag in known else ()
        if fact.tag in lost or stray:
            stored[fact.tag] = StoredFiles(
                looked_at=looked_at.get(fact.tag, 0),
                lost=tuple(lost.get(fact.tag, ())),
                known=len(known.get(fact.tag, ())),
                stray=tuple(PurePosixPath(each.path).name for each in stray),
                stray_since=min((each.mtime for each in stray), default=0.0),
            )
    return Look(stored=stored, looked_at=sum(looked_at.values()), accepted=accepted, no_answer=tuple(silent))


def _lost(
    storage: Storage, files: Iterable[AcceptedFile], silent: list[str]
) -> tuple[dict[str, list[LostFile]], dict[str, int]]:
    lost: dict[str, list[LostFile]] = defaultdict(list)
    looked_at: dict[str, int] = defaultdict(int)
    for file in files:
        try:
            found = storage.stat(file.path)
            since = file.accepted_at if found else max(file.accepted_at, _changed(storage, file.path))
        except StorageError as error:
            silent.append(str(error))
            continue
        looked_at[file.tag] += 1
        if found is None:
            lost[file.tag].append(LostFile(path=file.path, since=since))
        elif found.size != file.size:
            lost[file.tag].append(LostFile(path=file.path, since=max(since, found.mtime)))
    return dict(lost), dict(looked_at)


def _changed(storage: Storage, path: str) -> float:
    """Return when the nearest folder above `path` that is there was last changed."""
    for folder in PurePosixPath(path).parents:
        entry = storage.stat(str(folder))
        if entry is not None:
            return entry.mtime
    return 0.0


def _areas(ledger: Ledger, facts: Iterable[SubmissionFacts]) -> dict[str, str]:
    """Return tag → the folder that its executions publish into."""
    outstages: dict[tuple[str, str], str] = {}
    areas = {}
    for fact in facts:
        key = (fact.dag_id, fact.tranche)
        if key not in outstages:
            outstages[key] = ledger.plan_of(*key).outstage
        areas[fact.tag] = area_of(outstages[key], stage=fact.stage, run=fact.run, tag=fact.tag)
    return areas


def _stray(storage: Storage, area: str, known: frozenset[str], silent: list[str]) -> list[StorageEntry]:
    """Return the folders of executions that published, and that the ledger does not have."""
    try:
        entries = storage.entries(area) if storage.stat(area) is not None else ()
    except StorageError as error:
        silent.append(str(error))
        return []
    named = [(PurePosixPath(entry.path).name, entry) for entry in entries if entry.is_folder]
    return [entry for name, entry in named if not name.startswith(".") and name not in known]
