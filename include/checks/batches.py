"""Does the same for many things that lie in storage, in threads only where the storage makes one wait."""

from __future__ import annotations

import resource
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Found = TypeVar("Found")
WAITING = 0.5
"""Share of a batch's time that is waiting, from which on threads help."""
PAUSES = 0.1
"""So often an item gives up the core by itself; a core that others take tells nothing of the storage."""
LONG_S = 0.005
"""Time an item from which on threads cost little, and help where the work is done outside Python."""


def in_batches(
    work: Callable[[Item], Found], items: Sequence[Item], *, size: int, workers: int
) -> Iterator[Found]:
    """Yield `work` of each item, in order; an error of `work` passes through.

    The calling thread does a batch of `size` after another for as long as they are short and hardly wait:
    threads that never wait only fight for the interpreter, which doubles the time. After the first batch that
    is not so, `workers` threads do the rest.
    """

    def do(batch: Sequence[Item]) -> list[Found]:
        return [work(item) for item in batch]

    starts = iter(range(0, len(items), size))
    for start in starts:
        began, cpu, paused = time.perf_counter(), time.thread_time(), _pauses()
        found = do(items[start : start + size])
        took, worked = time.perf_counter() - began, time.thread_time() - cpu
        waits = _pauses() - paused >= PAUSES * len(found)
        long_s = LONG_S * len(found)
        slow = took - worked > WAITING * took or took > long_s
        yield from found
        if worked > long_s or (slow and waits):
            break
    rest = [items[start : start + size] for start in starts]
    if rest:
        with ThreadPoolExecutor(max_workers=workers) as pool:
            for batch in pool.map(do, rest):
                yield from batch


def _pauses() -> int:
    """Return how often the calling thread has waited for anything but a core."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
