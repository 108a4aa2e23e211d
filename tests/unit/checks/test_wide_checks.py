"""Checks of scope stage and campaign: what they are told, and what becomes of their word on single jobs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from include.bookkeeping.records import ExecutionRecord, OutputRecord, Unit
from include.campaign.plan import UserCheckPlan
from include.campaign.states import Outcome, OutputState
from include.checks import documents
from include.checks.wide import judge_campaign_checks, judge_stage_checks


def accepted(subrun: int, execution: str, **changes: object) -> OutputRecord:
    """Return the record of an accepted output."""
    record = OutputRecord(
        execution=execution, stage="gen", name="default", run=1000, first_subrun=subrun, last_subrun=subrun,
        path=f"/out/{execution}/{subrun}.root", size=5, sha256="0" * 64, adler32="0" * 8, events=20,
        state=OutputState.ACCEPTED,
    )  # fmt: skip
    return replace(record, **changes)


@pytest.fixture
def stage_of(make_site, tmp_path):
    """Return a function that gives plan, stage and two submissions, the stage having a check that answers."""

    def make(answer: object, scope: str = "stage"):
        script = tmp_path / "check.sh"
        (tmp_path / "answer").write_text(json.dumps(answer))
        told = (
            f'cat > {tmp_path}/told; f=$(sed -n \'s/.*"jobs_file": "\\([^"]*\\)".*/\\1/p\' {tmp_path}/told)'
        )
        script.write_text(f'#!/bin/sh\n{told}\n[ -z "$f" ] || cp $f {tmp_path}/file\ncat {tmp_path}/answer\n')
        script.chmod(0o755)
        check = UserCheckPlan(
            name="wide", scope=scope, script=str(script), entry="", arguments=(), timeout_s=20
        )
        site = make_site(3, user_checks=(check,))
        again = replace(
            site.submission, tag="second", recovery=1, clusters=(("ap1@pool.test", 42, 1),),
            units=(Unit(process=0, first_subrun=2, last_subrun=2, inputs=(("in", ("/a",)),)),),
        )  # fmt: skip
        plan = replace(site.plan, campaign_checks=(check,) if scope == "campaign" else ())
        return plan, site.stage, [site.submission, again]

    return make


OUTPUTS = [accepted(2, "42.0.1-00000000"), accepted(0, "41.0.1-00000000"), accepted(1, "41.1.1-00000000")]


def test_what_a_stage_check_is_told(stage_of, tmp_path):
    plan, stage, submissions = stage_of({"outcome": "passed"})
    execution = ExecutionRecord(
        execution="41.1.1-00000000", schedd="ap1@pool.test", cluster=41, process=1, host="wn1", site="A",
        started_at=1.0, ended_at=2.0, exit_code=0, exit_signal=None, error="", log="/logs/job.log",
    )  # fmt: skip
    foreign = accepted(0, "77.0.1-00000000")
    (found,) = judge_stage_checks(
        plan, stage, run=1000, submissions=submissions, accepted=[*OUTPUTS, foreign], executions=[execution]
    )
    assert (found.scope, found.verdict.outcome, found.jobs) == ("stage", Outcome.PASSED, ())
    told = json.loads((tmp_path / "told").read_text())
    assert (told["stage"], told["run"], told["tag"]) == ("gen", 1000, submissions[0].tag)
    assert [(job["tag"], job["process"], job["first_subrun"]) for job in told["jobs"]] == [
        (submissions[0].tag, 0, 0), (submissions[0].tag, 1, 1), ("second", 0, 2),
    ]  # fmt: skip
    assert told["jobs"][1]["host"] == "wn1"
    assert told["jobs"][1]["log"] == "/logs/job.log"
    assert told["jobs"][2]["inputs"] == {"in": ["/a"]}
    assert told["jobs"][2]["outputs"][0]["path"] == "/out/42.0.1-00000000/2.root"


def test_verdicts_on_single_jobs(stage_of):
    bad = {"tag": "second", "process": 0, "outcome": "failed", "reason": "too few: 3"}
    plan, stage, submissions = stage_of({"verdicts": [bad, {"process": 1, "outcome": "unknown"}]})
    (found,) = judge_stage_checks(plan, stage, run=1000, submissions=submissions, accepted=OUTPUTS)
    assert found.verdict.outcome is Outcome.FAILED
    assert found.verdict.reason == "1 jobs failed: process 0: too few: 3"
    assert [(job.tag, job.unit.first_subrun, job.verdict.outcome) for job in found.jobs] == [
        ("second", 2, Outcome.FAILED),
        (submissions[0].tag, 1, Outcome.UNKNOWN),
    ]


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        (0, "wide names a wrong job: process 0, of which there are several: it must give the tag"),
        (9, "wide names a wrong job: process 9, which it was not told of"),
    ],
)
def test_a_job_that_it_cannot_mean(stage_of, process, reason):
    item = {"process": process, "outcome": "failed", "reason": "x"}
    plan, stage, submissions = stage_of({"outcome": "failed", "reason": "y", "verdicts": [item]})
    (found,) = judge_stage_checks(plan, stage, run=1000, submissions=submissions, accepted=OUTPUTS)
    assert (found.verdict.outcome, found.verdict.reason, found.jobs) == (Outcome.UNKNOWN, reason, ())


def test_many_jobs_go_into_a_file(stage_of, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "MAX_INLINE", 100)
    plan, stage, submissions = stage_of({"outcome": "passed"})
    judge_stage_checks(plan, stage, run=1000, submissions=submissions, accepted=OUTPUTS)
    told = json.loads((tmp_path / "told").read_text())
    assert "jobs" not in told
    lines = (tmp_path / "file").read_text().splitlines()
    assert [json.loads(line)["first_subrun"] for line in lines] == [0, 1, 2]


def test_campaign_scope(stage_of, tmp_path):
    plan, stage, submissions = stage_of({"outcome": "failed", "reason": "no"}, scope="campaign")
    assert judge_stage_checks(plan, stage, run=1000, submissions=submissions, accepted=OUTPUTS) == ()
    (found,) = judge_campaign_checks(plan, tranche="t1", submissions=submissions, accepted=OUTPUTS)
    assert (found.scope, found.verdict.reason) == ("campaign", "no")
    told = json.loads((tmp_path / "told").read_text())
    assert (told["dag_run"], len(told["jobs"]), "tag" in told) == ("t1", 3, False)
