"""Whether clusters are a submission, and which unit each of their processes makes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.batch.condor_ads import first_unit, job_ad
from include.batch.placing import disjoint, placed, ranges, shortfall, whole
from include.batch.pool import ClusterId
from include.bookkeeping.places import Places
from include.bookkeeping.records import Submission, Unit
from include.campaign.states import JobStatus, SubmissionState

if TYPE_CHECKING:
    from random import Random

    from include.batch.fake import FakePool
    from include.batch.placing import Placed

AP1 = "ap1@fake"


def submission(
    *clusters: tuple[str, int, int], first_units: tuple[int, ...] = (), units: int = 4
) -> Submission:
    """Return a submission of some units that is recorded as these clusters."""
    return Submission(
        tag="t",
        dag_id="demo.z",
        tranche="t1",
        run=1,
        stage="gen",
        recovery=0,
        state=SubmissionState.SUBMITTED,
        units=tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(units)),
        clusters=clusters,
        work_dir="/w",
        message="",
        intended_at=0.0,
        submitted_at=1.0,
        first_units=first_units,
    )


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        ("run job.json", 0),
        ("run job.json --first-unit 50", 50),
        ("run --first-unit=50 job.json", 50),
        ("run job.json --first 7", 7),
        ("run job.json --first-unit 5 --first-unit 6", 6),
        ("run job.json --look 5", 0),
        ("a--first-unit 5", 0),
        ("run job.json --first-unit 5x", 0),
        ("", 0),
    ],
)
def test_first_unit_of_an_ad(arguments: str, first: int) -> None:
    assert first_unit(arguments) == first
    ad = {"ClusterId": 1, "ProcId": 0, "JobStatus": 1, "JobUniverse": 5}
    assert job_ad(AP1, {**ad, "Args": arguments}).first_unit == first
    assert job_ad(AP1, {**ad, "Arguments": arguments}).first_unit == first
    assert not job_ad(AP1, ad).is_dagman
    assert job_ad(AP1, {**ad, "JobUniverse": 7}).is_dagman


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.randoms())
def test_any_cut_into_clusters_is_whole_and_each_process_is_placed(sizes: list[int], random: Random) -> None:
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    clusters = [(f"ap{number % 2}", 1 + number // 2, size) for number, size in enumerate(sizes)]
    random.shuffle(order := list(range(len(sizes))))
    places = Places(
        submission(
            *(clusters[n] for n in order), first_units=tuple(starts[n] for n in order), units=sum(sizes)
        )
    )
    found = [
        places.unit_of(schedd=schedd, cluster=cluster, process=process)
        for schedd, cluster, size in clusters
        for process in range(size)
    ]
    assert found == list(range(sum(sizes)))


def test_a_dag_of_one_job_clusters_is_not_placed() -> None:
    places = Places(submission((AP1, 11, 1), (AP1, 12, 1), (AP1, 13, 1), (AP1, 14, 1)))
    assert [places.unit_of(schedd=AP1, cluster=cluster, process=0) for cluster in (11, 12, 13, 14)] == [
        None
    ] * 4


def test_a_cluster_number_on_two_schedds_needs_the_schedd() -> None:
    places = Places(submission(("ap1", 1, 2), ("ap2", 1, 2), first_units=(0, 2)))
    assert places.unit_of(cluster=1, process=0) is None
    assert places.unit_of(cluster=1, process=0, schedd="ap2") == 2
    assert places.unit_of(cluster=9, process=1, schedd="ap2") is None


def test_one_cluster_is_known_by_its_number_alone() -> None:
    places = Places(submission(("machine.example", 1, 4)))
    assert places.unit_of(cluster=1, process=3, schedd="ap1@machine.example") == 3
    assert places.unit_of(cluster=1, process=4) is None
    assert (places.unit_of(cluster=2, process=3), places.unit_of(cluster=2, process=0)) == (3, None)


def test_clusters_of_the_pool(fake: FakePool) -> None:
    for first in (0, 2):
        fake.submit(AP1, "t", 2, first_unit=first)
    fake.submit(AP1, "t", 4)
    fake.submit(AP1, "other", 4)
    ids = [ClusterId(schedd=AP1, cluster=number) for number in (1, 2, 3)]

    def look() -> tuple[Placed, ...]:
        return placed("t", ids, fake.ads(AP1, [1, 2, 3, 4]))

    assert [each.id for each in look()] == ids
    assert whole(look(), 4) == ()
    assert shortfall(look(), 5) == "no job for units 4; several jobs for units 0-3"
    fake.set_status(AP1, 3, JobStatus.REMOVED)
    assert [each.id.cluster for each in whole(look(), 4)] == [1, 2]
    fake.set_status(AP1, 2, JobStatus.REMOVED, processes=[0])
    assert [each.id.cluster for each in whole(look(), 4)] == [1, 2]


def test_processes_that_do_not_follow_each_other_are_not_placed(fake: FakePool) -> None:
    cluster = fake.submit(AP1, "t", 2)
    fake.change_ads(AP1, cluster, processes=[0], first_unit=1)
    fake.change_ads(AP1, cluster, processes=[1], first_unit=-1)
    found = placed("t", [ClusterId(schedd=AP1, cluster=cluster)], fake.ads(AP1, [cluster]))
    assert sorted(found[0].units) == [0, 1]
    assert shortfall(found, 2) == ""
    assert not disjoint(found, 2)
    assert whole(found, 2) == ()
    assert whole([replace(found[0], units=(0, 1), first_unit=0)], 2)


def test_ranges() -> None:
    assert ranges([3, 1, 2, 7]) == "1-3, 7"
    assert ranges([]) == "none"
    assert ranges(range(0, 60, 2)).endswith("18, …")
