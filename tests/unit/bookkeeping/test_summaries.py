"""Frames for people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.bookkeeping import summaries
from include.bookkeeping.ledger import Ledger
from include.campaign.states import Outcome
from tests import ledger_records as records


@pytest.fixture
def ledger(tmp_path):
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as opened:
        opened.upgrade()
        yield opened


def reserve(ledger):
    """Two slices, runs 1000 and 1001."""
    plan = records.campaign_plan()
    ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=2, now=records.NOW)


def judge(ledger, *reasons, run=1000):
    """Settle gen with a failed verdict for each reason."""
    tag = records.intend(ledger, "gen", run=run)
    verdicts = [
        replace(records.verdict(process, Outcome.FAILED), reason=reason, evidence=f"{run}/{process}.log")
        for process, reason in enumerate(reasons)
    ]
    ledger.settle(tag, verdicts=verdicts, accept=[], reject=[], now=records.NOW)


def test_empty_frames_keep_their_columns(ledger):
    reserve(ledger)
    for frame in (
        summaries.campaign_summary(ledger, "demo.none"),
        summaries.cause_summary(ledger, "demo.z", records.TRANCHE),
    ):
        assert frame.empty
        assert len(frame.columns) > 5


def test_campaign_summary(ledger):
    reserve(ledger)
    tag = records.intend(ledger, "gen")
    records.accept(ledger, tag, [records.output("gen", 0), records.output("gen", 1)])
    campaign = summaries.campaign_summary(ledger, "demo.z").set_index("stage")
    columns = ["slices", "first_run", "last_run", "subruns", "accepted", "complete"]
    assert campaign.loc["gen", columns].tolist() == [2, 1000, 1001, 8, 2, 0.25]
    assert campaign.loc["reco", "complete"] == 0


def test_causes_are_grouped_the_most_first_with_an_example(ledger):
    reserve(ledger)
    judge(ledger, "exit code 84: no such file", "signal 9 (killed)", "exit code 84: disk", "exit code 84: x")
    judge(ledger, "signal 9 (killed)", run=1001)
    causes = summaries.cause_summary(ledger, "demo.z", records.TRANCHE)
    assert causes[["stage", "outcome", "check", "cause", "jobs", "subruns"]].to_numpy().tolist() == [
        ["gen", "failed", "exit", "exit code 84", 3, 3],
        ["gen", "failed", "exit", "signal 9", 2, 2],
    ]
    assert causes[["run", "subrun", "reason", "evidence"]].to_numpy().tolist() == [
        [1000, 0, "exit code 84: no such file", "1000/0.log"],
        [1000, 1, "signal 9 (killed)", "1000/1.log"],
    ]
