"""An experiment's own checks of a whole stage, by what the ledger still has of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from include.bookkeeping.ledger import Ledger
from include.campaign.plan import UserCheckPlan
from include.campaign.states import Outcome
from include.recovery.wide_checks import stage_verdicts
from tests import ledger_records as records

if TYPE_CHECKING:
    from pathlib import Path


def test_a_stage_whose_files_cleanup_took_is_not_judged_again(tmp_path: Path) -> None:
    script = tmp_path / "check.sh"
    script.write_text('#!/bin/sh\necho \'{"outcome": "passed"}\'\n')
    script.chmod(0o755)
    check = UserCheckPlan(
        name="wide", scope="stage", script=str(script), entry="", arguments=(), timeout_s=60
    )
    gen, *rest = records.CHAIN
    gen = replace(gen, user_checks=(check,))
    plan = records.campaign_plan(stages=(gen, *rest))
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.upgrade()
        (item,) = ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=1, now=records.NOW)
        for stage in ("gen", "reco"):
            made = [records.output(stage, n) for n in range(4)]
            records.accept(ledger, records.intend(ledger, stage), made)
        assert [each.verdict.outcome for each in stage_verdicts(ledger, plan, gen, item)] == [Outcome.PASSED]
        merge = records.intend(ledger, "merge_reco", ranges=[(0, 3)])
        records.accept(ledger, merge, [records.output("merge_reco", 0, 3)])
        going = ledger.removable(experiment="demo", run=1000, now=records.NOW)[:1]
        ledger.begin_removal(going, experiment="demo", now=records.NOW)
        assert stage_verdicts(ledger, plan, gen, item) == (), "it would be asked about three of four files"
