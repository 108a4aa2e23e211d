"""Outputs of a stage, recorded as its check would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.bookkeeping.records import OutputRecord, VerdictRecord
from include.campaign.states import Outcome, OutputState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import UnitState
    from prodsys_operators.scope import Scope


def accept(ledger: Ledger, scope: Scope, stage: str, *subruns: int, states: Sequence[UnitState] = ()) -> None:
    """Record accepted outputs of a stage, and how its units stand."""
    tag = scope.tag(stage)
    outputs = [
        OutputRecord(
            execution=f"1.{subrun}.0-{subrun:08x}",
            stage=stage,
            name="default",
            run=scope.slice.run,
            first_subrun=subrun,
            last_subrun=subrun,
            path=f"/out/{stage}.{subrun}",
            size=100,
            sha256="0" * 64,
            adler32="0" * 8,
            events=5,
            state=OutputState.CANDIDATE,
        )
        for subrun in subruns
    ]
    ledger.record_outputs(tag, outputs, now=2.0)
    verdicts = [
        VerdictRecord(
            process=subrun, first_subrun=subrun, last_subrun=subrun, check="exit",
            outcome=Outcome.PASSED, reason="", evidence="",
        )
        for subrun in subruns
    ]  # fmt: skip
    keys = [(output.execution, output.name) for output in outputs]
    ledger.settle(tag, verdicts=verdicts, accept=keys, reject=[], states=states, now=2.0)
