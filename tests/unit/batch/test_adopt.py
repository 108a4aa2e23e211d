"""What a person may have recorded: clusters of which a part left the history, and one of several."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from include.batch.placing import disjoint, placed, whole
from include.batch.pool import ClusterId
from include.bookkeeping.places import Places
from include.campaign.states import JobStatus, SubmissionState
from include.errors import LedgerError
from tests.unit.batch.conftest import AP1, TAG, World

AP2 = "ap2@fake"


@pytest.fixture
def four(world: World) -> World:
    world.request = replace(world.request, jobs=4)
    Path(world.row.work_dir).mkdir()
    return world


def submitted(
    world: World, schedd: str, jobs: int, *, first_unit: int = 0, gone: tuple[int, ...] = ()
) -> int:
    """Submit a cluster that completed and of which some processes have left the history."""
    cluster = world.pool.submit(schedd, TAG, jobs, status=JobStatus.COMPLETED, first_unit=first_unit)
    world.pool.set_status(schedd, cluster, JobStatus.UNKNOWN, processes=gone)
    return cluster


def says(world: World) -> str:
    with pytest.raises(LedgerError) as caught:
        world.run("ok")
    assert world.row.state is SubmissionState.INTENDED
    assert not world.started()
    return str(caught.value)


def adopt(world: World, text: str = "") -> Path:
    file = Path(world.row.work_dir) / "adopt"
    file.write_text(text)
    return file


@pytest.mark.parametrize("gone", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_a_cluster_of_which_a_part_left_the_history_is_adopted(four: World, gone: tuple[int, ...]) -> None:
    cluster = submitted(four, AP1, 4, gone=gone)
    said = says(four)
    assert f"{cluster}@ap1@fake has {4 - len(gone)} job" in said
    assert ", and had jobs for units " in said
    assert "not numbered as the units are" not in said
    file = re.search(r"touch (.*/adopt),", said)
    assert file
    Path(file[1]).touch()
    row = four.run("ok")
    assert (row.clusters, row.first_units) == (((AP1, cluster, 4),), ())


def test_the_clusters_of_a_launcher_are_adopted_with_the_units_they_had(four: World) -> None:
    """Each process keeps its unit, for the ones that have left the history as well."""
    submitted(four, AP1, 2, gone=(0,))
    submitted(four, AP2, 2, first_unit=2, gone=(0,))
    says(four)
    adopt(four, "\n")
    row = four.run("ok")
    assert (row.clusters, row.first_units) == (((AP1, 1, 2), (AP2, 1, 2)), (0, 2))
    places = Places(replace(row, units=row.units * 2))
    units = [places.unit_of(schedd=s, cluster=1, process=p) for s in (AP1, AP2) for p in (0, 1)]
    assert units == [0, 1, 2, 3]


def test_holes_do_not_make_two_clusters_one_submission(four: World) -> None:
    """The second made again what of the first has left the history: that is no whole, nor a part to keep."""
    submitted(four, AP1, 4, gone=(0, 1))
    submitted(four, AP1, 2)
    found = placed(TAG, [ClusterId(schedd=AP1, cluster=n) for n in (1, 2)], four.pool.ads(AP1, [1, 2]))
    assert whole(found, 4) == ()
    assert not disjoint(found, 4)
    adopt(four)
    assert "touch" not in says(four)


def test_a_person_says_which_of_two_completed_clusters_counts(
    four: World, caplog: pytest.LogCaptureFixture
) -> None:
    for schedd in (AP1, AP2):
        submitted(four, schedd, 4)
    file = adopt(four)
    said = says(four)
    assert f"into {file}, one a line, as 1@ap1@fake" in said
    adopt(four, "\n 1@ap2@fake \n")
    with caplog.at_level(logging.INFO):
        assert four.run("ok").clusters == ((AP2, 1, 4),)
    assert "not counted, because removed or not chosen: 1@ap1@fake" in caplog.text
    assert not four.started()


def test_chosen_clusters_may_be_a_part(four: World) -> None:
    submitted(four, AP1, 4)
    submitted(four, AP1, 1)
    submitted(four, AP2, 2, first_unit=1, gone=(0,))
    says(four)
    adopt(four, "2@ap1@fake\n1@ap2@fake\n")
    row = four.run("ok")
    assert (row.clusters, row.first_units) == (((AP1, 2, 1), (AP2, 1, 2)), (0, 1))


def test_an_unknown_id_is_refused_with_the_nearest(four: World) -> None:
    for _ in range(2):
        submitted(four, AP1, 4)
    adopt(four, "1@ap1@fake\n3@ap1@fake\n")
    said = says(four)
    assert re.search(r"adopt: '3@ap1@fake' is no cluster .* \(did you mean '[12]@ap1@fake'\?\)", said)
    four.pool.set_status(AP1, 2, JobStatus.REMOVED, processes=[0])
    adopt(four, "12\n")
    assert "'12' is no cluster with the tag" in says(four)


def test_clusters_that_overlap_are_not_chosen_together(four: World) -> None:
    for _ in range(2):
        submitted(four, AP1, 4)
    adopt(four, "1@ap1@fake\n2@ap1@fake\n")
    assert "not each unit at most once" in says(four)


def test_what_still_runs_is_removed_before_another_counts(four: World) -> None:
    submitted(four, AP1, 4)
    cluster = four.pool.submit(AP1, TAG, 4, status=JobStatus.RUNNING)
    adopt(four, "1@ap1@fake\n")
    assert f"may still run: jobsub_rm -J {cluster}@ap1@fake. Then clear the task" in says(four)
    four.pool.set_status(AP1, cluster, JobStatus.REMOVED, processes=[1, 2, 3])
    four.pool.set_status(AP1, cluster, JobStatus.COMPLETED, processes=[0])
    assert four.run("ok").clusters == ((AP1, 1, 4),)


def test_a_file_that_cannot_be_read_adopts_nothing(four: World) -> None:
    submitted(four, AP1, 2)
    (Path(four.row.work_dir) / "adopt").mkdir()
    assert "adopt cannot be read: Is a directory" in says(four)
