"""Exactly once while the machine's clock jumps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.batch.steady_time import SteadyTime, steady_time
from include.campaign.states import SubmissionState
from include.errors import SubmissionAmbiguous
from tests.unit.batch.conftest import AP1, TAG, World

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_S = 86_400.0


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_the_grace_is_waited_out_whatever_the_clock_says(world: World, jump_s: float) -> None:
    def jump() -> None:
        world.clock.at += jump_s
        world.clock.during = lambda: None

    world.clock.during = jump
    with pytest.raises(SubmissionAmbiguous):
        world.run("vanish")
    assert world.clock.passed == world.limits.grace_s


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_jobs_that_show_after_a_jump_between_two_tries_are_adopted(world: World, jump_s: float) -> None:
    with pytest.raises(SubmissionAmbiguous):
        world.run("vanish")
    world.clock.passed -= world.limits.grace_s  # as if the first try had been killed before its search
    world.clock.at += jump_s
    world.clock.during = _once(lambda: world.pool.submit(AP1, TAG, 2))
    assert world.run("ok").clusters == ((AP1, 1, 2),)
    assert len(world.clusters()) == 1


def _once(act: Callable[[], object]) -> Callable[[], None]:
    left = [act]

    def during() -> None:
        if left:
            left.pop()()

    return during


def test_after_a_reboot_the_whole_grace_begins_anew_and_not_more(world: World) -> None:
    with pytest.raises(SubmissionAmbiguous):
        world.run("vanish")
    before = world.clock.passed
    world.clock.boot = "the next one"
    for jump_s in (10 * DAY_S, -20 * DAY_S):
        world.clock.at += jump_s
        with pytest.raises(SubmissionAmbiguous):
            world.run("vanish")
    # Each try waits for what the one before left open, and for its own start; the third is of the same boot.
    assert world.clock.passed - before == 3 * world.limits.grace_s
    assert world.row.state is SubmissionState.INTENDED


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_another_machines_clock_shortens_no_wait_for_a_start_without_an_end(
    world: World, jump_s: float
) -> None:
    """Killed a moment ago on a machine whose clock is wrong: jobsub_submit may go on for its time limit."""
    work = Path(world.row.work_dir)
    work.mkdir()
    note = {"started": world.clock.at - jump_s, "ended": None, "timeout_s": 600, "boot": "elsewhere"}
    (work / "submit.json").write_text(json.dumps({**note, "schedds": [AP1, "ap2@fake"], "steady_s": 5.0}))

    def late() -> None:
        if world.clock.passed >= 590 and not world.clusters():
            world.pool.submit(AP1, TAG, 2)

    world.clock.during = late
    assert world.run("ok").clusters == ((AP1, 1, 2),)
    assert not world.started()


def test_the_note_says_when_in_steady_time(world: World) -> None:
    with pytest.raises(SubmissionAmbiguous):
        world.run("vanish")
    note = json.loads((Path(world.row.work_dir) / "submit.json").read_text())
    assert (note["boot"], note["steady_s"]) == (world.clock.boot, 0.0)


def test_moments_of_two_boots_cannot_be_compared() -> None:
    now = steady_time()
    assert now.boot
    assert now.since(now.boot, now.seconds - 5.0) == 5.0
    assert now.since("another", 0.0) is None
    assert SteadyTime(boot="", seconds=9.0).since("", 0.0) is None
