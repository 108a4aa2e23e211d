"""Cleanup with the real ledger: what is merged goes, the rest and the merged file stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from include.bookkeeping.ledger import Ledger
from include.data.cleanup import clean
from include.data.storage import PosixStorage
from tests.ledger_records import NOW, TRANCHE, accept, campaign_plan, intend, output


@pytest.fixture
def ledger(tmp_path):
    """An empty ledger in SQLite."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        opened.upgrade()
        yield opened


def test_only_what_is_merged_is_removed(ledger, tmp_path):
    plan = replace(campaign_plan(), outstage=str(tmp_path / "outstage"))
    ledger.reserve(plan, tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)

    def make(stage, first, last=None):
        record = replace(output(stage, first, last), path=f"{plan.outstage}/{stage}_{first}.root", size=5)
        Path(record.path).parent.mkdir(exist_ok=True)
        Path(record.path).write_bytes(b"12345")
        return record

    for stage in ("gen", "reco"):
        accept(ledger, intend(ledger, stage), [make(stage, n) for n in range(3)])
    accept(ledger, intend(ledger, "merge_reco", ranges=[(0, 1)]), [make("merge_reco", 0, 1)])
    begun = ledger.removable(experiment="demo", run=1000, now=NOW)[:1]
    ledger.begin_removal(begun, experiment="demo", now=NOW)
    Path(begun[0].path).unlink()

    result = clean(plan, run=1000, ledger=ledger, storage=PosixStorage(), now=NOW)
    assert (result.removed, result.gone, result.good) == (3, 1, True)
    left = sorted(path.name for path in Path(plan.outstage).iterdir())
    assert left == ["gen_2.root", "merge_reco_0.root", "reco_2.root"]
    again = clean(plan, run=1000, ledger=ledger, storage=PosixStorage(), now=NOW)
    assert (again.removed, again.gone) == (0, 0)
