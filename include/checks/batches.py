"""Does the same for many things that lie in storage, in threads only where the storage makes one wait."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Found = TypeVar("Found")
WAITING = 0.5
"""Share of a batch's time that is waiting, from which on threads help."""
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
        began, cpu = time.perf_counter(), time.thread_time()
        found = do(items[start : start + size])
        took, worked = time.perf_counter() - began, time.thread_time() - cpu
        yield from found
        if took - worked > WAITING * took or took > LONG_S * len(found):
            break
    rest = [items[start : start + size] for start in starts]
    if rest:
        with ThreadPoolExecutor(max_workers=workers) as pool:
            for batch in pool.map(do, rest):
                yield from batch
