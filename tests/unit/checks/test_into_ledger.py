"""A judgement fits into the real ledger as it is, and a repeated check changes nothing."""

from __future__ import annotations

import pytest

from include.bookkeeping.ledger import Ledger
from include.campaign.states import OutputState

NOW = 2000.0


@pytest.fixture
def ledger(tmp_path):
    """An empty ledger in SQLite."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        opened.upgrade()
        yield opened


def record(ledger, site):
    """Judge and record, as the check task does; returns the judgement."""
    where = {"experiment": "demo", "run": 1000, "stage": "gen"}
    judgement = site.judge(accepted=ledger.accepted_outputs(**where, removed=True))
    tag = site.submission.tag
    ledger.record_jobs(tag, judgement.jobs)
    ledger.record_executions(tag, judgement.executions)
    ledger.record_outputs(tag, judgement.outputs, now=NOW)
    ledger.settle(tag, verdicts=judgement.verdicts, accept=judgement.accept, reject=judgement.reject, now=NOW)
    return judgement


def test_check_recorded_twice(ledger, make_site):
    site = make_site(3)
    ledger.reserve(site.plan, tranche="t1", dag_run_id="r", slices=1, now=NOW)
    sent = site.submission
    names = {"tag": sent.tag, "dag_id": "demo.z", "tranche": "t1", "run": 1000, "stage": "gen", "recovery": 0}
    ledger.intend(**names, units=sent.units, work_dir=sent.work_dir, now=NOW)
    ledger.record_submitted(sent.tag, clusters=sent.clusters, message="", now=NOW)
    late = site.execute(0, start=1, changes={"ended": 1200.0})
    early = site.execute(0, start=2, changes={"ended": 1150.0})
    bad = site.execute(1)
    next((site.outstage / bad).glob("*.root")).write_bytes(b"damaged")
    site.fail(2, 7)
    for _ in range(2):
        judgement = record(ledger, site)
        states = {output.execution: output.state for output in ledger.outputs(sent.tag)}
        assert states == {
            early: OutputState.ACCEPTED,
            late: OutputState.DUPLICATE,
            bad: OutputState.REJECTED,
        }
        assert [unit.state for unit in judgement.units] == ["accepted", "missing", "missing"]
    assert judgement.accept == ()
    assert len(ledger.jobs(sent.tag)) == 3
    assert len(ledger.executions(sent.tag)) == 4
    reasons = {verdict.process: verdict.reason for verdict in ledger.verdicts(sent.tag)}
    assert reasons[2] == "exit code 7 from generate.py"
    assert reasons[0] == f"accepted before: execution {early}"
