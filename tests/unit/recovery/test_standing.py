"""Each subrun is in one state, whatever submissions say; a completed index is never sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.bookkeeping.ledger import Ledger
from include.bookkeeping.records import AS_PLANNED, UnitState
from include.campaign.plan import CampaignPlan, InputPlan
from include.campaign.states import SubmissionState, SubrunState
from include.recovery.decision import Past, decide
from include.recovery.recovered import recovery_units
from include.recovery.standing import build_standing, standing_of
from tests import ledger_records as records
from tests.unit.recovery.records import ACCEPTED, MISSING, UNKNOWN, stage, unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.bookkeeping.records import Slice

NOTHING: frozenset[int] = frozenset()


def test_a_subrun_is_missing_only_if_every_submission_that_covers_it_proves_it() -> None:
    units = [
        unit(0, MISSING),
        unit(0, MISSING, 1),
        unit(1, MISSING),
        unit(1, UNKNOWN, 1),
        unit(2, MISSING),
        unit(2, None, 1, submission=SubmissionState.SUBMITTED),
    ]
    found = build_standing(stage(), run=1, units=units, accepted=NOTHING, possible=NOTHING)
    assert (found.missing, found.unknown) == ({0}, {1, 2})
    assert found.running == "t/recovery-1"
    assert found.recoveries == 1


def test_accepted_wins_over_what_any_submission_says() -> None:
    found = build_standing(
        stage(),
        run=1,
        units=[unit(0, UNKNOWN), unit(0, MISSING, 1)],
        accepted=frozenset({0}),
        possible=frozenset({0}),
    )
    assert (found.accepted, found.missing, found.unknown, found.fresh) == ({0}, NOTHING, NOTHING, NOTHING)
    assert found.good


def test_late_inputs_are_fresh_and_an_unsent_submission_covers_nothing() -> None:
    pending = unit(1, None, 1, submission=SubmissionState.REFUSED)
    found = build_standing(
        stage(), run=1, units=[unit(0, MISSING), pending], accepted=NOTHING, possible=frozenset({0, 1, 2})
    )
    assert (found.missing, found.fresh, found.pending) == ({0}, {1, 2}, "t/recovery-1")


def test_held_is_told_from_other_unknown() -> None:
    units = [unit(0, UNKNOWN, held=True), unit(1, UNKNOWN), unit(2, UNKNOWN, held=True), unit(2, None, 1)]
    found = build_standing(stage(), run=1, units=units, accepted=NOTHING, possible=NOTHING)
    assert (found.unknown, found.held) == ({0, 1, 2}, {0})


STATES = st.sampled_from([ACCEPTED, MISSING, UNKNOWN, None])


@given(
    st.lists(st.tuples(st.integers(0, 8), STATES, st.integers(0, 3)), max_size=30),
    st.frozensets(st.integers(0, 8)),
    st.frozensets(st.integers(0, 8)),
    st.booleans(),
)
def test_only_what_is_proven_missing_or_never_sent_is_recovered_unless_a_person_says_so(
    rows: list[tuple[int, SubrunState | None, int]],
    accepted: frozenset[int],
    possible: frozenset[int],
    forced: bool,
) -> None:
    units = [unit(subrun, state, recovery) for subrun, state, recovery in rows]
    plan = stage(attempts=9)
    standing = build_standing(plan, run=1, units=units, accepted=accepted, possible=possible)
    parts = (standing.accepted, standing.missing, standing.unknown, standing.fresh)
    assert sum(map(len, parts)) == len(frozenset().union(*parts)) == standing.expected
    sent = set(decide(standing, plan, Past(diagnoses={}, last=AS_PLANNED), forced=forced).subruns)
    assert not sent & accepted
    if forced:
        return
    for subrun in sent:
        states = [state for number, state, _ in rows if number == subrun]
        assert set(states) <= {MISSING}


def test_a_person_s_recovery_takes_what_nobody_knows_and_no_held_job() -> None:
    units = [unit(0, MISSING), unit(1, UNKNOWN), unit(2, UNKNOWN, held=True), unit(3, ACCEPTED)]
    standing = build_standing(
        stage(), run=1, units=units, accepted=frozenset({3}), possible=frozenset({0, 1, 2, 3, 4})
    )
    decision = decide(standing, stage(), Past(diagnoses={}, last=AS_PLANNED), forced=True)
    assert decision.subruns == (0, 1, 4)


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[tuple[Ledger, CampaignPlan, Slice, list[Path]]]:
    """A stage that reads a list of four files, of which two subruns are accepted."""
    files = [tmp_path / f"{n}.root" for n in range(4)]
    for file in files:
        file.touch()
    given = InputPlan(
        name="raw", stage=None, output=None, select="same", files=tuple(map(str, files)), per_job=1
    )
    plan = records.campaign_plan(stages=(records.stage_plan("gen", inputs=(given,)),))
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.upgrade()
        (item,) = ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=1, now=records.NOW)
        tag = records.intend(ledger, "gen")
        ledger.record_submitted(tag, clusters=(("ap1", 7, 4),), message="", now=records.NOW)
        records.accept(ledger, tag, [records.output("gen", n) for n in (0, 1)])
        missing = [UnitState(process=n, state=SubrunState.MISSING, held=False) for n in (2, 3)]
        ledger.settle(tag, verdicts=[], accept=[], reject=[], states=missing, now=records.NOW)
        yield ledger, plan, item, files


def test_a_listed_file_that_is_gone_stops_neither_the_figures_nor_the_rest(
    listed: tuple[Ledger, CampaignPlan, Slice, list[Path]],
) -> None:
    ledger, plan, item, files = listed
    for lost in (files[0], files[2]):
        lost.unlink()
    standing = standing_of(ledger, plan, plan.stages[0], item)
    assert (standing.accepted, standing.missing) == ({0, 1}, {2, 3})
    units = recovery_units(
        ledger, plan, plan.stages[0], item, subruns=standing.missing, tag="t", now=records.NOW
    )
    assert [(unit.process, unit.first_subrun) for unit in units] == [(0, 3)]
