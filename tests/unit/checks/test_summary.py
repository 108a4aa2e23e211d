"""What on-call reads in the task's log."""

from __future__ import annotations

from include.campaign.states import JobStatus
from include.checks.evidence import read_areas
from include.checks.judge import judge
from include.checks.summary import MAX_LINE, summarise

NOW = 10_000.0


def result_of(site, **more):
    return summarise(site.judge(), site.stage, **more)


def test_good_stage_says_that_there_is_nothing_to_do(make_site):
    site = make_site(2)
    site.execute(0)
    site.execute(1)
    result = result_of(site)
    assert (result.accepted, result.expected, result.threshold_met, result.good) == (2, 2, True, True)
    assert result.lines == (
        "gen, run 1000: 2 of 2 subruns accepted (100.0 %); 0 missing, 0 unknown, 0 duplicate outputs",
        "jobs known: 2 (2 completed); 2 executions reported",
        "good: the threshold of 90 % is met and nothing is unknown; nothing to do",
    )


def test_causes_are_grouped_with_example_evidence_and_advice(make_site, ad_of):
    site = make_site(6)
    site.execute(0)
    for process in (1, 2, 3):
        site.fail(process, 137, log=f"Killed {process}\n")
    for process in (4, 5):
        held = {"hold_code": 34, "hold_subcode": 102, "hold_reason": f"memory {process} MB"}
        site.ads.append(ad_of(process, status=JobStatus.HELD, exit_code=None, **held))
    result = result_of(site)
    assert (result.missing, result.held, result.unknown, result.good) == (3, 2, 2, False)
    text = "\n".join(result.lines)
    assert "not good yet: below the threshold of 90 %, and 2 subruns are unknown" in text
    assert "3 x exit: exit code 137 from generate.py" in text
    assert "    example: job 41.1@ap1@pool.test, subrun 1: exit code 137 from generate.py" in text
    assert "job.log:1: Killed 1" in text
    assert "2 x exit: held with code 34/102" in text
    assert text.count("it ran out of memory: raise `memory:`") == 2


def test_a_held_job_blocks_a_stage_above_its_threshold_and_says_what_to_do(make_site, ad_of):
    site = make_site(10)
    for process in range(9):
        site.execute(process)
    held = {"hold_code": 1, "hold_subcode": 0, "hold_reason": "by user ops"}
    site.ads.append(ad_of(9, status=JobStatus.HELD, exit_code=None, ended_at=None, **held))
    result = result_of(site)
    assert (result.threshold_met, result.missing, result.unknown, result.held) == (True, 0, 1, 1)
    assert not result.good
    release = "condor_release -name ap1@pool.test 41.9, or jobsub_release -J 41.9@ap1@pool.test"
    remove = "condor_rm -name ap1@pool.test 41.9, or jobsub_rm -J 41.9@ap1@pool.test"
    assert result.lines[3:6] == (
        "1 held subruns block the stage until somebody acts, job 41.9@ap1@pool.test first:",
        f"    release it ({release}), then clear wait and check;",
        f"    or remove it ({remove}), then clear check",
    )
    assert "clear check later" not in "\n".join(result.lines)


def test_advice_names_only_what_can_be_done(make_site, ad_of):
    site = make_site(4)
    site.fail(0, 7)
    site.ads.append(ad_of(1, status=JobStatus.REMOVED, exit_code=None, remove_reason="by user ops"))
    damaged = site.execute(2)
    next((site.outstage / damaged).glob("*.root")).write_bytes(b"damaged")
    site.execute(3)
    lines = result_of(site).lines
    assert lines[2] == (
        "not good: below the threshold of 90 %; mend the cause; this slice stays as it is, "
        "a new dag_run makes new runs"
    )
    assert "recover" not in "\n".join(lines)


def test_advice_for_what_is_not_seen_yet_is_to_wait(make_site, ad_of):
    site = make_site(2)
    site.execute(1)
    site.ads.append(ad_of(0))
    lines = summarise(site.judge(now=1200.0), site.stage).lines
    assert "    to do: wait, then clear check: storage may lag" in lines
    assert "1 unknown subruns: clear check later to look again" in lines


def test_unknown_is_not_good_even_above_the_threshold(make_site):
    site = make_site(10)
    for process in range(9):
        site.execute(process)
    result = result_of(site)
    assert (result.threshold_met, result.unknown, result.good) == (True, 1, False)
    assert "may still produce their outputs" in "\n".join(result.lines)


def test_threshold_has_no_rounding_error(make_site, ad_of):
    site = make_site(10)
    for process in range(9):
        site.execute(process)
    site.ads.append(ad_of(9, exit_code=1))
    assert result_of(site).good
    assert not summarise(site.judge(), site.stage, expected=11).threshold_met


def test_recovery_counts_what_other_submissions_made(make_site):
    site = make_site(1)
    site.execute(0)
    result = result_of(site, expected=100, accepted_elsewhere=95)
    assert (result.accepted, result.expected, result.good) == (96, 100, True)


def test_conflicts_of_accepted_jobs_are_noted(make_site, ad_of):
    site = make_site()
    site.execute(0, ad=ad_of(0, exit_code=1))
    assert any(
        line.startswith("note: execution 41.0.1-00000000 went well; the ad") for line in result_of(site).lines
    )


def test_ten_thousand_different_failures_stay_short(make_site, ad_of):
    site = make_site(10_000)
    reason = "something odd " * 400
    ads = [
        ad_of(n, status=JobStatus.HELD, hold_code=n % 50, hold_subcode=n, hold_reason=reason)
        for n in range(10_000)
    ]
    area = read_areas(site.plan, site.submission)
    judgement = judge(site.plan, site.stage, site.submission, ads=ads, area=area, now=NOW)
    lines = summarise(judgement, site.stage).lines
    assert len(lines) <= 60
    assert max(map(len, lines)) <= MAX_LINE + 1
    assert any("rarer causes" in line for line in lines)
