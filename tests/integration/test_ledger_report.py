"""What reports are made of, counted in SQLite and in Postgres."""

from __future__ import annotations

import pytest

from include.bookkeeping.report_records import Intervals, ReportScope
from include.campaign.states import ActionKind, OutputState
from tests import report_records as story
from tests.ledger_records import NOW, TRANCHE, action

ALL = ReportScope()
CAMPAIGN = ReportScope(dag_id="demo.z")
HOUR = 3600.0
HOURS = Intervals(start=NOW, width_s=HOUR)


@pytest.fixture
def told(ledger):
    """The ledger of a campaign in the middle; see tests/report_records.py for what is in it."""
    story.fill(ledger)
    return ledger


def test_an_empty_ledger_has_nothing_to_count(ledger):
    for found in (
        ledger.job_tallies(ALL),
        ledger.submission_tallies(ALL),
        ledger.output_tallies(ALL),
        ledger.cause_tallies(ALL),
        ledger.ended_over_time(ALL, HOURS),
        ledger.action_tallies(ALL),
        ledger.people_did(ALL, most=5),
    ):
        assert found == []


def test_jobs_by_stage_and_site(told):
    found = {(each.stage, each.site): each for each in told.job_tallies(CAMPAIGN)}
    assert set(found) == {("gen", "FNAL"), ("gen", "BNL"), ("gen", None), ("reco", "FNAL")}
    fnal = found["gen", "FNAL"]
    assert (fnal.jobs, fnal.good, fnal.failed, fnal.removed, fnal.held, fnal.unknown) == (3, 3, 0, 0, 0, 0)
    assert (fnal.wall_s, fnal.good_wall_s, fnal.cpu_s, fnal.measured_wall_s) == (
        3 * HOUR,
        3 * HOUR,
        5400,
        7200,
    )
    assert (fnal.waited_s, fnal.waited, fnal.again, fnal.memory_mb) == (180, 3, 2, 900)
    bnl = found["gen", "BNL"]
    assert (bnl.jobs, bnl.good, bnl.failed, bnl.removed) == (3, 0, 2, 1)
    assert (bnl.wall_s, bnl.good_wall_s) == (2.5 * HOUR, 0)
    nowhere = found["gen", None]
    assert (nowhere.jobs, nowhere.held, nowhere.unknown, nowhere.wall_s) == (3, 1, 2, 0.5 * HOUR)


def test_submissions_and_recoveries(told):
    gen, reco = told.submission_tallies(CAMPAIGN)
    assert (gen.stage, gen.submissions, gen.recoveries, gen.refused, gen.units) == ("gen", 3, 1, 0, 9)
    assert (gen.first_at, gen.unfinished) == (NOW, 1)
    assert (reco.stage, reco.submissions, reco.refused, reco.units, reco.open_jobs) == ("reco", 1, 1, 1, 0)


def test_outputs_by_state(told):
    rows = {(each.stage, each.state): each for each in told.output_tallies(CAMPAIGN)}
    accepted = rows["gen", OutputState.ACCEPTED]
    assert (accepted.files, accepted.bytes, accepted.subruns, accepted.events) == (4, 4006, 4, 40)
    assert accepted.accepted
    duplicate = rows["gen", OutputState.DUPLICATE]
    assert (duplicate.files, duplicate.bytes, duplicate.accepted) == (1, 1001, False)


def test_causes_with_the_hours_that_they_cost(told):
    memory, unclear, removed = told.cause_tallies(CAMPAIGN)
    assert (memory.category, memory.failures, memory.nodes, memory.sites) == ("memory", 1, 1, 1)
    assert memory.wall_s == 2.5 * HOUR
    assert (unclear.category, unclear.rule, unclear.failures, unclear.wall_s) == (
        "unclassified", "", 1, 0.5 * HOUR,
    )  # fmt: skip
    # The second diagnosis of the process that ran out of memory: its hours are the first one's.
    assert (removed.category, removed.failures, removed.wall_s) == ("operator", 1, 0)


def test_time_in_intervals(told):
    found = told.output_tallies(CAMPAIGN, HOURS)
    gen = [
        (each.interval, each.subruns, each.events) for each in found if each.stage == "gen" and each.accepted
    ]
    assert sorted(gen) == [(1, 3, 30), (3, 1, 10)]
    ended = told.ended_over_time(CAMPAIGN, HOURS)
    assert [(each.interval, each.good, each.bad) for each in ended] == [(1, 3, 3), (3, 1, 0)]


def test_a_span_of_time_leaves_out_what_is_before_and_after(told):
    late = ReportScope(since=NOW + 2 * HOUR, until=NOW + 9 * HOUR)
    assert [(each.stage, each.jobs) for each in told.job_tallies(late)] == [("reco", 1)]
    assert [(each.stage, each.files) for each in told.output_tallies(late) if each.accepted] == [
        ("gen", 1), ("reco", 1),
    ]  # fmt: skip
    assert told.cause_tallies(late) == []
    assert told.people_did(late, most=5) == []


def test_a_campaign_an_experiment_and_a_tranche_are_kept_apart(told):
    assert {each.dag_id for each in told.job_tallies(ALL)} == {"demo.z", "other.y"}
    assert {each.dag_id for each in told.job_tallies(ReportScope(experiment="other"))} == {"other.y"}
    assert told.output_tallies(ReportScope(dag_id="demo.z", tranche="none")) == []
    assert told.submission_tallies(ReportScope(dag_id="demo.z", tranche=TRANCHE)) == told.submission_tallies(
        CAMPAIGN
    )


def test_what_people_did_is_told_apart(told):
    tallies = {(each.kind, each.by_people): each.times for each in told.action_tallies(CAMPAIGN)}
    assert tallies == {(ActionKind.RECOVER, False): 1, (ActionKind.ACCEPT, True): 1}
    (did,) = told.people_did(CAMPAIGN, most=5)
    assert (did.who, did.kind) == ("ann", ActionKind.ACCEPT)
    told.record_action(action(ActionKind.STOP, NOW + 2 * HOUR, who="bob"))
    assert [each.who for each in told.people_did(CAMPAIGN, most=1)] == ["bob"]
