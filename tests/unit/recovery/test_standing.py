"""Each subrun is in one state, whatever submissions say; a completed index is never sent again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from include.bookkeeping.records import AS_PLANNED
from include.campaign.states import SubmissionState, SubrunState
from include.recovery.decision import Past, decide
from include.recovery.standing import build_standing
from tests.unit.recovery.records import ACCEPTED, MISSING, UNKNOWN, stage, unit

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
