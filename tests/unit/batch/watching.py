"""A watcher of a FakePool, and waiting for its polls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from include.batch.watcher import ScheddWatcher
from include.campaign.states import JobStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.batch.fake import FakePool

AP1 = "ap1@fake"
DONE = JobStatus.COMPLETED


def watch(fake: FakePool, **more: object) -> ScheddWatcher:
    return ScheddWatcher(AP1, fake, 0.02, **more)  # type: ignore[arg-type]


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # the watcher tells nobody but its waits
            await asyncio.sleep(0.005)


async def polls(watcher: ScheddWatcher, more: int) -> None:
    """Return once `more` polls have been made."""
    target = watcher.polls + more
    await until(lambda: watcher.polls >= target)
