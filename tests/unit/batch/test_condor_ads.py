"""Ads as records."""

from __future__ import annotations

import logging
from typing import Any

import classad2
import pytest

from include.batch.condor_ads import job_ad, of_clusters, of_tag, one_a_job, rows_of
from include.batch.pool import Awaited
from include.campaign.states import JobStatus

BASE: dict[str, Any] = {"ClusterId": 7, "ProcId": 1, "JobStatus": 4}


@pytest.mark.parametrize(
    ("ad", "code", "sign"),
    [
        ({"ExitBySignal": False, "ExitCode": 3}, 3, None),
        ({"ExitBySignal": False, "ExitCode": 0, "ExitSignal": 9}, 0, None),
        ({"ExitBySignal": True, "ExitSignal": 11, "ExitCode": 0}, None, 11),
        ({"ExitStatus": 0}, None, None),
        ({"JobStatus": 1, "ExitBySignal": False, "ExitCode": 1}, None, None),
        ({"JobStatus": 5, "ExitBySignal": True, "ExitSignal": 9}, None, None),
        ({"JobStatus": 3, "ExitBySignal": False, "ExitCode": 0}, None, None),
    ],
)
def test_exit(ad: dict[str, Any], code: int | None, sign: int | None) -> None:
    record = job_ad("ap1", BASE | ad)
    assert (record.exit_code, record.exit_signal) == (code, sign)


def test_nearly_empty_and_odd_ads() -> None:
    record = job_ad(
        "ap1", {"ClusterId": 7, "ProcId": 0, "JobStatus": 99, "ExitCode": "x", "CompletionDate": 0}
    )
    assert record.status is JobStatus.UNKNOWN
    assert record.exit_code is record.ended_at is record.cpu_s is record.host is None
    assert record.job_id == "7.0@ap1"


def test_times_and_cpu() -> None:
    ad = {
        "JobStatus": 3,
        "EnteredCurrentStatus": 50,
        "CompletionDate": 0,
        "RemoteUserCpu": 1.5,
        "RemoteSysCpu": 0.5,
    }
    record = job_ad("ap1", BASE | ad)
    assert (record.ended_at, record.cpu_s) == (50, 2.0)


def test_tags_are_quoted() -> None:
    assert of_tag('a"b\\c\n') == 'ProdsysTag =?= "a\\"b\\\\c\\n"'


def test_cluster_constraints() -> None:
    assert of_clusters([3, 1, 3]) == "ClusterId == 1 || ClusterId == 3"
    assert of_clusters(range(10, 1010)) == "ClusterId >= 10 && ClusterId <= 1009"
    assert of_clusters([]) == "false"


def test_one_ad_a_job_and_a_roll_back_is_said(caplog: pytest.LogCaptureFixture) -> None:
    def row(process: int, ended: int, status: int = 4, code: int = 0) -> Any:
        ad = {
            "ProcId": process,
            "CompletionDate": ended,
            "JobStatus": status,
            "ExitCode": code,
            "ExitBySignal": False,
        }
        return job_ad("ap1", BASE | ad)

    queue = [row(2, 0, status=2)]
    history = [row(1, 20, code=1), row(1, 10), row(0, 5), row(2, 30)]
    with caplog.at_level(logging.WARNING):
        ads = one_a_job(queue, history)
    assert [(ad.process, ad.ended_at, ad.status) for ad in ads] == [
        (0, 5, JobStatus.COMPLETED),
        (1, 20, JobStatus.COMPLETED),
        (2, None, JobStatus.RUNNING),
    ]
    assert [ad.rows for ad in ads] == [1, 2, 2]
    assert "7.1@ap1, 7.2@ap1" in caplog.text


def test_jobs_with_one_number_and_two_tags_are_two() -> None:
    old = job_ad(
        "ap1", BASE | {"ProdsysTag": "x", "CompletionDate": 10, "ExitBySignal": False, "ExitCode": 0}
    )
    bare = job_ad("ap1", BASE | {"CompletionDate": 5})
    new = job_ad("ap1", BASE | {"ProdsysTag": "y", "JobStatus": 5})
    ads = one_a_job([new], [old, bare], asked_at=12)
    assert [(ad.tag, ad.status, ad.rows) for ad in ads] == [
        (None, JobStatus.COMPLETED, 1),
        ("x", JobStatus.COMPLETED, 1),
        ("y", JobStatus.HELD, 1),
    ]


def test_rows_are_those_with_the_awaited_tag_alone() -> None:
    rows = [
        {"ClusterId": 7, "ProcId": 0, "ProdsysTag": "x"},
        {"ClusterId": 7, "ProcId": 1, "ProdsysTag": "y"},
        {"ClusterId": 7, "ProcId": 2},
        {"ClusterId": 7, "ProcId": 3, "ProdsysTag": ""},
        classad2.parseOne('[ClusterId = 7; ProcId = 4; ProdsysTag = strcat("x", Owner)]'),
        classad2.parseOne("[ClusterId = 7; ProcId = 5; ProdsysTag = undefined]"),
        {"ClusterId": 7, "ProcId": 6, "ProdsysTag": "X"},
        {"ClusterId": 8, "ProcId": 0, "ProdsysTag": "x"},
    ]
    awaited = [Awaited(7, "x"), Awaited(7, "y"), Awaited(7), Awaited(9, "x")]
    found = rows_of(awaited, rows)
    assert {each: sorted(row["ProcId"] for row in own) for each, own in found.items()} == {
        Awaited(7, "x"): [0],
        Awaited(7, "y"): [1],
        Awaited(7): [0, 1, 2, 3, 4, 5, 6],
        Awaited(9, "x"): [],
    }


@pytest.mark.parametrize(
    ("resident", "memory"),
    [("ResidentSetSize = 125000;", 123), ("", None), ('ResidentSetSize = "many";', None)],
    ids=["known", "undefined", "error"],
)
def test_an_expression_is_evaluated_in_its_own_ad(resident: str, memory: int | None) -> None:
    usage = "MemoryUsage = (ResidentSetSize + 1023) / 1024"
    ad = classad2.parseOne(f"[ClusterId = 7; ProcId = 1; JobStatus = 4; {resident} {usage}]")
    assert job_ad("ap1", ad).memory_mb == memory


def test_what_a_restarted_job_says() -> None:
    ad = {
        "NumJobReconnects": 1,
        "NumHolds": 2,
        "NumVacates": 3,
        "RequestMemory": 2048,
        "UserLog": "/x/job.log",
        "LastRemoteHost": "slot1_3@glidein_1@wn7.site",
    }
    record = job_ad("ap1", BASE | ad)
    assert (record.reconnects, record.holds, record.evictions, record.rows) == (1, 2, 3, 1)
    assert (record.requested_memory_mb, record.event_log) == (2048, "/x/job.log")
    assert (record.host, record.machine) == ("slot1_3@glidein_1@wn7.site", "wn7.site")
    assert job_ad("ap1", BASE).machine is None


@pytest.mark.parametrize(
    ("queued", "asked_at", "rows", "status"),
    [
        ({"JobStatus": 2}, 98, 1, JobStatus.COMPLETED),
        ({"JobStatus": 2}, 104, 1, JobStatus.COMPLETED),
        ({"JobStatus": 2}, 200, 2, JobStatus.RUNNING),
        ({"JobStatus": 4, "CompletionDate": 100}, 200, 1, JobStatus.COMPLETED),
        ({"JobStatus": 4, "CompletionDate": 150}, 200, 2, JobStatus.COMPLETED),
    ],
)
def test_a_job_that_leaves_between_the_two_questions_has_one_row(
    queued: dict[str, Any], asked_at: float, rows: int, status: JobStatus
) -> None:
    history = [job_ad("ap1", BASE | {"CompletionDate": 100})]
    [ad] = one_a_job([job_ad("ap1", BASE | queued)], history, asked_at=asked_at)
    assert (ad.rows, ad.status) == (rows, status)
