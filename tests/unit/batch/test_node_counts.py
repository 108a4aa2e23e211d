"""Suspected nodes of one cluster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.batch.node_counts import Ending, ending, failing_nodes, machine_of, suspects
from include.batch.pool import NodeCounts


def ends(machine: str, *walls: float, ok: bool = True) -> list[Ending]:
    return [Ending(machine=machine, ok=ok, wall_s=wall) for wall in walls]


@pytest.mark.parametrize(
    ("host", "machine"),
    [
        ("slot1_2@wn1.pool", "wn1.pool"),
        ("slot1@glidein_7_12@host.fnal.gov", "host.fnal.gov"),
        ("wn1", "wn1"),
        ("", None),
        (None, None),
    ],
)
def test_machine_of(host: object, machine: str | None) -> None:
    assert machine_of(host) == machine


@pytest.mark.parametrize(
    ("ad", "ok", "wall"),
    [
        ({"ExitCode": 0, "ExitBySignal": False, "CompletionDate": 30, "JobCurrentStartDate": 20}, True, 10),
        ({"ExitCode": 1, "CompletionDate": 30, "JobCurrentStartDate": 20}, False, 10),
        ({"ExitCode": 0, "ExitBySignal": True, "ExitSignal": 9}, False, 0),
        (
            {"ExitCode": 0, "CompletionDate": 0, "JobCurrentStartDate": 20, "RemoteWallClockTime": 7.5},
            True,
            7.5,
        ),
        ({"ExitCode": 0, "CompletionDate": 9, "JobCurrentStartDate": 20, "RemoteWallClockTime": 7}, True, 7),
        ({}, False, 0),
    ],
)
def test_ending(ad: dict[str, Any], ok: bool, wall: float) -> None:
    assert ending({"LastRemoteHost": "slot1@wn1", **ad}) == Ending(machine="wn1", ok=ok, wall_s=wall)


def test_ending_nobody_knows_where() -> None:
    assert ending({"ExitCode": 1}) is None


def test_a_black_hole_beside_good_nodes() -> None:
    jobs = [
        *ends("hole", 1, 2, 1, ok=False),
        *ends("wn1", 100, 90),
        *ends("wn2", 1),
        *ends("wn2", 50, ok=False),
    ]
    running = [("wn3", 40.0), ("wn3", 1.0), ("hole", 60.0)]
    assert suspects(jobs, running) == (
        NodeCounts(
            machine="hole",
            good=0,
            bad=3,
            bad_slowest_s=2,
            peers_outlasted=4,
            peers_failed_fast=0,
            peer_nodes=3,
        ),
    )
    assert failing_nodes(jobs) == 1


def test_bad_code_fails_alike_on_all_nodes() -> None:
    jobs = [*ends("wn1", 10, 11, ok=False), *ends("wn2", 12, 20, ok=False), *ends("wn3", 21, 40, ok=False)]
    first = next(node for node in suspects(jobs, []) if node.machine == "wn1")
    assert (first.peers_failed_fast, first.peers_outlasted, first.peer_nodes) == (3, 1, 2)


@pytest.mark.parametrize(
    "jobs",
    [
        [],
        ends("wn1", 1, ok=False),
        [*ends("wn1", 1, 1, ok=False), *ends("wn1", 5, 5)],
        ends("wn1", 1, 2, 3),
    ],
)
def test_no_suspect_and_the_running_jobs_are_not_read(jobs: list[Ending]) -> None:
    running = iter([("wn1", 1.0)])
    assert suspects(jobs, running) == ()
    assert list(running) == [("wn1", 1.0)]


def test_worst_first_and_at_most_twenty() -> None:
    jobs = [job for n in range(30) for job in ends(f"wn{n}", *[1.0] * (n + 1), ok=False)]
    found = suspects(jobs, [])
    assert [node.bad for node in found] == list(range(30, 10, -1))


WALLS = st.sampled_from([0.0, 1.0, 2.0, 6.0, 7.0, 8.0, 50.0])
NODES = st.sampled_from(["a", "b", "c"])


@settings(max_examples=200)
@given(
    st.lists(st.builds(Ending, machine=NODES, ok=st.booleans(), wall_s=WALLS), max_size=25),
    st.lists(st.tuples(NODES, WALLS), max_size=8),
)
def test_the_same_as_counting_one_by_one(jobs: list[Ending], running: list[tuple[str, float]]) -> None:
    for node in suspects(jobs, running):
        own = [job for job in jobs if job.machine == node.machine]
        peers = [job for job in jobs if job.machine != node.machine]
        slowest = max(job.wall_s for job in own if not job.ok)
        fast = [job for job in peers if not job.ok and job.wall_s <= 1.5 * slowest + 5]
        lasting = [job.machine for job in peers if job.wall_s > slowest and job not in fast]
        lasting += [name for name, wall in running if name != node.machine and wall > slowest]
        assert node == NodeCounts(
            machine=node.machine,
            good=sum(job.ok for job in own),
            bad=sum(not job.ok for job in own),
            bad_slowest_s=slowest,
            peers_outlasted=len(lasting),
            peers_failed_fast=len(fast),
            peer_nodes=len({job.machine for job in fast} | set(lasting)),
        )
