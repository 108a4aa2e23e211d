"""Which files each job of a stage reads."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from include.bookkeeping.records import Unit
from include.errors import LedgerError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from include.bookkeeping.records import OutputRecord
    from include.campaign.plan import CampaignPlan, InputPlan, StagePlan

    Accepted = Callable[[str, str], Sequence[OutputRecord]]

_SHOWN = 5


def units_for(
    plan: CampaignPlan,
    stage: StagePlan,
    *,
    run: int,
    subruns: Sequence[int],
    accepted: Accepted,
    exists: Callable[[str], bool] = os.path.isfile,
    lost_are_refused: bool = True,
) -> tuple[tuple[Unit, ...], tuple[int, ...]]:
    """Return one unit a subrun whose inputs are all there, and the subruns left out because some are not.

    `accepted(stage, output)` gives the accepted outputs of a parent in this slice. StorageError if a file
    list has nothing left for one of `subruns`, or if one of its entries is not there, unless those are to be
    left out; entries with a URL scheme are not looked for.
    """
    if len(set(subruns)) != len(subruns):
        msg = f"stage {stage.name}: some subruns are asked for twice in {sorted(subruns)}"
        raise LedgerError(msg)
    lists = {
        given.name: _List(given, plan=plan, stage=stage, run=run)
        for given in stage.inputs
        if given.stage is None
    }
    for each in lists.values():
        each.require(subruns)
    sources = [
        lists.get(given.name) or _Parent(given, stage=stage, accepted=accepted) for given in stage.inputs
    ]
    units: list[Unit] = []
    left_out: list[int] = []
    for subrun in subruns:
        found = [(source.name, source.paths(subrun)) for source in sources]
        if any(not paths for _, paths in found):
            left_out.append(subrun)
            continue
        units.append(Unit(process=len(units), first_subrun=subrun, last_subrun=subrun, inputs=tuple(found)))
    listed = {path for unit in units for name in lists for path in unit_paths(unit, name)}
    lost = {path for path in listed if "://" not in path and not exists(path)}
    if lost and lost_are_refused:
        raise _lost(stage, sorted(lost))
    good = [unit for unit in units if not any(lost.intersection(unit_paths(unit, name)) for name in lists)]
    left_out += sorted({unit.first_subrun for unit in units} - {unit.first_subrun for unit in good})
    return tuple(replace(unit, process=number) for number, unit in enumerate(good)), tuple(sorted(left_out))


def unit_paths(unit: Unit, name: str) -> tuple[str, ...]:
    """Return the paths of one named input of a unit."""
    return next((paths for given, paths in unit.inputs if given == name), ())


class _List:
    """A file list. Its files go to the campaign's subruns in order, run after run."""

    def __init__(self, given: InputPlan, *, plan: CampaignPlan, stage: StagePlan, run: int) -> None:
        self.name = given.name
        self._given, self._plan, self._run = given, plan, run
        self._where = f"stage {stage.name}, input {given.name}"
        if not given.files or given.per_job < 1:
            msg = (
                f"{self._where}: a list of {len(given.files)} files with {given.per_job} a job gives nothing "
                "to read; mend the list in the spec"
            )
            raise StorageError(msg)

    def paths(self, subrun: int) -> tuple[str, ...]:
        """Return the files that the job of `subrun` reads; empty past the end of a list that is read once."""
        files, count = self._given.files, self._given.per_job
        # By run and subrun, not by what was read so far: a recovery of one subrun must read the same files.
        start = self._index(subrun) * count
        if not self._given.reuse:
            return files[start : start + count]
        return tuple(files[(start + offset) % len(files)] for offset in range(min(count, len(files))))

    def require(self, subruns: Sequence[int]) -> None:
        """Raise StorageError if the list has ended before one of `subruns`."""
        bare = [subrun for subrun in subruns if not self.paths(subrun)]
        if not bare:
            return
        plan, files, count = self._plan, len(self._given.files), self._given.per_job
        slices = -(-files // count) // plan.subruns
        msg = (
            f"{self._where}, run {self._run}: {len(bare)} of {len(subruns)} subruns would have no file, so "
            f"nothing is submitted. The list has {files} files; with {plan.subruns} subruns a slice and "
            f"{count} a job, slices that it feeds: {slices}, counted from run {plan.first_run}. Ask for no "
            "more; or add files at the end of the list, or set reuse: true if they may be read again, and "
            "start a new dag_run, as this one keeps the list it began with"
        )
        raise StorageError(msg)

    def _index(self, subrun: int) -> int:
        """Return the subrun's place among all that the campaign can make."""
        plan = self._plan
        slice_index, offset = self._run - plan.first_run, subrun - plan.first_subrun
        if slice_index < 0 or not 0 <= offset < plan.subruns:
            msg = (
                f"{self._where}: run {self._run}, subrun {subrun} has no place in the list, which begins "
                f"with run {plan.first_run} and has subruns {plan.first_subrun}.."
                f"{plan.first_subrun + plan.subruns - 1} of each run"
            )
            raise LedgerError(msg)
        return slice_index * plan.subruns + offset


class _Parent:
    """A parent stage, with its accepted files at hand."""

    def __init__(self, given: InputPlan, *, stage: StagePlan, accepted: Accepted) -> None:
        self.name = given.name
        self._given = given
        self._by_subrun: dict[int, str] = {}
        found = accepted(given.stage or "", given.output or "default")
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
        if self._given.select == "all":
            return self._all
        path = self._by_subrun.get(subrun)
        return () if path is None else (path,)


def _lost(stage: StagePlan, lost: Sequence[str]) -> StorageError:
    more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    return StorageError(
        f"stage {stage.name}: {len(lost)} files of its lists are not there: "
        f"{', '.join(lost[:_SHOWN])}{more}; bring them, then clear this task; or mend the list in the spec "
        "for a new dag_run, as this one keeps the list it began with"
    )
