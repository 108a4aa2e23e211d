"""How stages stand: what is done, and what only looks so."""

from __future__ import annotations

import pytest

from include.bookkeeping.overview_records import EndedJobs, OpenSubmission, Overview, StageCount, TrancheFacts
from include.campaign.states import SubmissionState
from include.progress.campaigns import needs_of
from include.progress.estimate import Outlook
from include.progress.stages import TrancheState, looks, states_of

NOW = 1_800_000_000.0
FACTS = TrancheFacts(
    dag_id="d", tranche="t", dag_run_id="r", owner="", phase="", reserved_at=NOW - 9000, slices=1, finished=0,
    in_flight=1, first_run=1, last_run=1,
)  # fmt: skip
COUNT = StageCount(
    dag_id="d", tranche="t", run=None, stage="gen", number=0, is_merge=False, subruns=10, accepted=0,
    missing=0, held=0, sent=10, duplicates=0, duplicate_bytes=0, bytes=0, accepted_bytes=0, events=0,
)  # fmt: skip
SENT = OpenSubmission(
    tag="x", dag_id="d", tranche="t", run=1, stage="gen", state=SubmissionState.SUBMITTED, jobs_open=10,
    rest=10, is_merge=False, at=None, idle=0, running=0, held=0, completed=0, removed=0, unknown=0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("accepted", "missing", "held", "outlook"),
    [
        (10, 0, 0, Outlook.DONE),
        (7, 3, 0, Outlook.OVER),
        (7, 0, 3, Outlook.INCOMPLETE),
        (7, 0, 0, Outlook.INCOMPLETE),
    ],
    ids=["all-accepted", "failed", "held", "not-judged"],
)
def test_a_stage_is_done_only_once_all_is_accepted(
    accepted: int, missing: int, held: int, outlook: Outlook
) -> None:
    count = COUNT._replace(accepted=accepted, missing=missing, held=held)
    overview = Overview(tranches=(FACTS,), counts=(count,), submissions=(), ended=(), questions=())
    (state,) = states_of(overview, now=NOW)
    assert state.stages[0].estimate.outlook is outlook
    assert state.estimate.outlook is outlook


def test_jobs_that_no_poll_has_counted_yet_are_not_for_a_person() -> None:
    overview = Overview(tranches=(FACTS,), counts=(COUNT,), submissions=(SENT,), ended=(), questions=())
    (state,) = states_of(overview, now=NOW)
    assert state.stages[0].estimate.outlook is Outlook.EARLY


def test_a_stage_that_was_sent_days_after_the_reservation_is_measured_since_the_first_look() -> None:
    facts = FACTS._replace(reserved_at=NOW - 4 * 86_400)
    count = COUNT._replace(stage="reco", number=1, subruns=1500, sent=1500)
    sent = SENT._replace(
        stage="reco", jobs_open=1000, rest=1500, at=NOW, idle=900, running=100, completed=500
    )
    ended = tuple(
        EndedJobs("d", "t", "reco", at, max(0, round((at - (NOW - 9000)) / 18))) for at in looks(NOW)
    )
    overview = Overview(tranches=(facts,), counts=(count,), submissions=(sent,), ended=ended, questions=())
    (state,) = states_of(overview, now=NOW)
    rate = state.stages[0].estimate.rate
    assert rate is not None
    assert 150 < rate < 210, "200 jobs an hour for two and a half of three hours"


def test_lines_of_what_is_settled_are_not_made_for_a_list() -> None:
    state = TrancheState(
        facts=FACTS, make_lines=lambda: pytest.fail("made"), questions=(), settled=True, seen_at=None
    )
    assert needs_of(state, now=NOW) == []
    with pytest.raises(pytest.fail.Exception, match="made"):
        assert state.stages
