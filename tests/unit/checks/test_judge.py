"""From what jobs left on disk and in their ads to what is accepted."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from include.bookkeeping.records import Unit
from include.campaign.states import JobStatus, Outcome, OutputState, SubmissionState, SubrunState
from include.checks import evidence


def last(site, process=0, **more):
    """Return the deciding verdict on one process, and its unit."""
    unit = site.judge(**more).units[process]
    return unit.verdicts[-1], unit


def test_a_good_job_is_accepted_with_every_check_passed(make_site):
    site = make_site()
    execution = site.execute(0)
    judgement = site.judge()
    assert [verdict.check for verdict in judgement.verdicts] == [
        "exit",
        "outputs",
        "size",
        "checksum",
        "root",
    ]
    assert {verdict.outcome for verdict in judgement.verdicts} == {Outcome.PASSED}
    assert judgement.accept == ((execution, "default"),)
    assert judgement.reject == judgement.duplicates == judgement.notes == ()
    (output,) = judgement.outputs
    assert (output.run, output.first_subrun, output.events, output.state) == (
        1000,
        0,
        20,
        OutputState.CANDIDATE,
    )
    assert (judgement.jobs[0].exit_code, judgement.executions[0].execution) == (0, execution)


def test_non_zero_exit_gives_code_script_and_last_log_line(make_site):
    site = make_site()
    execution = site.fail(0, 7, log="one\n\x1b[31mTypeError: no such jet\x1b[0m\n\n")
    verdict, unit = last(site)
    assert (verdict.check, verdict.outcome, verdict.reason) == (
        "exit",
        Outcome.FAILED,
        "exit code 7 from generate.py",
    )
    assert verdict.evidence == f"{site.logs}/{execution}/job.log:2: TypeError: no such jet"
    assert unit.state is SubrunState.MISSING


def test_signal_is_named(make_site):
    site = make_site()
    site.execute(0, publish=False, changes={"exit_code": None, "exit_signal": 11, "failed_at": "script"})
    assert last(site)[0].reason == "signal 11 (SIGSEGV) ended generate.py (but the ad says exit code 0)"


def test_outputs_of_a_script_that_failed_are_rejected(make_site):
    site = make_site()
    execution = site.execute(0, changes={"exit_code": 3, "failed_at": "script"})
    judgement = site.judge()
    assert (judgement.accept, judgement.reject) == ((), ((execution, "default"),))


def test_held_job(make_site, ad_of):
    site = make_site()
    site.ads = [
        ad_of(
            0,
            status=JobStatus.HELD,
            hold_code=34,
            hold_subcode=102,
            hold_reason="memory usage exceeded 500 MB",
        )
    ]
    verdict, unit = last(site)
    assert verdict.reason == "held with code 34/102: memory usage exceeded 500 MB"
    assert verdict.evidence == "HoldReasonCode=34 in the ad of 41.0@ap1@pool.test"
    assert verdict.outcome is Outcome.FAILED
    assert (unit.held, unit.state, site.judge().jobs[0].reason) == (
        True,
        SubrunState.UNKNOWN,
        "memory usage exceeded 500 MB",
    )


def test_held_job_is_told_also_where_exit_is_off(make_site, ad_of):
    site = make_site(checks=())
    site.ads = [ad_of(0, status=JobStatus.HELD, exit_code=None, hold_code=1, hold_reason="by user ops")]
    verdict, unit = last(site)
    assert (verdict.check, verdict.reason) == ("outputs", "held with code 1/0: by user ops")
    assert (verdict.outcome, unit.state) == (Outcome.FAILED, SubrunState.UNKNOWN)


def test_a_failed_execution_of_a_held_job_is_unknown(make_site, ad_of):
    site = make_site()
    site.fail(0, 7)
    site.ads = [ad_of(0, status=JobStatus.HELD, exit_code=None, hold_code=1, hold_reason="by user ops")]
    verdict, unit = last(site)
    assert (verdict.outcome, unit.state, unit.held) == (Outcome.FAILED, SubrunState.UNKNOWN, True)
    assert verdict.reason == "exit code 7 from generate.py (the ad says held with code 1/0: by user ops)"


def test_a_held_job_that_is_released_and_publishes_is_accepted(make_site, ad_of):
    site = make_site()
    site.ads = [ad_of(0, status=JobStatus.HELD, exit_code=None)]
    assert last(site)[1].state is SubrunState.UNKNOWN
    site.ads = []
    execution = site.execute(0)
    assert site.judge().accept == ((execution, "default"),)


def test_removed_job(make_site, ad_of):
    site = make_site()
    site.ads = [
        ad_of(0, status=JobStatus.REMOVED, exit_code=None, remove_reason="via condor_rm (by user ops)")
    ]
    assert last(site)[0].reason == "removed: via condor_rm (by user ops)"


def test_nothing_known_is_unknown_and_says_since_when(make_site):
    verdict, unit = last(make_site(4), 3)
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reason == "no ad, no report: nothing known of process 3 since 1970-01-01 00:15:00 UTC"
    assert unit.state is SubrunState.UNKNOWN


@pytest.mark.parametrize(
    "status", [JobStatus.IDLE, JobStatus.RUNNING, JobStatus.SUSPENDED, JobStatus.UNKNOWN]
)
def test_a_job_that_may_still_run_is_unknown(make_site, ad_of, status):
    site = make_site()
    site.ads = [ad_of(0, status=status, exit_code=None)]
    assert last(site)[1].state is SubrunState.UNKNOWN


def test_a_failed_execution_of_a_job_that_runs_again_is_unknown(make_site, ad_of):
    site = make_site()
    site.fail(0, 7)
    site.ads = [ad_of(0, status=JobStatus.RUNNING, exit_code=None)]
    verdict, unit = last(site)
    assert unit.state is SubrunState.UNKNOWN
    assert verdict.reason == "not ended: its job is running after: exit code 7 from generate.py"


@pytest.mark.parametrize("ad", ["none", "unknown"])
def test_a_failed_execution_of_a_job_that_nobody_knows_is_unknown(make_site, ad_of, ad):
    site = make_site()
    site.fail(0, 143)
    site.ads = [] if ad == "none" else [ad_of(0, status=JobStatus.UNKNOWN, exit_code=None)]
    verdict, unit = last(site)
    assert unit.state is SubrunState.UNKNOWN
    assert verdict.reason.endswith("which may have begun anew; before: exit code 143 from generate.py")
    site.submission = replace(site.submission, state=SubmissionState.ENDED)
    site.ads = []
    assert last(site)[1].state is SubrunState.MISSING, "it is known that its job has ended"


@pytest.mark.parametrize("with_report", [True, False])
@pytest.mark.parametrize(
    ("code", "state"), [(errno.EIO, SubrunState.UNKNOWN), (errno.ELOOP, SubrunState.MISSING)]
)
def test_what_the_storage_does_not_give_proves_nothing(make_site, monkeypatch, code, state, with_report):
    site = make_site()
    execution = site.execute(0, report=with_report)
    assert last(site)[1].state is SubrunState.ACCEPTED

    def refuse(path: str) -> tuple[bytes, float]:
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, "No such file", path)
        raise OSError(code, "the storage says no", path)

    monkeypatch.setattr(evidence, "read_small", refuse)
    verdict, unit = last(site)
    assert unit.state is state
    if state is SubrunState.UNKNOWN:
        assert verdict.reason.startswith("the storage does not give what an execution wrote: ")
        assert "cannot be read: the storage says no; before: no output" in verdict.reason
        assert execution in verdict.evidence


def test_report_outweighs_the_ad_and_says_so(make_site, ad_of):
    site = make_site()
    bad = ad_of(0, status=JobStatus.REMOVED, exit_code=None, remove_reason="by policy")
    execution = site.execute(0, ad=bad)
    judgement = site.judge()
    assert judgement.accept == ((execution, "default"),)
    assert "the ad of 41.0@ap1@pool.test says removed: by policy" in judgement.verdicts[0].reason


def test_manifest_stands_in_for_a_lost_report(make_site):
    site = make_site()
    execution = site.execute(0, report=False)
    judgement = site.judge()
    assert judgement.accept == ((execution, "default"),)
    assert "no usable report, but its manifest" in judgement.verdicts[0].reason


def test_the_execution_that_ended_first_is_accepted_the_other_is_a_duplicate(make_site):
    site = make_site()
    late = site.execute(0, start=1, changes={"ended": 1200.0})
    early = site.execute(0, start=2, changes={"ended": 1150.0})
    judgement = site.judge()
    assert judgement.accept == ((early, "default"),)
    assert judgement.duplicates == ((late, "default"),)
    states = {output.execution: output.state for output in judgement.outputs}
    assert states == {early: OutputState.CANDIDATE, late: OutputState.DUPLICATE}
    assert "1 other executions of it went well too" in judgement.verdicts[0].reason


def test_a_bad_first_execution_does_not_hide_a_good_second(make_site):
    site = make_site()
    first = site.execute(0, start=1)
    second = site.execute(0, start=2, changes={"ended": 1200.0})
    next((site.outstage / first).glob("*.root")).unlink()
    judgement = site.judge()
    assert (judgement.accept, judgement.reject) == (((second, "default"),), ((first, "default"),))


def test_all_outputs_of_a_unit_come_from_one_execution(make_site):
    base = make_site().stage.outputs[0]
    outputs = (
        replace(base, name="hits"),
        replace(base, name="truth", file_name="tru.{run:06d}_{subrun:08d}.root"),
    )
    site = make_site(outputs=outputs)
    first = site.execute(0, start=1)
    second = site.execute(0, start=2, changes={"ended": 1200.0})
    next((site.outstage / first).glob("tru*.root")).unlink()
    judgement = site.judge()
    assert judgement.accept == ((second, "hits"), (second, "truth"))
    assert judgement.reject == ((first, "hits"), (first, "truth"))


def test_what_was_accepted_before_stays_and_a_late_output_is_a_duplicate(make_site):
    site = make_site()
    execution = site.execute(0)
    (record,) = site.judge().outputs
    before = replace(record, execution="40.0.1-deadbeef", state=OutputState.REMOVED)
    judgement = site.judge(accepted=[before])
    assert judgement.units[0].state is SubrunState.ACCEPTED
    assert (judgement.accept, judgement.duplicates) == ((), ((execution, "default"),))
    again = site.judge(accepted=[replace(record, state=OutputState.ACCEPTED)])
    assert (again.accept, again.duplicates, again.reject) == ((), (), ())


def test_a_file_that_overlaps_an_accepted_one_is_not_accepted(make_site):
    units = (Unit(process=0, first_subrun=0, last_subrun=3, inputs=()),)
    output = replace(make_site().stage.outputs[0], events=None)
    site = make_site(units=units, outputs=(output,), checks=("exit", "size"))
    site.execute(0)
    (record,) = site.judge().outputs
    judgement = site.judge(accepted=[replace(record, first_subrun=2, last_subrun=5)])
    assert judgement.accept == ()
    assert judgement.units[0].verdicts[-1].reason.startswith("overlaps an accepted file")


def test_a_check_that_is_off_does_not_run(make_site):
    site = make_site(checks=("exit",))
    execution = site.execute(0)
    next((site.outstage / execution).glob("*.root")).write_bytes(b"damaged")
    judgement = site.judge()
    assert [verdict.check for verdict in judgement.verdicts] == ["exit", "outputs"]
    assert judgement.accept


@pytest.mark.parametrize("gone", [("logs", "outstage"), ("outstage",)])
def test_missing_area_is_no_proof_that_an_output_is_missing(make_site, gone):
    site = make_site()
    site.execute(0)
    for area in gone:
        shutil.rmtree(getattr(site, area))
    verdict, unit = last(site)
    assert unit.state is SubrunState.UNKNOWN
    assert "is the storage mounted?" in verdict.reason


def test_exit_code_0_without_any_output_in_an_area_that_is_there_is_missing(make_site, ad_of):
    site = make_site(2)
    site.execute(1)
    site.ads.append(ad_of(0))
    verdict, unit = last(site)
    assert (verdict.check, verdict.reason) == ("outputs", "no output: no execution published one")
    assert unit.state is SubrunState.MISSING


@pytest.mark.parametrize(
    ("after", "state"),
    [(0, SubrunState.UNKNOWN), (599, SubrunState.UNKNOWN), (600, SubrunState.MISSING)],
)
def test_exit_code_0_whose_folder_is_not_visible_yet_is_unknown_for_a_while(make_site, ad_of, after, state):
    site = make_site(2)
    site.execute(1)
    site.ads.append(ad_of(0, ended_at=1100))
    verdict, unit = last(site, now=1100.0 + after)
    assert unit.state is state
    assert (verdict.outcome is Outcome.UNKNOWN) == ("not there yet" in verdict.reason)


@pytest.mark.parametrize(("after", "state"), [(599, SubrunState.UNKNOWN), (600, SubrunState.MISSING)])
def test_a_reported_file_that_is_not_visible_yet_is_unknown_for_a_while(make_site, after, state):
    site = make_site()
    shutil.rmtree(site.outstage / site.execute(0))
    judgement = site.judge(now=1100.0 + after)
    assert judgement.units[0].state is state
    assert bool(judgement.reject) == (state is SubrunState.MISSING)


@pytest.mark.parametrize(("after", "state"), [(599, SubrunState.UNKNOWN), (600, SubrunState.MISSING)])
def test_an_earlier_failure_does_not_hide_that_storage_may_lag(make_site, ad_of, after, state):
    site = make_site(2)
    site.execute(1)
    site.fail(0, 143)
    site.ads = [ad_of(0, ended_at=1100), ad_of(1)]
    verdict, unit = last(site, now=1100.0 + after)
    assert unit.state is state
    assert "exit code 143 from generate.py" in verdict.reason
    assert ("no such execution is there yet" in verdict.reason) == (state is SubrunState.UNKNOWN)


@pytest.mark.parametrize(("now", "state"), [(1200.0, SubrunState.UNKNOWN), (1700.0, SubrunState.MISSING)])
def test_jobs_nobody_can_tell_apart_are_waited_for_as_well(make_site, ad_of, now, state):
    site = make_site(2)
    site.submission = replace(site.submission, clusters=(("ap1@pool.test", 50, 1), ("ap1@pool.test", 51, 1)))
    site.ads = [ad_of(0, cluster=50), ad_of(0, cluster=51)]
    judgement = site.judge(now=now)
    assert judgement.gathered.all_ended
    assert {unit.state for unit in judgement.units} == {state}
    site.submission = replace(site.submission, state=SubmissionState.ENDED)
    site.ads = []
    assert {unit.state for unit in site.judge().units} == {SubrunState.MISSING}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": JobStatus.REMOVED, "exit_code": None, "remove_reason": "by user ops"},
        {"exit_code": 7},
        {"exit_code": None, "exit_signal": 9},
        {},
    ],
)
def test_what_was_proven_stays_proven_once_history_has_rotated(make_site, ad_of, changes):
    site = make_site(2)
    site.execute(1)
    site.ads.append(ad_of(0, **changes))
    before = site.judge()
    assert before.units[0].state is SubrunState.MISSING
    site.ads = []
    after = site.judge(known=before.jobs)
    assert after.units[0].state is SubrunState.MISSING
    assert after.units[0].verdicts[-1].reason == before.units[0].verdicts[-1].reason
    assert after.units[0].job_id == "41.0@ap1@pool.test"
    assert after.jobs == before.jobs
    assert (before.gathered.all_ended, after.gathered.all_ended) == (True, True)
    assert after.units[1].verdicts[0].reason == ""


def test_evidence_from_the_ledger_says_so(make_site, ad_of):
    site = make_site()
    site.ads = [ad_of(0, exit_code=7)]
    known = site.judge().jobs
    site.ads = []
    assert last(site, known=known)[0].evidence == "ExitCode=7 in the ledger's row of 41.0@ap1@pool.test"


def test_a_job_that_ran_when_last_seen_is_unknown_and_an_ad_outweighs_the_ledger(make_site, ad_of):
    site = make_site()
    site.ads = [ad_of(0, status=JobStatus.RUNNING, exit_code=None)]
    known = site.judge().jobs
    site.ads = []
    verdict, unit = last(site, known=known)
    assert (unit.state, verdict.reason) == (SubrunState.UNKNOWN, "neither queue nor history knows it")
    site.ads = [ad_of(0, exit_code=7)]
    assert last(site, known=known)[1].state is SubrunState.MISSING


def test_a_job_held_when_last_seen_keeps_its_verdict_but_is_not_held_now(make_site, ad_of):
    site = make_site()
    site.ads = [ad_of(0, status=JobStatus.HELD, exit_code=None, hold_code=1, hold_reason="by user ops")]
    known = site.judge().jobs
    site.ads = []
    verdict, unit = last(site, known=known)
    assert (verdict.outcome, verdict.reason) == (Outcome.FAILED, "held with code 1/0: by user ops")
    assert (unit.state, unit.held) == (SubrunState.UNKNOWN, False)
    site.execute(0)
    site.ads = []
    verdicts = site.judge(known=known).units[0].verdicts
    assert (verdicts[0].outcome, verdicts[0].reason) == (Outcome.PASSED, "")
