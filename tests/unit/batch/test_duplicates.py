"""Why a process ran more than once: each row of what HTCondor's ads look like after an accident."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from include.batch.condor_ads import job_ad
from include.batch.duplicates import why_several

if TYPE_CHECKING:
    from include.batch.pool import JobAd

TAG = "demo.z/t1/001000/gen/recovery-0"


def ad(schedd: str = "ap1", cluster: int = 7, rows: int = 1, **attributes: Any) -> JobAd:
    raw = {"ClusterId": cluster, "ProcId": 1, "JobStatus": 4, "ProdsysTag": TAG, **attributes}
    return replace(job_ad(schedd, raw), rows=rows)


def starts(job: int, shadow: int, **more: Any) -> dict[str, Any]:
    return {"NumJobStarts": job, "NumShadowStarts": shadow, **more}


@pytest.mark.parametrize(
    ("attributes", "executions", "completions", "says"),
    [
        (starts(2, 2, NumHolds=1, NumVacates=1), 2, 1, "was started 2 times by HTCondor (held once);"),
        (starts(2, 2, NumVacates=1), 2, 1, "was started 2 times by HTCondor (evicted once);"),
        (starts(3, 3, NumHolds=1, NumVacates=2), 3, 1, "3 times by HTCondor (held once, evicted once);"),
        (starts(2, 2), 2, 1, "(otherwise its node or starter died or the start was given up);"),
        (starts(3, 3, NumVacates=2), 1, 1, "(evicted twice), 2 of them left no trace;"),
        (starts(1, 3), 2, 1, "started again after its shadow had died on the schedd's machine"),
        (starts(0, 2, NumJobReconnects=1), 1, 1, "ran once by its ad: the schedd restarted and reconnected"),
        (starts(1, 3, rows=2), 2, 2, "has 2 ads in queue and history"),
        (starts(1, 1), 1, 1, "ran once by its ad;"),
        (starts(1, 1, UserLog="/x/job.log"), 2, 1, "its event log /x/job.log has every start"),
    ],
)
def test_one_job(attributes: dict[str, Any], executions: int, completions: int, says: str) -> None:
    sentence = why_several([ad(**attributes)], executions, completions)
    assert sentence.startswith("7.1@ap1 ")
    assert says in sentence
    assert sentence.count(".") == 2 + sentence.count("job.log"), "one sentence"


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ([ad(cluster=9)], "7.1@ap1, 9.1@ap1, with one tag"),
        (
            [ad(cluster=9, ProdsysTag=TAG.replace("-0", "-1"))],
            "of 2 submissions, as when a recovery overlaps",
        ),
        ([ad(cluster=9, ProdsysTag=None)], "without prodsys's tag, so somebody submitted it by hand"),
        ([ad(schedd="ap2")], "on 2 schedds (ap1, ap2): 7.1@ap1, 7.1@ap2, with one tag"),
    ],
)
def test_several_jobs(others: list[JobAd], says: str) -> None:
    sentence = why_several([ad(), *others], 2, 2)
    assert says in sentence
    assert sentence.endswith("; twice started and twice completed by the evidence.")


def test_no_ads() -> None:
    assert "no queue or history has an ad" in why_several([], 3, 2)
