"""Exactly once on disks that are full."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.campaign.states import SubmissionState
from include.errors import StorageError
from tests.small_disk import on_small_disk
from tests.unit.batch.conftest import AP1, World

if TYPE_CHECKING:
    from collections.abc import Callable


def _fill(folder: Path) -> None:
    """Write until there is no space."""
    with (folder / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"0" * 4096)


def _then_run(world: World, before: Callable[[Path], None]) -> Callable[[], object]:
    def act() -> object:
        before(Path(world.row.work_dir).parent)
        return world.run("ok")

    return act


@pytest.mark.parametrize("read_only", [False, True])
def test_nothing_is_submitted_without_a_work_folder_and_the_next_try_submits(
    world: World, read_only: bool
) -> None:
    area = world.folder / "area"
    world.put_work_dir(area / "work")
    before = _nothing if read_only else _fill
    words = "Read-only file system" if read_only else "No space left on device"
    with pytest.raises(StorageError, match=rf"nothing is submitted: .*/area/work cannot .* \({words}\)"):
        on_small_disk(area, _then_run(world, before), read_only=read_only)
    assert not world.started()
    assert world.row.state is SubmissionState.INTENDED
    assert world.run("ok").clusters == ((AP1, 1, 2),)


def _nothing(_: Path) -> None: ...


def test_a_disk_that_fills_while_jobsub_runs_costs_nothing(world: World) -> None:
    area = world.folder / "area"
    world.put_work_dir(area / "work")

    def act() -> object:
        world.on_submit = lambda: _fill(area)
        return world.run("ok")

    row = on_small_disk(area, act)
    assert row.clusters == ((AP1, 1, 2),)
    assert len(world.clusters()) == 1
