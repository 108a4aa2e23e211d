"""How a stage of a slice stands, over all its submissions; from the ledger alone."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.campaign.states import SubmissionState, SubrunState
from include.data.inputs import units_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import OutputRecord, Slice, StageUnit, Unit
    from include.campaign.plan import CampaignPlan, StagePlan

NOT_SENT = frozenset({SubmissionState.INTENDED, SubmissionState.REFUSED})
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Subruns of one stage of one slice by what the ledger says of them; each is in one set alone."""

    stage: str
    run: int
    threshold: float
    """0..1 of those expected."""
    accepted: frozenset[int]
    missing: frozenset[int]
    """Proven not produced by every submission that covers them."""
    unknown: frozenset[int]
    """Not judged yet, or not proven either way by some submission."""
    fresh: frozenset[int]
    """Their inputs are there, and no submission covers them: the inputs came late."""
    held: frozenset[int]
    """Of those unknown: their job was held when it was judged, and nothing else is open."""
    recoveries: int
    """Recoveries begun so far."""
    pending: str
    """Tag of the submission that is recorded but not sent; empty where none is."""
    running: str
    """Tag of a submission whose jobs may still run: sent, not known to have ended, and some of it not proven.
    Empty where there is none."""

    @property
    def expected(self) -> int:
        """How many subruns the stage is to have."""
        return len(self.accepted) + len(self.missing) + len(self.unknown) + len(self.fresh)

    def enough(self, accepted: int) -> bool:
        """Whether so many accepted subruns reach the threshold."""
        return accepted + _ROUNDING >= self.threshold * self.expected

    @property
    def good(self) -> bool:
        """Whether the next stage may start: the threshold is met, and only held jobs are not proven."""
        return self.enough(len(self.accepted)) and self.unknown == self.held

    @property
    def counts(self) -> str:
        """Its figures in a few words: "812/1000 accepted, 3 held"."""
        rest = {
            "missing": self.missing,
            "held": self.held,
            "unknown": self.unknown - self.held,
            "not sent": self.fresh,
        }
        words = [f"{len(subruns)} {word}" for word, subruns in rest.items() if subruns]
        return ", ".join([f"{len(self.accepted)}/{self.expected} accepted", *words])


def standing_of(ledger: Ledger, plan: CampaignPlan, stage: StagePlan, item: Slice) -> Standing:
    """Return how `stage` of the slice stands; StorageError where a file list does not feed it."""
    units = ledger.stage_units(item.dag_id, item.tranche, item.run, stage.name)
    done = ledger.accepted_outputs(experiment=plan.experiment, run=item.run, stage=stage.name, removed=True)
    return build_standing(
        stage,
        run=item.run,
        units=units,
        accepted=accepted_subruns(stage, done),
        possible=frozenset(
            subrun
            # Whether listed files are there counts once something is to be sent.
            for unit in units_now(ledger, plan, stage, item, exists=lambda _: True)
            for subrun in range(unit.first_subrun, unit.last_subrun + 1)
        ),
    )


def build_standing(
    stage: StagePlan,
    *,
    run: int,
    units: Iterable[StageUnit],
    accepted: frozenset[int],
    possible: frozenset[int],
) -> Standing:
    """Sort the subruns; `possible` are those whose inputs are there."""
    states: dict[int, list[StageUnit]] = defaultdict(list)
    recoveries, pending, running = 0, "", ""
    for unit in units:
        recoveries = max(recoveries, unit.recovery)
        if unit.submission in NOT_SENT:
            pending = unit.tag
            continue
        open_unit = unit.state is None or (unit.state is SubrunState.UNKNOWN and not unit.held)
        if open_unit and unit.submission is SubmissionState.SUBMITTED:
            running = unit.tag
        for subrun in range(unit.first_subrun, unit.last_subrun + 1):
            states[subrun].append(unit)
    open_subruns = set(states) - accepted
    missing = {
        subrun for subrun in open_subruns if all(unit.state is SubrunState.MISSING for unit in states[subrun])
    }
    unknown = open_subruns - missing
    return Standing(
        stage=stage.name,
        run=run,
        threshold=stage.success_threshold,
        accepted=accepted,
        missing=frozenset(missing),
        unknown=frozenset(unknown),
        held=frozenset(subrun for subrun in unknown if _only_held(states[subrun])),
        fresh=frozenset(possible - accepted - set(states)),
        recoveries=recoveries,
        pending=pending,
        running=running,
    )


def _only_held(units: Iterable[StageUnit]) -> bool:
    return all(unit.held or unit.state is SubrunState.MISSING for unit in units)


def accepted_subruns(stage: StagePlan, outputs: Iterable[OutputRecord]) -> frozenset[int]:
    """Return the subruns that have every output of the stage."""
    found: dict[int, set[str]] = defaultdict(set)
    for output in outputs:
        for subrun in range(output.first_subrun, output.last_subrun + 1):
            found[subrun].add(output.name)
    needed = {output.name for output in stage.outputs}
    return frozenset(subrun for subrun, names in found.items() if needed <= names)


def units_now(
    ledger: Ledger,
    plan: CampaignPlan,
    stage: StagePlan,
    item: Slice,
    *,
    subruns: Sequence[int] | None = None,
    exists: Callable[[str], bool] = os.path.isfile,
    lost_are_refused: bool = True,
) -> tuple[Unit, ...]:
    """Return what each process could make now: one unit a subrun, for a merge one an accepted input file.

    `subruns`, of the slice, are all of it by default; the rest is as in `units_for`.
    """
    from include.bookkeeping.records import Unit

    def accepted(parent: str, output: str) -> list[OutputRecord]:
        return ledger.accepted_outputs(experiment=plan.experiment, run=item.run, stage=parent, name=output)

    if stage.merge is not None:
        files = accepted(stage.merge.of_stage, stage.merge.of_output)
        return tuple(
            Unit(
                process=number,
                first_subrun=file.first_subrun,
                last_subrun=file.last_subrun,
                inputs=(("merge", (file.path,)),),
            )
            for number, file in enumerate(files)
        )
    first = item.first_subrun
    units, _ = units_for(
        plan,
        stage,
        run=item.run,
        subruns=range(first, first + item.subruns) if subruns is None else subruns,
        accepted=accepted,
        exists=exists,
        lost_are_refused=lost_are_refused,
    )
    return units
