"""Cleanup with the real ledger: what is merged goes, the rest and the merged file stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from include.bookkeeping.ledger import Ledger
from include.campaign.states import OutputState
from include.data.cleanup import DUPLICATES_AFTER_S, clean
from include.data.storage import PosixStorage
from include.errors import LedgerError
from tests.ledger_records import (
    NOW,
    TRANCHE,
    accept,
    campaign_plan,
    intend,
    output,
    output_plan,
    stage_plan,
)


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


LATER = NOW + DUPLICATES_AFTER_S


@pytest.fixture
def forever(ledger, tmp_path):
    """A plan of one stage whose output is kept for ever, its slice reserved."""
    stage = stage_plan("gen", outputs=(output_plan(keep="forever"),))
    plan = replace(campaign_plan(stages=(stage,)), outstage=str(tmp_path / "outstage"))
    ledger.reserve(plan, tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    return plan


def file_of(plan, subrun, start=1, **changes):
    """Write an output of an execution of `subrun`, and return its record."""
    path = f"{plan.outstage}/{subrun}.{start}.root"
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_bytes(b"12345")
    return replace(output("gen", subrun, start=start), path=path, size=5, **changes)


def left(plan):
    return sorted(path.name for path in Path(plan.outstage).iterdir())


def run(plan, ledger, now):
    return clean(plan, run=1000, ledger=ledger, storage=PosixStorage(), now=now)


def states(ledger, tag):
    return {Path(each.path).name: each.state for each in ledger.outputs(tag)}


def test_duplicates_go_after_the_grace_time_and_the_accepted_one_stays(ledger, forever):
    tag = intend(ledger, "gen")
    # One is called a duplicate by the check, the other by the ledger, both beside an accepted one.
    ledger.record_outputs(tag, [file_of(forever, 0, 2, state=OutputState.DUPLICATE)], now=NOW)
    accept(ledger, tag, [file_of(forever, 0), file_of(forever, 1), file_of(forever, 1, 2)])
    assert run(forever, ledger, LATER - 1).removed == 0
    assert left(forever) == ["0.1.root", "0.2.root", "1.1.root", "1.2.root"]
    result = run(forever, ledger, LATER)
    assert (result.removed, result.bytes, result.good) == (2, 10, True)
    assert left(forever) == ["0.1.root", "1.1.root"]
    kept, gone = OutputState.ACCEPTED, OutputState.REMOVED
    expected = {"0.1.root": kept, "0.2.root": gone, "1.1.root": kept, "1.2.root": gone}
    assert states(ledger, tag) == expected
    assert run(forever, ledger, LATER + 1).removed == 0


@pytest.mark.parametrize("content", [None, b"123"], ids=["gone", "cut"])
def test_a_duplicate_of_an_accepted_file_that_was_lost_stays(ledger, forever, content):
    tag = intend(ledger, "gen")
    ledger.record_outputs(tag, [file_of(forever, 0, 2, state=OutputState.DUPLICATE)], now=NOW)
    accept(ledger, tag, [file_of(forever, 0)])
    accepted = Path(f"{forever.outstage}/0.1.root")
    accepted.unlink()
    if content is not None:
        accepted.write_bytes(content)
    result = run(forever, ledger, LATER)
    assert (result.removed, result.good) == (0, False)
    assert "it may be the last copy" in result.refused[0]
    assert str(accepted) in result.refused[0]
    assert "0.2.root" in left(forever)
    assert states(ledger, tag)["0.2.root"] is OutputState.DUPLICATE


def test_what_is_being_removed_stays_as_well_where_an_accepted_file_was_lost(ledger, forever):
    tag = intend(ledger, "gen")
    ledger.record_outputs(tag, [file_of(forever, 0, 2, state=OutputState.DUPLICATE)], now=NOW)
    accept(ledger, tag, [file_of(forever, 0)])
    begun = ledger.removable(experiment="demo", run=1000, now=LATER, duplicates_after_s=DUPLICATES_AFTER_S)
    ledger.begin_removal(begun, experiment="demo", now=LATER)
    Path(f"{forever.outstage}/0.1.root").unlink()
    result = run(forever, ledger, LATER)
    assert (result.removed, result.good) == (0, False)
    assert "it may be the last copy" in result.refused[0]
    assert left(forever) == ["0.2.root"]
    assert states(ledger, tag)["0.2.root"] is OutputState.REMOVING


def test_a_recoverys_duplicate_goes_too_and_its_grace_time_begins_when_it_is_found(ledger, forever):
    accept(ledger, intend(ledger, "gen"), [file_of(forever, 0)])
    recovery = intend(ledger, "gen", recovery=1, ranges=[(0, 0)])
    accept(ledger, recovery, [file_of(forever, 0, 9)], now=NOW + 1000)
    accept(ledger, recovery, [file_of(forever, 0, 9)], now=NOW + 5000)
    assert run(forever, ledger, LATER + 999).removed == 0
    assert run(forever, ledger, LATER + 1000).removed == 1
    assert left(forever) == ["0.1.root"]


def test_what_is_not_a_double_of_an_accepted_output_is_never_removed(ledger, forever):
    tag = intend(ledger, "gen")
    rejected, alone, candidate = (file_of(forever, subrun) for subrun in (1, 2, 3))
    called_so = replace(alone, state=OutputState.DUPLICATE)
    same_path = replace(output("gen", 0, start=5), path=f"{forever.outstage}/0.1.root", size=5)
    ledger.record_outputs(tag, [called_so, rejected, candidate, file_of(forever, 1, 2)], now=NOW)
    accept(ledger, tag, [file_of(forever, 0), same_path, file_of(forever, 1, 3)])
    ledger.settle(tag, verdicts=[], accept=[], reject=[(rejected.execution, rejected.name)], now=NOW)
    assert states(ledger, tag)["1.1.root"] is OutputState.REJECTED
    before = left(forever)
    assert run(forever, ledger, LATER * 2).removed == 0
    assert left(forever) == before
    for each, why in (
        (rejected, "rejected"),
        (alone, "not all its subruns"),
        (candidate, "never judged"),
    ):
        with pytest.raises(LedgerError, match=why):
            ledger.begin_removal([each], experiment="demo", now=LATER)
    with pytest.raises(LedgerError, match="with this path"):
        ledger.begin_removal([same_path], experiment="demo", now=LATER)


def test_a_duplicate_of_an_output_that_was_merged_and_removed_goes(ledger, tmp_path):
    plan = replace(campaign_plan(), outstage=str(tmp_path / "outstage"))
    ledger.reserve(plan, tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    accept(ledger, intend(ledger, "gen"), [file_of(plan, 0), file_of(plan, 0, 2)])
    for stage in ("reco", "merge_reco"):
        made = replace(output(stage, 0), path=f"{plan.outstage}/{stage}.root", size=5)
        Path(made.path).write_bytes(b"12345")
        accept(ledger, intend(ledger, stage, ranges=[(0, 0)]), [made])
    assert run(plan, ledger, NOW).removed == 2
    assert left(plan) == ["0.2.root", "merge_reco.root"]
    assert run(plan, ledger, LATER).removed == 1
    assert left(plan) == ["merge_reco.root"]


def test_a_removal_of_duplicates_that_crashed_is_finished(ledger, forever):
    tag = intend(ledger, "gen")
    accept(ledger, tag, [file_of(forever, 0), file_of(forever, 0, 2), file_of(forever, 0, 3)])
    going = ledger.removable(experiment="demo", run=1000, now=LATER, duplicates_after_s=DUPLICATES_AFTER_S)
    assert len(going) == 2
    ledger.begin_removal(going, experiment="demo", now=LATER)
    Path(going[0].path).unlink()
    result = run(forever, ledger, LATER)
    assert (result.removed, result.gone, left(forever)) == (1, 1, ["0.1.root"])
