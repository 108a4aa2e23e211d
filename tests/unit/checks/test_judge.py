"""From what jobs left on disk and in their ads to what is accepted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from include.bookkeeping.records import Unit
from include.campaign.states import JobStatus, Outcome, OutputState, SubrunState
from include.checks.evidence import read_areas
from include.checks.judge import judge
from include.errors import LedgerError, ProdsysError, StorageError


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
    assert (unit.held, unit.state, site.judge().jobs[0].reason) == (
        True,
        SubrunState.MISSING,
        "memory usage exceeded 500 MB",
    )


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
    site = make_site(units=units, checks=("exit", "size"))
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


def test_missing_area_is_no_proof_that_an_output_is_missing(make_site):
    site = make_site()
    site.execute(0)
    shutil.rmtree(site.logs)
    shutil.rmtree(site.outstage)
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


def test_an_area_that_cannot_be_listed_raises(make_site):
    site = make_site()
    site.logs.parent.mkdir(parents=True)
    site.logs.write_text("a file where the area should be")
    with pytest.raises(StorageError, match="cannot list"):
        read_areas(site.plan, site.submission)


def test_jobs_of_a_dag_are_told_apart_by_their_reports(make_site, ad_of):
    site = make_site(2)
    site.submission = replace(site.submission, clusters=(("ap1@pool.test", 50, 1), ("ap1@pool.test", 51, 1)))
    execution = "51.0.1-00000001"
    site.execute(1)
    (site.logs / "41.1.1-00000001").rename(site.logs / execution)
    (site.outstage / "41.1.1-00000001").rename(site.outstage / execution)
    files = sorted((site.outstage / execution).glob("*.root"))
    document = site.document(1, execution=execution, files=files)
    return_site = {**document, "cluster": 51, "process": 0}
    (site.logs / execution / "report.json").write_bytes(_seal(return_site))
    site.ads = [ad_of(0, cluster=50, exit_code=9), ad_of(0, cluster=51)]
    judgement = site.judge()
    assert judgement.accept == ((execution, "default"),)
    assert [(job.cluster, job.unit) for job in judgement.jobs] == [(51, 1)]
    assert judgement.units[0].verdicts[-1].reason == "all jobs have ended and none reported for it"
    assert "judged by their reports alone" in judgement.notes[-1]


def _seal(document):
    import hashlib

    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return json.dumps({**document, "selfcheck": hashlib.sha256(text.encode()).hexdigest()}).encode()


def test_ads_of_other_submissions_are_not_used(make_site, ad_of):
    site = make_site()
    site.ads = [ad_of(0, tag="demo.other/t/000001/gen/recovery-0", exit_code=9)]
    judgement = site.judge()
    assert judgement.units[0].state is SubrunState.UNKNOWN
    assert judgement.jobs == ()
    assert "belong to other submissions" in judgement.notes[0]


def test_an_unpublished_folder_is_noted(make_site):
    site = make_site()
    site.execute(0)
    (site.outstage / ".41.0.1-0000abcd.part").mkdir()
    assert site.judge().notes[0].endswith(".part was never published")


def test_unknown_check_and_empty_submission_are_refused(make_site):
    site = make_site(checks=("exit", "rot"))
    with pytest.raises(ProdsysError, match="checks that do not exist: rot; there are exit, outputs"):
        site.judge()
    site = make_site()
    empty = replace(site.submission, units=())
    area = read_areas(site.plan, empty)
    with pytest.raises(LedgerError, match="no units"):
        judge(site.plan, site.stage, empty, ads=(), area=area)
