"""Admission by the ledger, on SQLite and on Postgres: what counts, who is forgotten, what is given back."""

from __future__ import annotations

import pytest

from include.bookkeeping.admission import DeploymentLimits, Limit
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.ledger_admission import FORGET_S, IDLE_S, LAPSE_S, AdmissionRequest
from include.errors import LedgerError
from tests.integration.test_ledger_promises import race
from tests.ledger_records import NOW, TRANCHE, campaign_plan, intend, sample

NONE = DeploymentLimits()
EIGHT = DeploymentLimits(jobs_per_experiment=8)
STAGES = ("gen", "reco", "merge_reco")


def ask(ledger, tag, limits=NONE, *, now=NOW, **own):
    """Ask as the submit task does; return what it waits for, None where it may send."""
    stage = tag.split("/")[3]
    return ledger.ask(
        AdmissionRequest(tag=tag, stage_number=STAGES.index(stage), **own), limits=limits, now=now
    )


def send(ledger, tag, *, jobs=4, now=NOW):
    ledger.record_submitted(tag, clusters=[("ap1", abs(hash(tag)) % 10**6, jobs)], message="", now=now)


@pytest.fixture
def tags(ledger, slices):
    """Intents of gen in runs 1000, 1001 and 1002, of four jobs each."""
    return [intend(ledger, "gen", run=run, now=NOW + run - 1000) for run in (1000, 1001, 1002)]


# What counts


def test_what_is_admitted_counts_until_its_jobs_have_ended(ledger, tags):
    first, second, third = tags
    assert ask(ledger, first, EIGHT) is None
    assert ask(ledger, second, EIGHT) is None
    waits = ask(ledger, third, EIGHT)
    assert (waits.limit, waits.name, waits.in_flight, waits.most) == (Limit.EXPERIMENT, "demo", 8, 8)
    send(ledger, first)
    assert ask(ledger, third, EIGHT).in_flight == 8
    ledger.record_ended(first, now=NOW)
    assert ask(ledger, third, EIGHT) is None
    assert ledger.jobs_in_flight(now=NOW) == {"demo.z": 8}


def test_jobs_that_a_poll_saw_end_do_not_count(ledger, tags):
    first, second, third = tags
    for tag in (first, second):
        ask(ledger, tag, EIGHT)
        send(ledger, tag)
    ledger.record_progress(
        [sample(first, NOW, running=1, completed=2, removed=1), sample(second, NOW, idle=4)]
    )
    assert ask(ledger, third, EIGHT).in_flight == 5
    ledger.record_progress(
        [sample(first, NOW + 9, held=1, completed=3), sample(second, NOW + 9, running=3, completed=1)]
    )
    assert ask(ledger, third, EIGHT) is None
    # A poll that comes late changes nothing any more.
    ledger.record_ended(first, now=NOW + 10)
    ledger.record_progress([sample(first, NOW + 11, running=4)])
    assert ledger.jobs_in_flight(now=NOW) == {"demo.z": 7}


def test_a_refused_submission_gives_its_room_back_and_must_ask_anew(ledger, tags):
    first, second, _ = tags
    four = DeploymentLimits(jobs_per_experiment=4)
    assert ask(ledger, first, four) is None
    assert ask(ledger, second, four) is not None
    ledger.record_refused(first, message="no", now=NOW)
    with pytest.raises(LedgerError, match="is refused"):
        ask(ledger, first, four)
    assert ask(ledger, second, four) is None
    intend(ledger, "gen", run=1000)
    assert ask(ledger, first, four).in_flight == 4


def test_asking_again_changes_nothing_for_who_is_admitted(ledger, tags):
    first, second, third = tags
    for _ in range(3):
        assert ask(ledger, first, EIGHT) is None
    send(ledger, first)
    assert ask(ledger, first, EIGHT) is None
    assert ledger.ask_again(tags, limits=EIGHT, now=NOW) == {first: None}, "the others never asked"
    ledger.record_ended(first, now=NOW)
    assert ledger.ask_again([first, "no such tag"], limits=EIGHT, now=NOW) == {first: None}
    assert (second, third) == tuple(tags[1:])


def test_the_campaigns_own_limits_are_those_of_the_asking_dag_run(ledger, tags):
    first, second, third = tags
    assert ask(ledger, first, jobs_limit=4) is None
    assert ask(ledger, second, jobs_limit=4).limit is Limit.CAMPAIGN
    assert ask(ledger, third, jobs_limit=8, now=NOW + FORGET_S + 1) is None, "the second is forgotten"
    with pytest.raises(LedgerError, match="ck_admissions_limits"):
        ask(ledger, first, jobs_limit=0)


# Who waits


def test_who_is_before_another_keeps_its_room_until_it_is_forgotten(ledger, tags):
    first, second, third = tags
    ask(ledger, first, EIGHT)
    ask(ledger, second, EIGHT)
    assert ask(ledger, third, EIGHT).place == 1
    reco = intend(ledger, "reco", run=1000)
    assert ask(ledger, reco, EIGHT, now=NOW + 1).place == 1, "a later stage is before it"
    send(ledger, first)
    ledger.record_ended(first, now=NOW + 2)
    waits = ledger.ask_again([third], limits=EIGHT, now=NOW + 3)[third]
    assert (waits.in_flight, waits.place) == (8, 1), "the room is reco's, which has not come for it yet"
    assert ledger.ask_again([third], limits=EIGHT, now=NOW + FORGET_S + 2) == {third: None}
    assert ask(ledger, reco, EIGHT, now=NOW + FORGET_S + 3) is not None


def test_who_was_silent_for_too_long_begins_to_wait_anew(ledger, tags):
    first, second, third = tags
    four = DeploymentLimits(jobs_per_experiment=4)
    ask(ledger, first, four)
    ask(ledger, second, four, now=NOW)
    ask(ledger, third, four, now=NOW + 200)
    answers = ledger.ask_again([second, third], limits=four, now=NOW + FORGET_S + 1)
    assert (answers[third].place, answers[second].place) == (1, 2)


def test_an_admission_that_nobody_used_lapses_after_a_day(ledger, tags):
    first, second, _ = tags
    four = DeploymentLimits(jobs_per_experiment=4)
    ask(ledger, first, four)
    day = NOW + LAPSE_S
    assert ask(ledger, second, four, now=day).in_flight == 4
    (holder,) = ledger.holders(Limit.EXPERIMENT, "demo", now=day)
    assert (holder.name, holder.jobs, holder.sent) == (first, 4, False)
    assert ask(ledger, second, four, now=day + 1) is None
    assert ask(ledger, first, four, now=day + 2).in_flight == 4


def test_a_clock_that_was_set_back_keeps_nobody_waiting_for_who_is_gone(ledger, tags):
    first, second, third = tags
    four, day = DeploymentLimits(jobs_per_experiment=4), NOW + LAPSE_S
    for tag in (first, second, third):
        ask(ledger, tag, four, now=day)
    assert ask(ledger, third, four, now=NOW).in_flight == 4, "the first is admitted"
    assert ask(ledger, third, four, now=NOW + LAPSE_S + 1) is None, "the first did not come, nor the second"


def test_a_clock_that_jumps_ahead_costs_no_more_than_the_place_in_the_queue(ledger, tags):
    first, second, third = tags
    four, later = DeploymentLimits(jobs_per_experiment=4), NOW + 40 * LAPSE_S
    ask(ledger, first, four)
    send(ledger, first)
    assert [ask(ledger, tag, four).place for tag in (second, third)] == [1, 2]
    answers = ledger.ask_again([second, third], limits=four, now=later)
    assert {answers[tag].in_flight for tag in (second, third)} == {4}, "what is sent counts as before"
    ledger.record_ended(first, now=later)
    assert list(ledger.ask_again([second, third], limits=four, now=later).values()).count(None) == 1


def test_a_crash_of_the_asker_leaves_nothing_stuck(ledger, tags):
    first, second, _ = tags
    four = DeploymentLimits(jobs_per_experiment=4)
    ask(ledger, first, four)
    with Ledger(ledger._url.render_as_string(hide_password=False)) as anew:
        assert ask(anew, first, four, now=NOW + 60) is None
        assert ask(anew, second, four, now=NOW + 60) is not None


def test_processes_that_ask_at_once_never_get_more_than_there_is(ledger, url):
    ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=6, now=NOW)
    for run in range(1000, 1006):
        intend(ledger, "gen", run=run)
    answers = race(*(("ask", url, str(run)) for run in range(1000, 1006)))
    assert sorted(answers) == ["admitted"] * 2 + ["waits"] * 4
    assert ledger.jobs_in_flight(now=NOW) == {"demo.z": 8}


def test_processes_that_ask_for_the_same_get_the_same_answer(ledger, url, tags):
    assert race(*[("ask", url, "1001")] * 4) == ["admitted"] * 4
    assert ledger.jobs_in_flight(now=NOW) == {"demo.z": 4}


# Slices


def place_of(ledger, run):
    return [each.name for each in ledger.holders(Limit.SLICES, "demo.z", now=NOW)].count(f"demo.z run {run}")


def test_a_slice_has_its_place_until_it_is_cleaned_up(ledger, tags):
    first, second, _ = tags
    assert ask(ledger, first, slices_limit=1) is None
    assert ask(ledger, second, slices_limit=1).limit is Limit.SLICES
    send(ledger, first)
    ledger.record_ended(first, now=NOW)
    assert ask(ledger, second, slices_limit=1, now=NOW + 1).limit is Limit.SLICES, "between two stages"
    reco = intend(ledger, "reco", run=1000)
    assert ask(ledger, reco, slices_limit=1, now=NOW + 2) is None
    send(ledger, reco)
    left = ledger.finish_slice("demo.z", TRANCHE, 1000, now=NOW + 3)
    assert left == [(reco, 4)]
    assert ledger.jobs_in_flight(now=NOW) == {}
    assert ask(ledger, second, slices_limit=1, now=NOW + 4) is None
    assert (place_of(ledger, 1000), place_of(ledger, 1001)) == (0, 1)
    again = intend(ledger, "reco", run=1000, recovery=1)
    assert ask(ledger, again, slices_limit=1, now=NOW + 5).limit is Limit.SLICES, "a finished one begins anew"


def test_a_slice_in_which_nothing_goes_on_gives_up_its_place(ledger, tags):
    first, second, _ = tags
    ask(ledger, first, slices_limit=1)
    send(ledger, first)
    late = NOW + IDLE_S + 10
    assert ask(ledger, second, slices_limit=1, now=late).limit is Limit.SLICES, (
        "its jobs are not known to have ended"
    )
    ledger.record_ended(first, now=late)
    assert ask(ledger, second, slices_limit=1, now=late + IDLE_S - 1).limit is Limit.SLICES
    assert ask(ledger, second, slices_limit=1, now=late + IDLE_S + 1) is None


def test_a_slice_that_waits_for_jobs_keeps_its_place(ledger, tags):
    first, second, _ = tags
    ask(ledger, first, slices_limit=1)
    send(ledger, first)
    ledger.record_ended(first, now=NOW)
    reco = intend(ledger, "reco", run=1000)
    none = DeploymentLimits(jobs_per_schedd=9, schedds=0)
    for step in range(30):
        now = NOW + step * FORGET_S / 2
        assert ask(ledger, reco, none, slices_limit=1, now=now).limit is Limit.POOL
        assert ask(ledger, second, none, slices_limit=1, now=now).limit is Limit.SLICES


def test_a_slice_that_stopped_leaves_its_place_unless_it_has_jobs(ledger, tags):
    first, _, _ = tags
    ask(ledger, first)
    assert not ledger.leave_place("demo.z", TRANCHE, 1000, now=NOW), "it may be sent at any moment"
    send(ledger, first)
    assert not ledger.leave_place("demo.z", TRANCHE, 1000, now=NOW)
    ledger.record_ended(first, now=NOW)
    assert ledger.leave_place("demo.z", TRANCHE, 1000, now=NOW)
    assert not ledger.leave_place("demo.z", TRANCHE, 1000, now=NOW)
    assert place_of(ledger, 1000) == 0


def test_a_closed_tranche_holds_nothing_and_can_go_on(ledger, tags):
    first, second, third = tags
    ask(ledger, first, EIGHT)
    send(ledger, first)
    ask(ledger, second, EIGHT)
    ask(ledger, third, EIGHT)
    assert ledger.close_tranche("demo.z", TRANCHE) == [(first, 4)]
    assert ledger.jobs_in_flight(now=NOW) == {}
    assert place_of(ledger, 1000) == 0
    assert third not in ledger.ask_again([third], limits=EIGHT, now=NOW)
    assert ask(ledger, third, EIGHT, now=NOW + 1) is None
    assert ledger.jobs_in_flight(now=NOW) == {"demo.z": 4}


# Who holds room


def test_the_oldest_that_hold_room_are_named_with_what_was_last_seen(ledger, tags):
    first, second, third = tags
    for number, tag in enumerate((second, first)):
        ask(ledger, tag, EIGHT)
        send(ledger, tag, now=NOW + number)
    ledger.record_progress([sample(first, NOW + 5, running=4)])
    ledger.record_progress([sample(first, NOW + 9, held=2, unknown=1, completed=1)])
    old, new = ledger.holders(Limit.EXPERIMENT, "demo", now=NOW)
    assert (old.name, old.since, old.polled_at) == (second, NOW, None)
    assert (new.name, new.jobs, new.held, new.unknown, new.polled_at) == (first, 3, 2, 1, NOW + 9)
    assert ledger.holders(Limit.EXPERIMENT, "other", now=NOW) == []
    assert len(ledger.holders(Limit.POOL, "", now=NOW, most=1)) == 1
    assert ledger.jobs_by_schedd() == {"ap1": 7}
    (one, _) = ledger.holders(Limit.SLICES, "demo.z", now=NOW)
    assert (one.name, one.jobs) == ("demo.z run 1000", 3)
    assert third not in (old.name, new.name)
