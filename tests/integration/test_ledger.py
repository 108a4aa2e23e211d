"""The ledger on SQLite and on Postgres: the same promises on both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.bookkeeping import schema
from include.bookkeeping.ledger import Ledger
from include.campaign.states import JobStatus, Outcome, OutputState, SubmissionState
from include.errors import LedgerError, RunRangeError
from tests import ledger_records as records
from tests.ledger_records import (
    NOW,
    TRANCHE,
    campaign_plan,
    execution,
    intend,
    job,
    output,
    sample,
    tag_of,
    verdict,
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/the ledger.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def ledger(url):
    with Ledger(url) as opened:
        opened.upgrade()
        yield opened


@pytest.fixture
def slices(ledger):
    """Three slices of four subruns, runs 1000..1002."""
    return ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=3, now=NOW)


@pytest.fixture
def gen(ledger, slices):
    """The tag of gen's submission of four jobs in run 1000."""
    tag = intend(ledger, "gen")
    ledger.record_submitted(
        tag, clusters=[("ap1", 7, 4)], message="4 job(s) submitted to cluster 7.", now=NOW + 1
    )
    return tag


# Opening


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


def test_runs_are_unique_per_experiment_and_gaps_are_filled(ledger):
    middle = campaign_plan("middle", runs=(1001, 1002))
    assert [each.run for each in ledger.reserve(middle, tranche="t", dag_run_id="r", slices=2, now=NOW)] == [
        1001,
        1002,
    ]
    round_it = ledger.reserve(campaign_plan("z"), tranche="t", dag_run_id="r", slices=3, now=NOW)
    assert [each.run for each in round_it] == [1000, 1003, 1004]
    elsewhere = campaign_plan("z", experiment="other")
    assert ledger.reserve(elsewhere, tranche="t", dag_run_id="r", slices=1, now=NOW)[0].run == 1000


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
    with pytest.raises(LedgerError, match="refused a record"):
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


def test_one_output_is_accepted_and_others_are_duplicates(ledger, gen):
    first, second, other = output("gen", 0), output("gen", 0, start=2), output("gen", 1)
    ledger.record_outputs(gen, [second, first, other], now=NOW)
    names = [(each.execution, each.name) for each in (first, second, other)]
    ledger.settle(gen, verdicts=[verdict(0)], accept=names[:1], reject=names[2:], now=NOW)
    assert {each.state for each in ledger.outputs(gen)} == {
        OutputState.ACCEPTED,
        OutputState.CANDIDATE,
        OutputState.REJECTED,
    }
    for _ in range(2):
        ledger.settle(gen, verdicts=[verdict(0)], accept=[names[1], *names, *names], reject=[], now=NOW + 1)
    states = {each.path: each.state for each in ledger.outputs(gen)}
    assert states[first.path] is OutputState.ACCEPTED
    assert states[second.path] is OutputState.DUPLICATE
    assert states[other.path] is OutputState.ACCEPTED
    accepted = ledger.accepted_outputs(experiment="demo", run=1000, stage="gen")
    assert [each.path for each in accepted] == [first.path, other.path]


def test_what_was_accepted_stays_so(ledger, gen):
    done = output("gen", 0)
    records.accept(ledger, gen, [done])
    key = (done.execution, done.name)
    ledger.settle(gen, verdicts=[], accept=[], reject=[key], now=NOW + 1)
    ledger.record_outputs(
        gen, [replace(done, size=1), replace(done, state=OutputState.REJECTED)], now=NOW + 1
    )
    assert ledger.outputs(gen) == [replace(done, state=OutputState.ACCEPTED)]
    with pytest.raises(LedgerError, match="both accepted and rejected"):
        ledger.settle(gen, verdicts=[], accept=[key], reject=[key], now=NOW)


def test_a_candidate_is_recorded_anew_until_it_is_judged(ledger, gen):
    seen = output("gen", 0)
    ledger.record_outputs(gen, [seen], now=NOW)
    ledger.record_outputs(gen, [replace(seen, events=11, state=OutputState.REJECTED)], now=NOW)
    ledger.record_outputs(gen, [seen], now=NOW)
    assert ledger.outputs(gen) == [replace(seen, events=11, state=OutputState.REJECTED)]


def test_accepting_across_recoveries(ledger, gen):
    first, late = output("gen", 0), output("gen", 0, start=2)
    records.accept(ledger, gen, [first])
    recovery = intend(ledger, "gen", recovery=1, ranges=[(0, 0)])
    records.accept(ledger, recovery, [late])
    assert [each.state for each in ledger.outputs(recovery)] == [OutputState.DUPLICATE]


def test_outputs_of_two_kinds_are_accepted_each(ledger, gen):
    kinds = [output("gen", 0), output("gen", 0, name="hist")]
    records.accept(ledger, gen, kinds)
    assert len(ledger.accepted_outputs(experiment="demo", run=1000, stage="gen")) == 2
    only = ledger.accepted_outputs(experiment="demo", run=1000, stage="gen", name="hist")
    assert [each.name for each in only] == ["hist"]


def test_merged_ranges_must_not_overlap_in_part(ledger, slices):
    tag = intend(ledger, "merge_reco", ranges=[(0, 1), (2, 3)])
    records.accept(ledger, tag, [output("merge_reco", 0, 1), output("merge_reco", 1, 1, start=3)])
    assert [each.state for each in ledger.outputs(tag)] == [OutputState.ACCEPTED, OutputState.DUPLICATE]
    with pytest.raises(LedgerError, match=r"holds subruns 1\.\.2, of which 1 is accepted in /out/merge_reco"):
        records.accept(ledger, tag, [output("merge_reco", 1, 2, start=4)])
    records.accept(ledger, tag, [output("merge_reco", 2, 3)])
    accepted = ledger.accepted_outputs(experiment="demo", run=1000, stage="merge_reco")
    assert [(each.first_subrun, each.last_subrun) for each in accepted] == [(0, 1), (2, 3)]


def test_outputs_that_do_not_belong(ledger, gen):
    for wrong in (output("reco", 0), output("gen", 0, run=1001)):
        with pytest.raises(LedgerError, match="the tag of run 1000, gen"):
            ledger.record_outputs(gen, [wrong], now=NOW)
    with pytest.raises(LedgerError, match="cannot be recorded as accepted"):
        ledger.record_outputs(gen, [replace(output("gen", 0), state=OutputState.ACCEPTED)], now=NOW)
    with pytest.raises(LedgerError, match=r"no output default of 7\.0\.1"):
        ledger.settle(gen, verdicts=[verdict(0)], accept=[("7.0.1", "default")], reject=[], now=NOW)
    assert ledger.outputs(gen) == []
    assert ledger.verdicts(gen) == []


def test_verdicts_are_replaced_as_a_whole(ledger, gen):
    first = [verdict(0), verdict(0, Outcome.UNKNOWN, check="root"), verdict(1, Outcome.FAILED)]
    ledger.settle(gen, verdicts=first, accept=[], reject=[], now=NOW)
    assert ledger.verdicts(gen) == first
    ledger.settle(gen, verdicts=first[2:], accept=[], reject=[], now=NOW)
    assert ledger.verdicts(gen) == first[2:]
    with pytest.raises(LedgerError, match="refused a record"):
        ledger.settle(gen, verdicts=[verdict(99)], accept=[], reject=[], now=NOW)
    assert ledger.verdicts(gen) == first[2:]


# Merges


def test_merge_groups_are_pinned(ledger, slices):
    plan = {"experiment": "demo", "run": 1000, "stage": "merge_reco", "tag": tag_of("merge_reco"), "now": NOW}
    first = (records.group(0, 0, 1), records.group(1, 2, 3))
    assert ledger.plan_merge(**plan, groups=[]) == ()
    assert ledger.plan_merge(**plan, groups=first[::-1]) == first
    assert ledger.plan_merge(**plan, groups=[records.group(0, 0, 3)]) == first
    assert ledger.merge_groups(plan["tag"]) == first


def test_merge_groups_that_cannot_be(ledger, slices):
    plan = {"experiment": "demo", "run": 1000, "stage": "merge_reco", "tag": tag_of("merge_reco"), "now": NOW}
    with pytest.raises(LedgerError, match=r"groups 0 \(subruns 0\.\.2\) and 1 \(2\.\.3\) share subruns"):
        ledger.plan_merge(**plan, groups=[records.group(0, 0, 2), records.group(1, 2, 3)])
    with pytest.raises(LedgerError, match=r"numbered 0\.\.1"):
        ledger.plan_merge(**plan, groups=[records.group(0, 0, 1), records.group(2, 2, 3)])
    with pytest.raises(LedgerError, match="no slice with run 7"):
        ledger.plan_merge(**{**plan, "run": 7}, groups=[records.group(0, 0, 1)])
    assert ledger.merge_groups(plan["tag"]) == ()


# Progress


def test_progress_samples(ledger, gen):
    reco = intend(ledger, "reco")
    samples = [sample(gen, NOW, idle=4), sample(gen, NOW + 30, running=4), sample(reco, NOW, held=1)]
    for _ in range(2):
        ledger.record_progress(samples)
    ledger.record_progress([])
    assert ledger.progress(gen) == samples[:2]
    assert ledger.latest_progress("demo.z", TRANCHE) == samples[1:]
    with pytest.raises(LedgerError, match="no submission nobody"):
        ledger.record_progress([sample(gen, NOW + 60), sample("nobody", NOW)])
    assert ledger.progress(gen) == samples[:2]


def progress_of(ledger, stage, *, run=None):
    found = {each.stage: each for each in ledger.stage_progress("demo.z", TRANCHE, run=run)}
    each = found[stage]
    return (each.subruns, each.accepted, each.missing, each.unknown, each.duplicates)


def test_stage_progress(ledger, gen):
    assert [each.stage for each in ledger.stage_progress("demo.z", TRANCHE)] == ["gen", "reco", "merge_reco"]
    assert progress_of(ledger, "gen") == (12, 0, 0, 12, 0)
    records.accept(ledger, gen, [output("gen", 0), output("gen", 0, start=2), output("gen", 1)])
    failures = [
        verdict(2, Outcome.FAILED),
        verdict(2, Outcome.FAILED, check="root"),
        verdict(3, Outcome.UNKNOWN),
    ]
    ledger.settle(gen, verdicts=[verdict(0), *failures], accept=[], reject=[], now=NOW)
    assert progress_of(ledger, "gen") == (12, 2, 1, 9, 1)
    assert progress_of(ledger, "gen", run=1000) == (4, 2, 1, 1, 1)
    assert progress_of(ledger, "gen", run=1001) == (4, 0, 0, 4, 0)


def test_a_missing_subrun_is_unknown_again_while_its_recovery_runs(ledger, gen):
    ledger.settle(gen, verdicts=[verdict(2, Outcome.FAILED)], accept=[], reject=[], now=NOW)
    recovery = intend(ledger, "gen", recovery=1, ranges=[(2, 2)])
    assert progress_of(ledger, "gen", run=1000) == (4, 0, 0, 4, 0)
    ledger.record_refused(recovery, message="", now=NOW)
    assert progress_of(ledger, "gen", run=1000) == (4, 0, 1, 3, 0)
    intend(ledger, "gen", recovery=1, ranges=[(2, 2)])
    records.accept(ledger, recovery, [output("gen", 2)])
    assert progress_of(ledger, "gen", run=1000) == (4, 1, 0, 3, 0)


def test_a_subrun_with_one_of_two_outputs_is_not_accepted(ledger):
    two = records.stage_plan("gen", outputs=(records.output_plan(), records.output_plan("hist")))
    ledger.reserve(campaign_plan(stages=(two,)), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    gen = intend(ledger, "gen")
    records.accept(ledger, gen, [output("gen", 0), output("gen", 0, name="hist"), output("gen", 1)])
    ledger.settle(gen, verdicts=[verdict(1, Outcome.FAILED)], accept=[], reject=[], now=NOW)
    assert progress_of(ledger, "gen") == (4, 1, 1, 2, 0)


def test_progress_of_a_merge_counts_its_planned_groups(ledger, slices):
    tag = intend(ledger, "merge_reco", ranges=[(0, 1), (3, 3)])
    groups = [records.group(0, 0, 1), records.group(1, 3, 3)]
    ledger.plan_merge(experiment="demo", run=1000, stage="merge_reco", tag=tag, groups=groups, now=NOW)
    assert progress_of(ledger, "merge_reco", run=1000) == (3, 0, 0, 3, 0)
    assert progress_of(ledger, "merge_reco") == (11, 0, 0, 11, 0)
    records.accept(ledger, tag, [output("merge_reco", 0, 1)])
    ledger.settle(tag, verdicts=[verdict(1, Outcome.FAILED, subrun=3)], accept=[], reject=[], now=NOW)
    assert progress_of(ledger, "merge_reco", run=1000) == (3, 2, 1, 0, 0)


# Removal


def paths(found):
    return [each.path for each in found]


def test_only_what_is_merged_is_removable(ledger, gen):
    where = {"experiment": "demo", "run": 1000}
    made = [output("gen", n) for n in range(4)]
    records.accept(ledger, gen, [*made, output("gen", 0, start=2)])
    reco = intend(ledger, "reco")
    cooked = [output("reco", n) for n in range(3)]
    records.accept(ledger, reco, cooked)
    assert ledger.removable(**where, now=NOW) == []
    merge = intend(ledger, "merge_reco", ranges=[(0, 1)])
    merged = output("merge_reco", 0, 1)
    ledger.record_outputs(merge, [merged], now=NOW)
    assert ledger.removable(**where, now=NOW) == []
    records.accept(ledger, merge, [merged])
    assert paths(ledger.removable(**where, now=NOW)) == paths([*made[:2], *cooked[:2]])
    assert ledger.removable(**where, now=NOW - 1) == []


def test_removal_is_begun_then_finished(ledger, gen):
    where = {"experiment": "demo", "run": 1000}
    made, twice, judged = output("gen", 0), output("gen", 0, start=2), output("gen", 3)
    records.accept(ledger, gen, [made, twice, output("gen", 1)])
    ledger.record_outputs(gen, [judged, output("gen", 2)], now=NOW)
    ledger.settle(gen, verdicts=[], accept=[], reject=[(judged.execution, judged.name)], now=NOW)
    for needed in (made, output("gen", 2)):
        with pytest.raises(LedgerError, match=r"still needed|never judged"):
            ledger.begin_removal([twice, needed], experiment="demo", now=NOW)
    with pytest.raises(LedgerError, match="begin its removal before"):
        ledger.finish_removal([twice], experiment="demo", now=NOW)
    for stage, merge in (("reco", output("reco", 0)), ("merge_reco", output("merge_reco", 0))):
        records.accept(ledger, intend(ledger, stage), [merge])
    going = [made, twice, judged]
    for _ in range(2):
        ledger.begin_removal(going, experiment="demo", now=NOW)
    assert set(paths(ledger.removing(**where))) == set(paths(going))
    assert paths(ledger.removable(**where, now=NOW)) == [output("reco", 0).path]
    for _ in range(2):
        ledger.finish_removal(going, experiment="demo", now=NOW)
    assert ledger.removing(**where) == []
    # What was accepted and is gone still counts, and is never made or accepted again.
    assert progress_of(ledger, "gen", run=1000) == (4, 2, 0, 2, 0)
    assert paths(ledger.accepted_outputs(**where, stage="gen")) == [output("gen", 1).path]
    assert len(ledger.accepted_outputs(**where, stage="gen", removed=True)) == 2
    records.accept(ledger, gen, [output("gen", 0, start=3), made])
    assert {each.path: each.state for each in ledger.outputs(gen)}[made.path] is OutputState.REMOVED
    with pytest.raises(LedgerError, match=r"has no output /out/gen/1000/7\.0\.9"):
        ledger.begin_removal([output("gen", 0, start=9)], experiment="demo", now=NOW)
