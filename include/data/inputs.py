"""Which files each job of a stage reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from include.bookkeeping.records import Unit
from include.errors import LedgerError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from include.bookkeeping.records import OutputRecord
    from include.campaign.plan import InputPlan, StagePlan

    Accepted = Callable[[str, str], Sequence[OutputRecord]]

_SHOWN = 5


def units_for(
    stage: StagePlan,
    *,
    subruns: Sequence[int],
    accepted: Accepted,
    exists: Callable[[str], bool] = os.path.isfile,
) -> tuple[tuple[Unit, ...], tuple[int, ...]]:
    """Return one unit a subrun whose inputs are all there, and the subruns left out because some are not.

    `accepted(stage, output)` gives the accepted outputs of a parent in this slice. StorageError if an entry
    of a file list is not there; entries with a URL scheme are not looked for.
    """
    if len(set(subruns)) != len(subruns):
        msg = f"stage {stage.name}: some subruns are asked for twice in {sorted(subruns)}"
        raise LedgerError(msg)
    sources = [_Source(given, stage=stage, accepted=accepted) for given in stage.inputs]
    units: list[Unit] = []
    left_out: list[int] = []
    for subrun in subruns:
        found = [(source.name, source.paths(subrun)) for source in sources]
        if any(not paths for _, paths in found):
            left_out.append(subrun)
            continue
        units.append(Unit(process=len(units), first_subrun=subrun, last_subrun=subrun, inputs=tuple(found)))
    lists = [source.name for source in sources if source.is_list]
    listed = {path for unit in units for name in lists for path in unit_paths(unit, name)}
    _require_listed(stage, listed, exists=exists)
    return tuple(units), tuple(left_out)


def unit_paths(unit: Unit, name: str) -> tuple[str, ...]:
    """Return the paths of one named input of a unit."""
    return next((paths for given, paths in unit.inputs if given == name), ())


class _Source:
    """One input of a stage, with its files at hand."""

    def __init__(self, given: InputPlan, *, stage: StagePlan, accepted: Accepted) -> None:
        self.name = given.name
        self.is_list = given.stage is None
        self._given = given
        self._by_subrun: dict[int, str] = {}
        self._all: tuple[str, ...] = ()
        if given.stage is None:
            if not given.files or given.per_job < 1:
                msg = (
                    f"stage {stage.name}, input {given.name}: a list of {len(given.files)} files "
                    f"with {given.per_job} a job gives nothing to read; mend the list in the spec"
                )
                raise StorageError(msg)
            return
        found = accepted(given.stage, given.output or "default")
        records = sorted(found, key=lambda record: record.first_subrun)
        for record in records:
            for subrun in range(record.first_subrun, record.last_subrun + 1):
                if subrun in self._by_subrun:
                    msg = (
                        f"stage {stage.name}, input {given.name}: subrun {subrun} of {given.stage} has two "
                        f"accepted files, {self._by_subrun[subrun]} and {record.path}"
                    )
                    raise LedgerError(msg)
                self._by_subrun[subrun] = record.path
        self._all = tuple(record.path for record in records)

    def paths(self, subrun: int) -> tuple[str, ...]:
        """Return the files that the job of `subrun` reads; empty if the parent has none for it."""
        if self.is_list:
            # By subrun, not by position: a recovery of subrun 7 alone must read what subrun 7 reads.
            files = self._given.files
            start, count = subrun * self._given.per_job, min(self._given.per_job, len(files))
            return tuple(files[(start + offset) % len(files)] for offset in range(count))
        if self._given.select == "all":
            return self._all
        path = self._by_subrun.get(subrun)
        return () if path is None else (path,)


def _require_listed(stage: StagePlan, listed: Collection[str], *, exists: Callable[[str], bool]) -> None:
    lost = sorted(path for path in listed if "://" not in path and not exists(path))
    if lost:
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        msg = (
            f"stage {stage.name}: {len(lost)} files of its lists are not there: "
            f"{', '.join(lost[:_SHOWN])}{more}; mend the list or bring the files, then submit again"
        )
        raise StorageError(msg)
