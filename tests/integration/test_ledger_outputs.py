"""What the ledger accepts, merges, counts and lets go; in SQLite and in Postgres."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy

from include.campaign.states import Outcome, OutputState
from include.errors import LedgerError
from tests import ledger_records as records
from tests.ledger_records import (
    NOW,
    TRANCHE,
    campaign_plan,
    intend,
    output,
    sample,
    tag_of,
    verdict,
)


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


def test_events_that_are_counted_after_the_first_judgement_are_noted_once(ledger, gen):
    seen, other = (replace(output("gen", subrun), events=None) for subrun in (0, 1))
    ledger.record_outputs(gen, [seen, other], now=NOW)
    ledger.settle(gen, verdicts=[], accept=[], reject=[(seen.execution, seen.name)], now=NOW)
    for events in (20, 21):
        ledger.record_outputs(gen, [replace(seen, events=events, size=1)], now=NOW)
    assert ledger.outputs(gen) == [replace(seen, events=20, state=OutputState.REJECTED), other]


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


def test_merge_groups_are_pinned_once_their_submission_is_intended(ledger, slices):
    plan = {"experiment": "demo", "run": 1000, "stage": "merge_reco", "tag": tag_of("merge_reco"), "now": NOW}
    first = (records.group(0, 0, 1), records.group(1, 2, 3))
    assert ledger.plan_merge(**plan, groups=[]) == ()
    other = (records.group(0, 0, 3),)
    assert ledger.plan_merge(**plan, groups=other) == other
    assert ledger.plan_merge(**plan, groups=first[::-1]) == first
    intend(ledger, "merge_reco", ranges=[(0, 1), (2, 3)])
    assert ledger.plan_merge(**plan, groups=other) == first
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


def test_open_verdicts_are_those_that_decided(ledger, gen):
    failed, unknown = Outcome.FAILED, Outcome.UNKNOWN
    ledger.record_outputs(gen, [output("gen", 0), output("gen", 1)], now=NOW)
    ledger.settle(
        gen,
        verdicts=[
            verdict(0, unknown), verdict(0), verdict(1), verdict(1, failed, check="outputs"),
            verdict(2, failed), verdict(3, unknown, check="exit"), verdict(3, unknown, check="outputs"),
        ],
        accept=[(output("gen", 0).execution, "default")], reject=[], now=NOW,
    )  # fmt: skip
    found = ledger.open_verdicts("demo.z", TRANCHE)
    assert [(each.stage, each.run, each.tag) for each in found] == [("gen", 1000, gen)] * 3
    assert [(each.verdict.process, each.verdict.check, each.verdict.outcome) for each in found] == [
        (1, "outputs", failed), (2, "exit", failed), (3, "outputs", unknown),
    ]  # fmt: skip
    again = intend(ledger, "gen", recovery=1, ranges=[(2, 2), (3, 3)])
    assert [each.verdict.first_subrun for each in ledger.open_verdicts("demo.z", TRANCHE)] == [1]
    ledger.settle(again, verdicts=[verdict(1, failed, subrun=3)], accept=[], reject=[], now=NOW)
    assert [(each.tag, each.verdict.first_subrun) for each in ledger.open_verdicts("demo.z", TRANCHE)] == [
        (gen, 1), (again, 3),
    ]  # fmt: skip


def test_progress_samples(ledger, gen):
    reco = intend(ledger, "reco")
    samples = [sample(gen, NOW, idle=4), sample(gen, NOW + 30, running=4), sample(reco, NOW, held=1)]
    for _ in range(2):
        ledger.record_progress(samples)
    ledger.record_progress([])
    assert ledger.progress(gen) == samples[:2]
    assert ledger.progress(reco) == samples[2:]
    with pytest.raises(LedgerError, match="no submission nobody"):
        ledger.record_progress([sample(gen, NOW + 60), sample("nobody", NOW)])
    assert ledger.progress(gen) == samples[:2]


def test_a_poll_of_any_number_of_submissions_is_one_statement(ledger):
    """Beside it one that reads, and one for each submission whose number of open jobs changed."""
    plan = campaign_plan(runs=(1000, 1059))
    ledger.reserve(plan, tranche=TRANCHE, dag_run_id="r", slices=60, now=NOW)
    tags = [intend(ledger, "gen", run=run) for run in range(1000, 1060)]
    for tag in tags:
        ledger.record_submitted(tag, clusters=[("ap1", 7, 4)], message="", now=NOW)
    sent: list[tuple[str, int]] = []

    def note(_connection, _cursor, statement, given, _context, many):
        words = " ".join(statement.split()[:3]).upper()
        sent.append((words, len(given) if many else 1))

    def poll(at, ended):
        sent.clear()
        samples = [
            sample(tag, at, running=4 - (n < ended), completed=int(n < ended)) for n, tag in enumerate(tags)
        ]
        ledger.record_progress(samples)
        return {words: times for words, times in sent if not words.startswith(("BEGIN", "SELECT"))}

    sqlalchemy.event.listen(ledger._engine, "before_cursor_execute", note)
    insert = {"INSERT INTO PROGRESS_SAMPLES": 1}
    assert poll(NOW + 10.123456, 0) == insert
    assert poll(NOW + 20.234567, 3) == {**insert, "UPDATE SUBMISSIONS SET": 3}
    assert sum(words.startswith("SELECT") for words, _ in sent) <= 2
    assert [each.at for each in ledger.progress(tags[59])] == [NOW + 10.123456, NOW + 20.234567]
    assert ledger.jobs_in_flight(now=NOW + 20) == {"demo.z": 60 * 4 - 3}


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


def test_a_file_that_came_after_the_jobs_that_read_all_is_kept(ledger):
    stages = (
        records.stage_plan("gen"),
        records.stage_plan("mix", inputs=(records.input_plan("gen", select="all"),)),
        records.stage_plan("merge_mix", merge_of="mix"),
    )
    ledger.reserve(campaign_plan(stages=stages), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    made = [output("gen", n) for n in range(4)]
    records.accept(ledger, intend(ledger, "gen"), made)
    mixed = [output("mix", n) for n in range(4)]
    read = paths(made[:3])
    records.accept(ledger, intend(ledger, "mix", reads=tuple(read)), mixed)
    merged = output("merge_mix", 0, 3)
    records.accept(ledger, intend(ledger, "merge_mix", ranges=[(0, 3)]), [merged])
    where = {"experiment": "demo", "run": 1000}
    assert paths(ledger.removable(**where, now=NOW)) == [*read, *paths(mixed)], "no job has read the fourth"
    with pytest.raises(LedgerError, match="still needed"):
        ledger.begin_removal(made, experiment="demo", now=NOW)
    intend(ledger, "mix", recovery=1, ranges=[(0, 0)], reads=tuple(paths(made[1:])))
    assert paths(ledger.removable(**where, now=NOW)) == [*read[1:], *paths(mixed)], "each must have read it"


def test_removal_is_begun_then_finished(ledger, gen):
    where = {"experiment": "demo", "run": 1000}
    made, twice, judged = output("gen", 0), output("gen", 0, start=2), output("gen", 3)
    records.accept(ledger, gen, [made, twice, output("gen", 1)])
    ledger.record_outputs(gen, [judged, output("gen", 2)], now=NOW)
    ledger.settle(gen, verdicts=[], accept=[], reject=[(judged.execution, judged.name)], now=NOW)
    for needed in (made, output("gen", 2), judged):
        with pytest.raises(LedgerError, match=r"still needed|never judged|is rejected"):
            ledger.begin_removal([twice, needed], experiment="demo", now=NOW)
    with pytest.raises(LedgerError, match="begin its removal before"):
        ledger.finish_removal([twice], experiment="demo", now=NOW)
    for stage, merge in (("reco", output("reco", 0)), ("merge_reco", output("merge_reco", 0))):
        records.accept(ledger, intend(ledger, stage), [merge])
    going = [made, twice]
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
