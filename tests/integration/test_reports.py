"""Reports of a campaign in the middle and of a week, with figures had by hand; SQLite and Postgres."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from include.campaign.naming import submission_tag
from include.errors import ProdsysError
from include.progress.campaign import campaign_page
from include.reports.campaign import campaign_report
from include.reports.figures import Work
from include.reports.week import week_report
from include.reports.writing import as_json
from tests import report_records as story
from tests.ledger_records import CHAIN, NOW, TRANCHE, campaign_plan, job, stage_plan, units

HOUR = 3600.0
LATER = NOW + 4 * HOUR
DAY = datetime.fromtimestamp(NOW, tz=UTC).date()


@pytest.fixture
def told(ledger):
    story.fill(ledger)
    return ledger


def test_a_campaign_in_the_middle(told):
    report = campaign_report(told, "demo.z", now=LATER)
    assert (report.start, report.end, report.finished) == (NOW, LATER, False)
    gen, reco, merge = report.stages
    assert [row.name for row in report.stages] == ["gen", "reco", "merge_reco"]
    assert (gen.subruns, gen.accepted, gen.missing, gen.complete) == (8, 4, 0, 0.5)
    assert (gen.submissions, gen.recoveries, gen.open_jobs) == (3, 1, 4)
    assert (gen.work.jobs, gen.work.good, gen.work.success) == (9, 3, 0.5)
    assert gen.work.cpu_efficiency == 0.75
    assert gen.work.wall_efficiency == 0.5
    assert (gen.work.mean_wait_s, gen.work.memory_mb) == (60, 900)
    assert (gen.made.events, gen.made.files, gen.made.duplicate_files) == (40, 4, 1)
    assert gen.made.stored_bytes == 4006 + 1001
    assert (reco.accepted, reco.recoveries, reco.refused, reco.made.events) == (1, 1, 1, 10)
    assert (merge.subruns, merge.accepted, merge.work.jobs, merge.made.events) == (8, 0, 0, None)
    assert (report.total.subruns, report.total.accepted, report.total.made.events) == (24, 5, 40)
    assert [(row.campaign, row.name, row.work.jobs) for row in report.sites] == [
        ("gen", "BNL", 3), ("gen", "FNAL", 3), ("gen", "not known", 3), ("reco", "FNAL", 1),
    ]  # fmt: skip
    assert [(each.category, each.wall_s) for each in report.causes] == [
        ("memory", 2.5 * HOUR), ("unclassified", 0.5 * HOUR), ("operator", 0),
    ]  # fmt: skip
    assert report.actions == (("accept", 0, 1), ("recover", 1, 0))
    assert [(each.who, each.where) for each in report.people] == [("ann", "demo.z run 1000 gen")]


def test_the_time_line_adds_up_to_what_is_accepted(told):
    report = campaign_report(told, "demo.z", now=LATER)
    line = report.time_line
    assert (line.start, line.width_s, len(line.good)) == (NOW, 300, 49)
    by_name = {each.name: each for each in line.lines}
    assert {place: n for place, n in enumerate(by_name["gen"].subruns) if n} == {12: 3, 36: 1}
    assert {each.name: (sum(each.subruns), each.whole) for each in line.lines} == {
        "gen": (4, 8), "reco": (1, 8), "merge_reco": (0, 8),
    }  # fmt: skip
    assert (sum(line.good), sum(line.bad)) == (4, 3)


def test_a_campaign_of_which_nothing_was_submitted(ledger):
    ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    report = campaign_report(ledger, "demo.z", now=LATER)
    assert (report.start, report.time_line, report.finished) == (None, None, False)
    assert (report.total.subruns, report.total.accepted, report.total.work.success) == (12, 0, None)
    assert json.loads(as_json(report))["stages"][0]["jobs"]["cpu_efficiency"] is None


def test_one_dag_run_of_a_campaign(told):
    told.reserve(campaign_plan(), tranche="later", dag_run_id="r", slices=1, now=NOW + 1)
    assert campaign_report(told, "demo.z", now=LATER).total.subruns == 36
    assert campaign_report(told, "demo.z", now=LATER, tranche="later").total.subruns == 12
    only = campaign_report(told, "demo.z", now=LATER, tranche=TRANCHE)
    assert (only.total.subruns, only.total.accepted) == (24, 5)


def test_sites_of_a_dag_run_are_as_efficient_as_on_its_page(told):
    wide = replace(stage_plan("gen"), resources=replace(stage_plan("gen").resources, cpus=2))
    later = campaign_plan(stages=(wide, *CHAIN[1:]))
    told.reserve(later, tranche="later", dag_run_id="r", slices=1, now=NOW + 1)
    tag = submission_tag(dag_id="demo.z", tranche="later", run=1002, stage="gen", recovery=0)
    told.intend(
        tag=tag, dag_id="demo.z", tranche="later", run=1002, stage="gen", recovery=0, units=units([(0, 0)]),
        work_dir="/w", now=NOW + 2,
    )  # fmt: skip
    told.record_submitted(tag, clusters=[("ap1", 20, 1)], message="", now=NOW + 2)
    told.record_jobs(tag, [job(0, cluster=20, site="FNAL", wall_s=HOUR, cpu_s=HOUR)])
    for tranche, fnal in ((TRANCHE, (2 * 2700 + 1800) / (3 * HOUR)), ("later", 0.5)):
        page = {
            each.site: each.cpu_s / each.core_s if each.core_s else None
            for each in campaign_page(told, "demo.z", tranche, now=LATER).sites
        }
        assert page["FNAL"] == fnal
        report: dict[str, Work] = {}
        for row in campaign_report(told, "demo.z", now=LATER, tranche=tranche).sites:
            report[row.name] = report.get(row.name, Work()) + row.work
        assert {
            "?" if site == "not known" else site: work.cpu_efficiency for site, work in report.items()
        } == page


def test_what_the_ledger_has_not_is_refused_with_the_nearest(told):
    with pytest.raises(ProdsysError, match=r"no dag_run of demo\.zz is .*did you mean 'demo\.z'"):
        campaign_report(told, "demo.zz", now=LATER)
    with pytest.raises(ProdsysError, match=r"demo\.z has no dag_run 'manual__2' .*did you mean 'manual__1'"):
        campaign_report(told, "demo.z", now=LATER, tranche="manual__2")
    with pytest.raises(ProdsysError, match=r"no campaign of dem is .*did you mean 'demo'"):
        week_report(told, DAY, now=LATER, experiment="dem")


def test_a_week_of_all_experiments(told):
    report = week_report(told, DAY, now=LATER)
    monday = date(2027, 1, 11)
    assert report.title == "Week of 2027-01-11, all experiments"
    assert report.start == datetime(2027, 1, 11, tzinfo=UTC).timestamp()
    assert [row.name for row in report.experiments] == ["demo", "other"]
    assert [row.name for row in report.campaigns] == ["demo.z", "other.y"]
    demo, other = report.campaigns
    # Held and running jobs have not ended, so they are in no week yet.
    assert (demo.work.jobs, demo.work.good, demo.work.failed, demo.work.removed) == (7, 4, 2, 1)
    assert (demo.accepted, demo.made.events, demo.subruns) == (5, 40, None)
    assert (other.work.good, other.work.wall_s, other.work.cpu_efficiency) == (1, 600, 0.5)
    assert (report.total.work.jobs, report.total.work.wall_s) == (8, 6.5 * HOUR + 600)
    assert sum(report.time_line.lines[0].subruns) == 5
    assert len(report.time_line.good) == 28
    assert week_report(told, monday, now=LATER) == report


def test_a_week_of_one_experiment_and_a_week_without_anything(told):
    report = week_report(told, DAY, now=LATER, experiment="other")
    assert [row.name for row in report.campaigns] == ["other.y"]
    assert report.people == ()
    before = week_report(told, date(2026, 1, 1), now=LATER)
    assert (before.campaigns, before.causes, before.total.work.jobs) == ((), (), 0)
    assert before.finished


def test_an_empty_ledger_has_an_empty_week(ledger):
    report = week_report(ledger, DAY, now=LATER)
    assert (report.experiments, report.stages, report.sites) == ((), (), ())
    with pytest.raises(ProdsysError, match="no dag_run of demo"):
        campaign_report(ledger, "demo.z", now=LATER)
