"""No second cluster where the jobs of the first have left every history."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import classad2
import pytest

from include.batch.condor_history import LINGERS_S, reach
from include.batch.pool import HistoryReach
from include.campaign.states import JobStatus, SubmissionState
from include.errors import LedgerError, SubmissionAmbiguous
from tests.unit.batch.conftest import AP1, World

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_S = 3600.0
DAY_S = 86_400.0


@pytest.fixture
def left(world: World) -> World:
    """A start that went wrong ten days ago, of which no schedd knows a job; its jobs' areas are known."""
    work = Path(world.row.work_dir)
    for folder in (work, work / "job-2"):
        folder.mkdir()
        areas = {name: str(world.folder / folder.name / name) for name in ("logs", "outstage")}
        (folder / "job.json").write_text(json.dumps(areas))
    started(world, ago_s=10 * DAY_S)
    return world


def started(world: World, *, ago_s: float) -> None:
    at = world.clock.at - ago_s
    note = {"started": at, "ended": at + 1, "timeout_s": 20, "schedds": [AP1, "ap2@fake"]}
    (Path(world.row.work_dir) / "submit.json").write_text(json.dumps(note))


def refused(world: World, error: type[Exception]) -> str:
    """Return what a person is told twice, and that nothing is submitted."""
    texts = []
    for _ in range(2):
        with pytest.raises(error) as caught:
            world.run("ok")
        texts.append(str(caught.value))
    assert not world.started()
    assert world.row.state is SubmissionState.INTENDED
    assert texts[0] == texts[1]
    return texts[0]


def forget_the_note(world: World, said: str) -> None:
    """Do what the text says."""
    file = re.search(r"remove (\S.*?submit\.json) and clear", said)
    assert file
    Path(file[1]).unlink()
    assert world.run("ok").clusters == ((AP1, 1, 2),)


@pytest.mark.parametrize("area", ["work dir/logs", "work dir/outstage", "job-2/logs", "job-2/outstage"])
@pytest.mark.parametrize("name", ["77.0.1-0123abcd", ".77.0.1-0123abcd.part", "what"])
@pytest.mark.parametrize("ago_s", [HOUR_S, 10 * DAY_S])
def test_what_jobs_left_stops_a_second_submission(left: World, area: str, name: str, ago_s: float) -> None:
    started(left, ago_s=ago_s)
    (left.folder / area / name).mkdir(parents=True)
    said = refused(left, LedgerError)
    assert "an earlier try started jobsub_submit at 20" in said
    assert f"found: 1 folder of executions in {left.folder / area}: {name}\n" in said
    forget_the_note(left, said)


def test_empty_areas_and_old_history_are_proof(left: World) -> None:
    (left.folder / "work dir" / "logs" / ".snapshot").mkdir(parents=True)
    (left.folder / "work dir" / "logs" / "README").touch()
    assert left.run("ok").clusters == ((AP1, 1, 2),)


def test_no_note_asks_for_nothing(left: World) -> None:
    (left.folder / "work dir" / "logs" / "77.0.1-0123abcd").mkdir(parents=True)
    (Path(left.row.work_dir) / "submit.json").unlink()
    left.pool.set_history(AP1, None)
    assert left.run("ok").clusters == ((AP1, 1, 2),)


def test_what_a_removed_cluster_left_is_no_new_proof(left: World) -> None:
    cluster = left.pool.submit(AP1, left.row.tag, 1)
    left.pool.set_status(AP1, cluster, JobStatus.REMOVED)
    (left.folder / "work dir" / "logs" / f"{cluster}.0.1-0123abcd").mkdir(parents=True)
    other = left.folder / "work dir" / "logs" / f"{cluster + 1}.0.1-0123abcd"
    other.mkdir()
    assert f"1 folder of executions in {other.parent}: {other.name}" in refused(left, LedgerError)
    other.rmdir()
    assert left.run("ok").clusters == ((AP1, cluster + 1, 2),)


def test_a_cluster_of_which_a_part_left_the_history_explains_nothing(left: World) -> None:
    cluster = left.pool.submit(AP1, left.row.tag, 2)
    left.pool.set_status(AP1, cluster, JobStatus.REMOVED, processes=[1])
    left.pool.set_status(AP1, cluster, JobStatus.UNKNOWN, processes=[0])
    (left.folder / "work dir" / "outstage" / f"{cluster}.0.1-0123abcd").mkdir(parents=True)
    refused(left, LedgerError)


def test_an_area_that_cannot_be_listed_proves_nothing(left: World) -> None:
    area = left.folder / "work dir" / "logs"
    area.parent.mkdir(exist_ok=True)
    area.write_text("no folder")
    assert f"{area}, where its jobs would have written, cannot be listed" in refused(
        left, SubmissionAmbiguous
    )
    area.unlink()
    assert left.run("ok").state is SubmissionState.SUBMITTED


def test_a_broken_job_file_proves_nothing(left: World) -> None:
    (Path(left.row.work_dir) / "job-2" / "job.json").write_text("{}")
    forget_the_note(left, refused(left, SubmissionAmbiguous))


@pytest.mark.parametrize("oldest_ago_s", [None, 9 * DAY_S, 10 * DAY_S + 60])
def test_a_history_that_is_short_proves_nothing(left: World, oldest_ago_s: float | None) -> None:
    left.pool.set_history("ap2@fake", None if oldest_ago_s is None else int(left.clock.at - oldest_ago_s))
    said = refused(left, SubmissionAmbiguous)
    assert (
        "ap2@fake's is empty" in said if oldest_ago_s is None else re.search(r"ap2@fake's to 20.* UTC", said)
    )
    assert "ap1" not in said
    forget_the_note(left, said)


def test_an_older_row_proves_it(left: World) -> None:
    for schedd in (AP1, "ap2@fake"):
        left.pool.set_history(schedd, int(left.clock.at - 11 * DAY_S))
    assert left.run("ok").clusters == ((AP1, 1, 2),)


@pytest.mark.parametrize("oldest", [None, 1_999_999_999])
def test_a_young_start_in_a_new_pool_is_not_stuck(left: World, oldest: int | None) -> None:
    for schedd in (AP1, "ap2@fake"):
        left.pool.set_history(schedd, oldest)
    started(left, ago_s=23 * HOUR_S)
    assert left.run("ok").clusters == ((AP1, 1, 2),)


@pytest.mark.parametrize("clock_s", [-12 * HOUR_S, -3 * DAY_S])
def test_no_clock_makes_a_start_young(left: World, clock_s: float) -> None:
    """Two days pass in steady time while the clock is set back by so much, to before the start or after."""
    left.pool.set_history(AP1, None)
    note = json.loads((Path(left.row.work_dir) / "submit.json").read_text())
    at = left.clock.at - (2 * DAY_S + clock_s)
    note |= {"started": at, "ended": at, "boot": left.clock.boot, "steady_s": left.clock.passed - 2 * DAY_S}
    (Path(left.row.work_dir) / "submit.json").write_text(json.dumps(note))
    assert "ap1@fake's is empty" in refused(left, SubmissionAmbiguous)


def test_a_schedd_that_does_not_tell_stops_it(left: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(schedd: str, *, before: float) -> HistoryReach:
        left.pool.set_schedd(schedd, up=False)
        return type(left.pool).history_reach(left.pool, schedd, before=before)

    monkeypatch.setattr(left.pool, "history_reach", silent)
    with pytest.raises(SubmissionAmbiguous, match=r"and ap1@fake did not answer"):
        left.run("ok")
    assert not left.started()


def row(ended: int, *, stays: str = "false", status: int = 4) -> dict[str, Any]:
    return {"JobStatus": status, "LeaveJobInQueue": stays, "EnteredCurrentStatus": ended}


def history(*rows: dict[str, Any]) -> Callable[[str, list[str], int], list[Any]]:
    """Answer as a schedd's history does, by HTCondor's own ClassAds."""

    def ask(constraint: str, projection: list[str], most: int) -> list[Any]:
        assert projection == ["EnteredCurrentStatus"]
        found = []
        for each in rows:
            texts = "; ".join(f"{name} = {value}" for name, value in each.items())
            ad = classad2.ClassAd(f"[{texts}; Wanted = {constraint}]")
            found += [each] if ad.eval("Wanted") is True else []
        return found if most < 0 else found[:most]

    return ask


LINGERED = "JobStatus == 4 && (time() - 5 < 0)"
"""As `-remote` has it, once its time is over: it was true, and the row may be of yesterday."""


@pytest.mark.parametrize(
    ("rows", "reaches", "oldest"),
    [
        ((), False, None),
        ((row(5_000_000),), False, 5_000_000),
        ((row(5_000_000), row(4_000_000)), False, 4_000_000),
        ((row(5_000_000), row(3_999_999)), True, 3_999_999),
        ((row(3_999_999, stays=LINGERED),), False, 3_999_999),
        ((row(3_999_999 - LINGERS_S, stays=LINGERED),), True, 3_999_999 - LINGERS_S),
        ((row(3_999_999, status=3),), False, 3_999_999),
    ],
)
def test_reach_of_a_history(rows: tuple[dict[str, Any], ...], reaches: bool, oldest: int | None) -> None:
    assert reach(history(*rows), before=4_000_000.5) == HistoryReach(reaches=reaches, oldest=oldest)
