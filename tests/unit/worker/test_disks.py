"""Areas that are full or may not be written, as real disks are, and what triage says of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from include.campaign.states import Remedy
from include.triage.classify import Triage
from include.triage.conditions import Example
from include.triage.examples import judged
from tests.small_disk import on_small_disk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("disk", "words", "rule", "remedy"),
    [
        ({"read_only": True}, "Read-only file system", "outstage-read-only", Remedy.PERSON),
        ({"size_kb": 64}, "No space left on device", "outstage-full", Remedy.PERSON),
    ],
)
def test_outstage_that_takes_nothing_is_told_and_the_next_execution_publishes(
    job: Any, disk: dict[str, Any], words: str, rule: str, remedy: Remedy
) -> None:
    job.script('head -c 200000 /dev/zero > "$PRODSYS_OUTPUT"\n')

    def run() -> tuple[int, list[Path]]:
        return job.run()[0], [path for path in job.published() if not path.name.startswith(".")]

    assert on_small_disk(job.outstage, run, **disk) == (83, [])
    report = job.report()
    assert (report["exit_code"], report["failed_at"], report["outputs"]) == (0, "outstage", [])
    assert words in report["error"]
    log = (job.logs / report["log"]).read_text() if report["log"] else ""
    example = {
        "exit": 83,
        "failed_at": "outstage",
        "verdict": f"outstage failed: {report['error']}",
        "log": log,
    }
    diagnosis = judged(Triage.load(), Example(**example))
    assert (diagnosis.rule, diagnosis.remedy) == (rule, remedy)
    job.environment["CLUSTER"] = "78"
    assert job.run()[0] == 0
    assert len(job.published()) == 1


def test_full_log_area_costs_the_log_and_not_the_outputs(job: Any) -> None:
    job.good_script("head -c 200000 /dev/zero | tr '\\0' x\n")
    code, text = on_small_disk(job.logs, job.run, size_kb=8)
    assert code == 0
    assert len(job.published()) == 1
    (line,) = (line for line in text.splitlines() if "here it is: " in line)
    report = json.loads(line.split("here it is: ", 1)[1])
    assert report["selfcheck"] == job.selfcheck(report)
    assert len(report["outputs"]) == 1
