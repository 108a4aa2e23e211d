"""The ledger on SQLite and on Postgres: the same promises on both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.bookkeeping import schema
from include.bookkeeping.ledger import Ledger
from include.campaign.plan import PLAN_VERSION
from include.campaign.states import JobStatus, SubmissionState
from include.errors import LedgerError, LedgerUnavailable, RunRangeError
from tests import ledger_records as records
from tests.ledger_records import (
    NOW,
    TRANCHE,
    campaign_plan,
    execution,
    intend,
    job,
)


def test_opening_before_upgrade_says_what_to_run(url):
    with Ledger(url) as ledger:
        with pytest.raises(LedgerError, match="prodsys ledger upgrade"):
            ledger.submission("x")
        assert ledger.upgrade() == ledger.upgrade() == schema.HEAD == ledger.current_revision()
        assert ledger.submission("x") is None
        assert ledger.problems() == []


def test_a_closed_ledger_may_be_used_again(ledger):
    ledger.close()
    assert ledger.tranches("demo.z") == []


def test_a_connection_that_breaks_is_unavailable_and_a_wrong_statement_is_not(ledger):
    with pytest.raises(LedgerError) as caught, ledger._write() as connection:
        connection.exec_driver_sql("DELETE FROM no_such_table")
    assert type(caught.value) is LedgerError
    if connection.dialect.name == "postgresql":
        with pytest.raises(LedgerUnavailable), ledger._write() as connection:
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
    assert ledger.tranches("demo.z") == []


# Tranches and slices


def test_reserve_pins_the_plan_and_gives_the_lowest_runs(ledger):
    plan = campaign_plan(subruns=6)
    got = ledger.reserve(plan, tranche="a", dag_run_id="r", slices=2, now=NOW)
    assert [(each.index, each.run, each.first_subrun, each.subruns) for each in got] == [
        (0, 1000, 0, 6),
        (1, 1001, 0, 6),
    ]
    assert ledger.plan_of("demo.z", "a") == plan
    assert ledger.slices_of("demo.z", "a") == got
    assert ledger.slice_of("demo.z", "a", 1) == got[1]
    assert ledger.tranches("demo.z") == ["a"]


def test_reserving_again_keeps_adds_and_never_drops(ledger):
    plan = campaign_plan()
    two = ledger.reserve(plan, tranche="a", dag_run_id="r1", slices=2, now=NOW)
    other = ledger.reserve(plan, tranche="b", dag_run_id="r2", slices=1, now=NOW)
    edited = replace(plan, subruns=99, description="edited")
    assert ledger.reserve(edited, tranche="a", dag_run_id="r3", slices=1, now=NOW) == two
    three = ledger.reserve(edited, tranche="a", dag_run_id="r3", slices=3, now=NOW)
    assert three[:2] == two
    assert (other[0].run, three[2].run, three[2].subruns) == (1002, 1003, plan.subruns)
    assert ledger.plan_of("demo.z", "a") == plan


def test_a_range_that_another_campaign_has_runs_of_is_refused(ledger, slices):
    with pytest.raises(RunRangeError) as caught:
        ledger.reserve(campaign_plan("y", runs=(1001, 2500)), tranche="t", dag_run_id="r", slices=1, now=NOW)
    assert str(caught.value) == (
        "demo.y: other campaigns have runs of its range 1001..2500: demo.z has 1001..1002. Give it a range "
        "of its own: change `runs` in campaign_specs/demo/y.yaml; the highest run used in demo is 1002"
    )
    assert ledger.tranches("demo.y") == []
    beside = campaign_plan("y", runs=(1003, 2500))
    assert ledger.reserve(beside, tranche="t", dag_run_id="r", slices=1, now=NOW)[0].run == 1003
    elsewhere = campaign_plan("z", experiment="other")
    assert ledger.reserve(elsewhere, tranche="t", dag_run_id="r", slices=1, now=NOW)[0].run == 1000
    assert ledger.campaigns() == ["demo.y", "demo.z", "other.z"]


def test_a_tranche_that_has_its_slices_is_not_refused_for_a_neighbour(ledger, slices):
    neighbour = campaign_plan("y", runs=(1500, 1600))
    ledger.reserve(neighbour, tranche="t", dag_run_id="r", slices=1, now=NOW)
    assert ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=3, now=NOW) == slices
    with pytest.raises(RunRangeError, match=r"demo\.y has 1500\. "):
        ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=4, now=NOW)
    narrowed = campaign_plan(runs=(1000, 1499))
    assert ledger.reserve(narrowed, tranche=TRANCHE, dag_run_id="r", slices=4, now=NOW)[3].run == 1003


def test_a_plan_that_a_newer_prodsys_pinned_is_named(ledger):
    newer = replace(campaign_plan(), version=PLAN_VERSION + 1)
    with pytest.raises(LedgerError, match=r"demo\.z, tranche a does not fit .* version 2, and this prodsys"):
        ledger.reserve(newer, tranche="a", dag_run_id="r", slices=1, now=NOW)


def test_a_range_that_is_used_up_gives_nothing_and_says_what_is_left(ledger):
    plan = campaign_plan(runs=(5, 9))
    ledger.reserve(plan, tranche="a", dag_run_id="r", slices=3, now=NOW)
    with pytest.raises(RunRangeError, match=r"3 run numbers are needed, 2 are left in 5\.\.9 of demo"):
        ledger.reserve(plan, tranche="b", dag_run_id="r", slices=3, now=NOW)
    assert ledger.tranches("demo.z") == ["a"]
    assert len(ledger.reserve(plan, tranche="b", dag_run_id="r", slices=2, now=NOW)) == 2


def test_what_was_never_reserved_is_named(ledger, slices):
    with pytest.raises(LedgerError, match=r"no plan for demo\.z, tranche none"):
        ledger.plan_of("demo.z", "none")
    with pytest.raises(LedgerError, match=r"no slice 3 for demo\.z"):
        ledger.slice_of("demo.z", TRANCHE, 3)
    with pytest.raises(LedgerError, match="0 slices were asked for"):
        ledger.reserve(campaign_plan(), tranche="t", dag_run_id="r", slices=0, now=NOW)
    assert ledger.slices_of("demo.z", "none") == ()


# Submissions


def test_an_intent_is_recorded_once_and_keeps_its_units(ledger, slices):
    tag = intend(ledger, "gen")
    first = ledger.submission(tag)
    assert (first.state, first.clusters, first.submitted_at, len(first.units)) == (
        SubmissionState.INTENDED,
        (),
        None,
        4,
    )
    assert first.units == records.units([(n, n) for n in range(4)])
    intend(ledger, "gen", ranges=[(0, 0)], now=NOW + 9)
    assert ledger.submission(tag) == first
    assert ledger.submission("nobody") is None


def test_intents_that_contradict_the_ledger(ledger, slices):
    tag = intend(ledger, "gen")
    same = {
        "tag": tag,
        "dag_id": "demo.z",
        "tranche": TRANCHE,
        "run": 1000,
        "recovery": 0,
        "work_dir": "",
        "now": NOW,
    }
    with pytest.raises(LedgerError, match="is in the ledger for"):
        ledger.intend(**same, stage="reco", units=records.units([(0, 0)]))
    with pytest.raises(LedgerError, match="without units"):
        ledger.intend(**same, stage="gen", units=[])
    with pytest.raises(LedgerError, match=r"numbered 0\.\.0 by process"):
        ledger.intend(**same, stage="gen", units=[replace(records.units([(0, 0)])[0], process=1)])
    with pytest.raises(LedgerError, match="no slice with run 4711"):
        intend(ledger, "gen", run=4711)


def test_submitted_then_ended(ledger, slices):
    tag = intend(ledger, "gen")
    for now in (NOW + 1, NOW + 2):
        ledger.record_submitted(tag, clusters=[("ap1", 7, 3), ("ap2", 7, 1)], message="said", now=now)
    found = ledger.submission(tag)
    assert (found.state, found.message, found.submitted_at) == (SubmissionState.SUBMITTED, "said", NOW + 1)
    assert found.clusters == (("ap1", 7, 3), ("ap2", 7, 1))
    for _ in range(2):
        ledger.record_ended(tag, now=NOW + 3)
    ledger.record_submitted(tag, clusters=[("ap2", 7, 1), ("ap1", 7, 3)], message="again", now=NOW + 4)
    assert ledger.submission(tag) == replace(found, state=SubmissionState.ENDED)


def test_a_refused_submission_may_be_intended_and_submitted_again(ledger, slices):
    tag = intend(ledger, "gen")
    for _ in range(2):
        ledger.record_refused(tag, message="no such group\x00 \udcff", now=NOW)
    refused = ledger.submission(tag)
    assert (refused.state, refused.message) == (SubmissionState.REFUSED, "no such group\\x00 \\udcff")
    intend(ledger, "gen", ranges=[(0, 0)])
    assert ledger.submission(tag) == replace(refused, state=SubmissionState.INTENDED)
    ledger.record_submitted(tag, clusters=[("ap1", 8, 4)], message="", now=NOW)
    assert ledger.submission(tag).state is SubmissionState.SUBMITTED


def test_steps_that_are_not_allowed(ledger, gen):
    with pytest.raises(LedgerError, match=r"is submitted as 7@ap1; it cannot also be 8@ap1: .* twice"):
        ledger.record_submitted(gen, clusters=[("ap1", 8, 4)], message="", now=NOW)
    with pytest.raises(LedgerError, match="is submitted, so it cannot have been refused"):
        ledger.record_refused(gen, message="", now=NOW)
    reco = intend(ledger, "reco")
    with pytest.raises(LedgerError, match="is intended, so it cannot have ended"):
        ledger.record_ended(reco, now=NOW)
    with pytest.raises(LedgerError, match="no clusters were given"):
        ledger.record_submitted(reco, clusters=[], message="", now=NOW)
    for act in (ledger.record_ended, lambda tag, now: ledger.record_refused(tag, message="", now=now)):
        with pytest.raises(LedgerError, match="no submission nobody: record its intent first"):
            act("nobody", now=NOW)


def test_submissions_are_listed_by_run_and_stage(ledger, gen):
    others = [intend(ledger, "gen", run=1001), intend(ledger, "reco"), intend(ledger, "gen", recovery=1)]

    def listed(**which):
        return [each.tag for each in ledger.submissions("demo.z", TRANCHE, **which)]

    assert listed() == [gen, *others]
    assert listed(run=1000) == [gen, others[1], others[2]]
    assert listed(stage="gen") == [gen, others[0], others[2]]
    assert listed(run=1001, stage="reco") == []


# Jobs and executions


def test_jobs_are_replaced_but_knowledge_is_not_lost(ledger, gen):
    ledger.record_jobs(gen, [job(1, status=JobStatus.RUNNING, exit_code=None, ended_at=None), job(0)])
    ledger.record_jobs(gen, [job(1, exit_code=3, reason="a\x00b")])
    assert ledger.jobs(gen) == [job(0), job(1, exit_code=3, reason="a\\x00b")]
    ledger.record_jobs(
        gen, [job(0, status=JobStatus.UNKNOWN, exit_code=None), job(2, status=JobStatus.UNKNOWN)]
    )
    assert ledger.jobs(gen) == [
        job(0),
        job(1, exit_code=3, reason="a\\x00b"),
        job(2, status=JobStatus.UNKNOWN),
    ]
    ledger.record_jobs(gen, [job(2), job(2, status=JobStatus.HELD, hold_code=12)])
    assert ledger.jobs(gen)[2] == job(2, status=JobStatus.HELD, hold_code=12)
    ledger.record_jobs(gen, [])


def test_the_same_process_on_two_schedds_is_two_jobs(ledger, gen):
    ledger.record_jobs(gen, [job(0), job(0, schedd="ap2")])
    assert [each.schedd for each in ledger.jobs(gen)] == ["ap1", "ap2"]


def test_a_job_without_a_unit_is_refused(ledger, gen):
    with pytest.raises(LedgerError, match="refused a record"):
        ledger.record_jobs(gen, [job(0), job(9)])
    assert ledger.jobs(gen) == []


def test_executions_are_named_once(ledger, gen):
    again = execution(0, 2, exit_code=None, exit_signal=9, error="killed")
    ledger.record_executions(gen, [again, execution(1), execution(0)])
    ledger.record_executions(gen, [execution(1, host="wn2")])
    assert ledger.executions(gen) == [execution(0), again, execution(1, host="wn2")]


# Outputs and verdicts
