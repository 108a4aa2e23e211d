"""What the ledger knows of units, causes and actions; in SQLite and in Postgres."""

from __future__ import annotations

from dataclasses import replace

import pytest
from alembic import command

from include.bookkeeping import schema
from include.bookkeeping.database import WRITES, ledger_engine, ledger_url
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.records import RequestChanges, StageUnit, UnitState
from include.bookkeeping.tables import dag_runs
from include.campaign.states import ActionKind, Outcome, Remedy, SubmissionState, SubrunState
from include.errors import LedgerError
from tests import ledger_records as records
from tests.ledger_records import NOW, TRANCHE, action, campaign_plan, diagnosis, intend, output, verdict

MISSING, UNKNOWN, ACCEPTED = SubrunState.MISSING, SubrunState.UNKNOWN, SubrunState.ACCEPTED


def settle(ledger, tag, *states, verdicts=(), accept=(), held=()):
    """Record one state a process, and what is given."""
    units = [
        UnitState(process=process, state=state, held=process in held)
        for process, state in enumerate(states)
        if state is not None
    ]
    keys = [(each.execution, each.name) for each in accept]
    ledger.record_outputs(tag, list(accept), now=NOW)
    ledger.settle(tag, verdicts=list(verdicts), accept=keys, reject=[], now=NOW, states=units)


def progress_of(ledger, stage="gen", run=1000):
    found = {each.stage: each for each in ledger.stage_progress("demo.z", TRANCHE, run=run)}[stage]
    return (found.accepted, found.missing, found.unknown)


# States of units


def test_missing_is_what_the_latest_check_calls_so(ledger, gen):
    failed = [verdict(process, Outcome.FAILED) for process in range(4)]
    settle(ledger, gen, MISSING, UNKNOWN, UNKNOWN, None, held=(1,), verdicts=failed[:3])
    assert progress_of(ledger) == (0, 1, 3)
    settle(ledger, gen, ACCEPTED, MISSING, MISSING, UNKNOWN, accept=[output("gen", 0)], verdicts=failed)
    assert progress_of(ledger) == (1, 2, 1)
    # A check that records no states leaves its failed verdicts to say what is missing, as before.
    settle(ledger, gen, verdicts=failed)
    assert progress_of(ledger) == (1, 3, 0)


def test_the_last_submission_decides_whether_a_subrun_is_missing(ledger, gen):
    settle(ledger, gen, MISSING, MISSING, MISSING, UNKNOWN)
    first = intend(ledger, "gen", recovery=1, ranges=[(0, 0), (1, 1)])
    assert progress_of(ledger) == (0, 1, 3)
    settle(ledger, first, MISSING, ACCEPTED, accept=[output("gen", 1)])
    assert progress_of(ledger) == (1, 2, 1)
    second = intend(ledger, "gen", recovery=2, ranges=[(0, 0), (3, 3)])
    ledger.record_refused(second, message="", now=NOW)
    assert progress_of(ledger) == (1, 2, 1)
    intend(ledger, "gen", recovery=2, ranges=[(0, 0), (3, 3)])
    assert progress_of(ledger) == (1, 1, 2)
    settle(ledger, second, MISSING, MISSING)
    assert progress_of(ledger) == (1, 3, 0)
    # The original of one comes late.
    settle(ledger, gen, ACCEPTED, MISSING, MISSING, UNKNOWN, accept=[output("gen", 0)])
    assert progress_of(ledger) == (2, 2, 0)


def test_a_merge_that_its_recovery_groups_otherwise_is_counted_by_subrun(ledger, slices):
    first = intend(ledger, "merge_reco", ranges=[(0, 2), (3, 3)])
    settle(ledger, first, MISSING, MISSING)
    assert progress_of(ledger, "merge_reco") == (0, 4, 0)
    second = intend(ledger, "merge_reco", recovery=1, ranges=[(0, 0), (1, 1)])
    assert progress_of(ledger, "merge_reco") == (0, 2, 2)
    settle(ledger, second, ACCEPTED, MISSING, accept=[output("merge_reco", 0)])
    assert progress_of(ledger, "merge_reco") == (1, 3, 0)
    third = intend(ledger, "merge_reco", recovery=2, ranges=[(1, 3)])
    assert progress_of(ledger, "merge_reco") == (1, 0, 3)
    settle(ledger, third, ACCEPTED, accept=[output("merge_reco", 1, 3)])
    assert progress_of(ledger, "merge_reco") == (4, 0, 0)


def test_states_are_replaced_as_a_whole_and_only_of_its_own_processes(ledger, gen):
    settle(ledger, gen, MISSING, UNKNOWN, held=(1,))
    with pytest.raises(LedgerError, match="has no process 4, so it has no state"):
        settle(ledger, gen, *[UNKNOWN] * 5, verdicts=[verdict(0)])
    assert ledger.verdicts(gen) == []
    states = [(unit.state, unit.held) for unit in ledger.stage_units("demo.z", TRANCHE, 1000, "gen")]
    assert states == [(MISSING, False), (UNKNOWN, True), (None, False), (None, False)]
    settle(ledger, gen, None, None, ACCEPTED)
    states = [(unit.state, unit.held) for unit in ledger.stage_units("demo.z", TRANCHE, 1000, "gen")]
    assert states == [(None, False), (None, False), (ACCEPTED, False), (None, False)]


def test_units_of_a_stage_are_those_of_all_its_submissions(ledger, gen):
    second = intend(ledger, "gen", recovery=2, ranges=[(3, 3)])
    first = intend(ledger, "gen", recovery=1, ranges=[(1, 1), (2, 2)])
    ledger.record_refused(first, message="", now=NOW)
    intend(ledger, "reco")
    intend(ledger, "gen", run=1001)
    settle(ledger, gen, MISSING, UNKNOWN, ACCEPTED, ACCEPTED, held=(1,))
    found = ledger.stage_units("demo.z", TRANCHE, 1000, "gen")
    assert [(each.tag, each.recovery, each.process, each.first_subrun) for each in found] == [
        *((gen, 0, n, n) for n in range(4)), (first, 1, 0, 1), (first, 1, 1, 2), (second, 2, 0, 3),
    ]  # fmt: skip
    assert found[1] == StageUnit(
        tag=gen, recovery=0, process=1, first_subrun=1, last_subrun=1, state=UNKNOWN, held=True,
        submission=SubmissionState.SUBMITTED,
    )  # fmt: skip
    assert [each.submission.value for each in found[3:]] == ["submitted", "refused", "refused", "intended"]
    assert ledger.stage_units("demo.z", TRANCHE, 1000, "merge_reco") == []


def test_what_a_recovery_asks_for_is_kept_with_its_intent(ledger, gen):
    assert ledger.submission(gen).changes == RequestChanges()
    asked = RequestChanges(memory_mb=3000, machines=("wn1", "wn2"))
    more = {"dag_id": "demo.z", "tranche": TRANCHE, "run": 1000, "stage": "gen", "work_dir": "/w", "now": NOW}
    tag = records.tag_of("gen", recovery=1)
    for changes in (asked, RequestChanges()):
        kept = ledger.intend(tag=tag, recovery=1, units=records.units([(0, 0)]), changes=changes, **more)
        assert kept.changes == asked
    assert ledger.submissions("demo.z", TRANCHE)[1].changes == asked


REVISION_0001 = """
INSERT INTO experiments VALUES ('demo');
INSERT INTO campaigns VALUES ('demo.z', 'demo', 'z', 1);
INSERT INTO dag_runs VALUES ('demo.z', 'manual__1', 'r', '{}', '', 1);
INSERT INTO slices VALUES ('demo', 1000, 'demo.z', 'manual__1', 0, 0, 4, 1);
INSERT INTO submissions VALUES (1, 't', 'demo.z', 'manual__1', 1000, 'gen', 0, 'ended', '/w', '', 1, 1, 1);
INSERT INTO submission_units VALUES (1, 0, 0, 0, '[]'), (1, 1, 1, 1, '[]');
INSERT INTO submission_units VALUES (1, 2, 2, 2, '[]'), (1, 3, 3, 3, '[]');
INSERT INTO verdicts VALUES (1, 0, 2, 2, 2, 'exit', 'failed', 'it exited with 1', 'log:3', 1);
INSERT INTO outputs VALUES (1, 1, 'e', 'demo', 1000, 'reco', 'default', 0, 0, '/out', 70, 'a', 'b', 1,
  'removed', 2, 2, 3)
"""


def test_a_ledger_of_revision_0001_keeps_its_counts(url):
    engine = ledger_engine(ledger_url(url))
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        command.upgrade(schema.alembic_config(connection), "0001")
        for statement in REVISION_0001.split(";"):
            connection.exec_driver_sql(statement)
        connection.execute(dag_runs.update().values(plan=campaign_plan().to_dict()))
    engine.dispose()
    with Ledger(url) as ledger:
        with pytest.raises(LedgerError, match=r"is at revision 0001, this prodsys needs \d+: run `prodsys"):
            ledger.stage_progress("demo.z", TRANCHE)
        assert ledger.upgrade() == schema.HEAD
        assert ledger.problems() == []
        assert ledger.ledger_name("demo.z", "manual__1") == "", "the tags that it has stay as they are"
        assert progress_of(ledger) == (0, 1, 3)
        marks = ledger.accepted_marks("demo.z", TRANCHE)
        assert [(mark.stage, mark.at, mark.accepted) for mark in marks] == [("gen", 1, 0), ("reco", 2, 1)]
        sizes = [(count.bytes, count.accepted_bytes) for count in ledger.slice_counts("demo.z", TRANCHE)]
        assert sizes == [(0, 0), (0, 70), (0, 0)]
        assert ledger.submission("t").changes == RequestChanges()
        settle(ledger, "t", UNKNOWN, MISSING, UNKNOWN, UNKNOWN, verdicts=ledger.verdicts("t"))
        assert progress_of(ledger) == (0, 1, 3)
        assert ledger.stage_units("demo.z", TRANCHE, 1000, "gen")[1].state is MISSING


# Diagnoses


def said(found):
    return [(each.tag, each.diagnosis.process) for each in found]


def test_diagnoses_are_replaced_as_a_whole(ledger, gen):
    given = [diagnosis(0), diagnosis(2, remedy=Remedy.NONE, shadow="new-rule", cause="\x00 \udcff")]
    for _ in range(2):
        ledger.record_diagnoses(gen, given, NOW)
    newest, oldest = ledger.diagnoses()
    assert (oldest.dag_id, oldest.tranche, oldest.run, oldest.stage, oldest.tag, oldest.diagnosis) == (
        "demo.z", TRANCHE, 1000, "gen", gen, given[0],
    )  # fmt: skip
    assert newest.diagnosis == replace(given[1], cause="\\x00 \\udcff")
    ledger.record_diagnoses(gen, [diagnosis(1), diagnosis(1, category="duplicate")], NOW)
    assert [each.diagnosis.category for each in ledger.diagnoses()] == ["memory", "duplicate"]
    ledger.record_diagnoses(gen, [], NOW)
    assert ledger.diagnoses() == []
    with pytest.raises(LedgerError, match="no submission nobody"):
        ledger.record_diagnoses("nobody", [], NOW)
    with pytest.raises(LedgerError, match="refused a record"):
        ledger.record_diagnoses(gen, [diagnosis(9)], NOW)


def test_why_a_process_failed_is_kept_once_its_output_is_accepted(ledger, gen):
    ledger.record_diagnoses(gen, [diagnosis(0), diagnosis(1), diagnosis(2)], NOW)
    late = diagnosis(2, category="duplicate")
    for _ in range(2):
        ledger.record_diagnoses(gen, [diagnosis(1, category="code"), late], NOW + 1, mended={0, 1, 2})
    found = [each.diagnosis for each in ledger.diagnoses()]
    assert sorted((each.process, each.category) for each in found) == [
        (0, "memory"), (1, "code"), (1, "memory"), (2, "duplicate"), (2, "memory"),
    ]  # fmt: skip


def test_diagnoses_are_found_by_place_and_time(ledger, gen):
    other, reco = intend(ledger, "gen", run=1001), intend(ledger, "reco")
    ledger.record_diagnoses(gen, [diagnosis(0), diagnosis(1, at=None)], NOW + 50)
    ledger.record_diagnoses(other, [diagnosis(3)], NOW + 50)
    ledger.record_diagnoses(reco, [diagnosis(2)], NOW + 50)
    assert said(ledger.diagnoses()) == [(gen, 1), (other, 3), (reco, 2), (gen, 0)]
    assert said(ledger.diagnoses(limit=2)) == [(gen, 1), (other, 3)]
    assert said(ledger.diagnoses(since=NOW + 3)) == [(gen, 1), (other, 3)]
    assert said(ledger.diagnoses(run=1000, stage="gen")) == [(gen, 1), (gen, 0)]
    assert said(ledger.diagnoses("demo.z", TRANCHE, stage="reco")) == [(reco, 2)]
    assert ledger.diagnoses("demo.y") == ledger.diagnoses(tranche="other") == []


def test_open_diagnoses_are_of_subruns_still_not_accepted(ledger, gen):
    ledger.record_diagnoses(gen, [diagnosis(0), diagnosis(1), diagnosis(2)], NOW)
    recovery = intend(ledger, "gen", recovery=1, ranges=[(0, 0), (1, 1), (2, 2)])
    assert len(ledger.diagnoses(open_only=True)) == 3
    records.accept(ledger, recovery, [output("gen", 1)])
    again = diagnosis(2, category="unclassified", at=NOW + 9)
    ledger.record_diagnoses(recovery, [again], NOW)
    assert said(ledger.diagnoses(open_only=True)) == [(recovery, 2), (gen, 0)]
    assert said(ledger.diagnoses(open_only=True, limit=1)) == [(recovery, 2)]
    assert said(ledger.diagnoses(open_only=True, since=NOW + 1)) == [(recovery, 2)]
    assert len(ledger.diagnoses()) == 4


def test_a_subrun_with_one_of_two_outputs_has_an_open_diagnosis(ledger):
    two = records.stage_plan("gen", outputs=(records.output_plan(), records.output_plan("hist")))
    ledger.reserve(campaign_plan(stages=(two,)), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    gen = intend(ledger, "gen")
    ledger.record_diagnoses(gen, [diagnosis(0), diagnosis(1)], NOW)
    records.accept(ledger, gen, [output("gen", 0), output("gen", 0, name="hist"), output("gen", 1)])
    assert said(ledger.diagnoses(open_only=True)) == [(gen, 1)]


def test_a_merge_is_open_until_all_its_subruns_are_accepted_in_whatever_groups(ledger, slices):
    tag = intend(ledger, "merge_reco", ranges=[(0, 1), (2, 3)])
    ledger.record_diagnoses(
        tag, [diagnosis(0, last_subrun=1), diagnosis(1, first_subrun=2, last_subrun=3)], NOW
    )
    recovery = intend(ledger, "merge_reco", recovery=1, ranges=[(0, 0), (1, 3)])
    records.accept(ledger, recovery, [output("merge_reco", 0)])
    assert len(ledger.diagnoses(open_only=True)) == 2
    records.accept(ledger, recovery, [output("merge_reco", 1, 3)])
    assert ledger.diagnoses(open_only=True) == []


# Actions


def test_actions_are_recorded_once_and_found_by_place_and_kind(ledger):
    released = action(ActionKind.RELEASE, jobs=("7.0@ap1", "7.1@ap1"))
    again = replace(released, at=NOW + 60, jobs=("7.1@ap1",))
    asked = action(ActionKind.ASK, NOW - 5, run=None, stage="", tag="", who="ann\x00")
    elsewhere = action(ActionKind.EXCLUDE, NOW + 9, dag_id="", tranche="", run=None, stage="", tag="")
    for _ in range(2):
        ledger.record_actions([released, asked, elsewhere, released])
        ledger.record_action(again)
    asked = replace(asked, who="ann\\x00")
    assert ledger.actions() == [asked, released, elsewhere, again]
    assert ledger.actions("demo.z") == [asked, released, again]
    assert ledger.actions("demo.z", TRANCHE, run=1000, stage="gen") == [released, again]
    assert ledger.actions("demo.z", kind=ActionKind.ASK) == [asked]
    assert ledger.actions("demo.z", "other") == []
    ledger.record_actions([])


def test_releases_are_counted_by_job(ledger):
    gen = records.tag_of("gen")
    assert ledger.releases(gen) == {}
    ledger.record_actions([
        action(ActionKind.RELEASE, NOW, jobs=("7.0@ap1", "7.1@ap1")),
        action(ActionKind.RELEASE, NOW + 1, jobs=("7.1@ap1",)),
        action(ActionKind.REMOVE, NOW + 2, jobs=("7.1@ap1",)),
        action(ActionKind.RELEASE, NOW, jobs=("8.0@ap1",), tag=records.tag_of("reco")),
    ])  # fmt: skip
    assert ledger.releases(gen) == {"7.0@ap1": (NOW,), "7.1@ap1": (NOW, NOW + 1)}


# Merged files


def test_merged_outputs_are_those_of_merge_stages_by_slice_and_subrun(ledger, gen):
    assert ledger.merged_outputs("demo.z", TRANCHE) == []
    records.accept(ledger, gen, [output("gen", 0)])
    for run in (1001, 1000):
        tag = intend(ledger, "merge_reco", run=run, ranges=[(0, 1), (2, 3)])
        made = [output("merge_reco", 2, 3, run=run), output("merge_reco", 0, 1, run=run)]
        records.accept(ledger, tag, [*made, output("merge_reco", 0, 1, run=run, start=2)])
    found = ledger.merged_outputs("demo.z", TRANCHE)
    assert [(each.run, each.first_subrun) for each in found] == [(1000, 0), (1000, 2), (1001, 0), (1001, 2)]
    with pytest.raises(LedgerError, match=r"no plan for demo\.z, tranche other"):
        ledger.merged_outputs("demo.z", "other")
