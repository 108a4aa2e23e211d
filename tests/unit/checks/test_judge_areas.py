"""Areas that are odd: not listable, of a DAG, of other submissions, never published."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from include.campaign.states import SubrunState
from include.checks.evidence import read_areas
from include.checks.judge import judge
from include.errors import LedgerError, ProdsysError, StorageError


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
    assert "have not this submission's tag" in judgement.notes[0]


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
        judge(site.plan, site.stage, empty, ads=(), area=area, now=0.0)
