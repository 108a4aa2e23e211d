"""Frames for people."""

from __future__ import annotations

import pytest

from include.bookkeeping import summaries
from include.bookkeeping.ledger import Ledger
from tests import ledger_records as records


@pytest.fixture
def ledger(tmp_path):
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as opened:
        opened.upgrade()
        yield opened


def test_empty_frames_keep_their_columns(ledger):
    for frame in (
        summaries.campaign_summary(ledger, "demo.z"),
        summaries.stage_summary(ledger, "demo.z", "none"),
        summaries.job_summary(ledger, "none"),
    ):
        assert frame.empty
        assert len(frame.columns) > 5


def test_frames(ledger):
    ledger.reserve(
        records.campaign_plan(), tranche=records.TRANCHE, dag_run_id="r", slices=2, now=records.NOW
    )
    tag = records.intend(ledger, "gen")
    ledger.record_submitted(tag, clusters=[("ap1", 7, 4)], message="", now=records.NOW)
    ledger.record_jobs(tag, [records.job(0), records.job(1, exit_code=1)])
    records.accept(ledger, tag, [records.output("gen", 0)])
    campaign = summaries.campaign_summary(ledger, "demo.z").set_index("stage")
    assert campaign.loc["gen", ["slices", "first_run", "last_run", "subruns", "accepted"]].tolist() == [
        2,
        1000,
        1001,
        8,
        1,
    ]
    stages = summaries.stage_summary(ledger, "demo.z", records.TRANCHE).set_index(["run", "stage"])
    assert stages.loc[(1000, "gen"), "complete"] == 0.25
    assert stages.loc[(1001, "gen"), "complete"] == 0
    jobs = summaries.job_summary(ledger, tag)
    assert jobs["status"].tolist() == ["completed", "completed"]
    assert jobs["exit_code"].tolist() == [0, 1]
