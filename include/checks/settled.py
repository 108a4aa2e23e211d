"""What the ledger has accepted already, so that a repeated check or a recovery accepts nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from include.bookkeeping.records import OutputRecord, Unit
    from include.campaign.plan import StagePlan


class Settled:
    """Accepted outputs of one stage and run, found by subrun."""

    def __init__(self, accepted: Iterable[OutputRecord], *, stage: StagePlan, run: int) -> None:
        self._names = tuple(output.name for output in stage.outputs)
        self._by_subrun: dict[tuple[str, int], OutputRecord] = {}
        for record in accepted:
            if record.stage == stage.name and record.run == run:
                for subrun in range(record.first_subrun, record.last_subrun + 1):
                    self._by_subrun[record.name, subrun] = record

    def holder(self, unit: Unit) -> str | None:
        """Return an execution whose outputs are accepted, if every output of every subrun of the unit is."""
        found = self._records(unit)
        if not self._names or len(found) < len(self._names) * (unit.last_subrun - unit.first_subrun + 1):
            return None
        return found[0].execution

    def partly(self, unit: Unit) -> set[str]:
        """Return the executions of which some output of the unit is accepted: a check was cut short there."""
        return {record.execution for record in self._records(unit)}

    def blocker(self, unit: Unit, good: Collection[str]) -> str:
        """Return why none of the `good` executions can be accepted for the unit; empty if one can."""
        for record in self._records(unit):
            if (record.first_subrun, record.last_subrun) != (unit.first_subrun, unit.last_subrun):
                return (
                    f"overlaps an accepted file: {record.path} holds subruns "
                    f"{record.first_subrun}..{record.last_subrun}"
                )
            if record.execution not in good:
                return f"another execution is accepted in part: {record.name!r} of {record.execution}"
        return ""

    def _records(self, unit: Unit) -> list[OutputRecord]:
        """Return the accepted record of each output and subrun of the unit, where there is one."""
        if not self._by_subrun:
            return []
        return [
            record
            for name in self._names
            for subrun in range(unit.first_subrun, unit.last_subrun + 1)
            if (record := self._by_subrun.get((name, subrun))) is not None
        ]
