"""Many things in storage: one after another while that is quick, in threads where it is not."""

from __future__ import annotations

import itertools
import threading

import pytest

from include.checks import batches
from include.checks.batches import in_batches

MAIN = threading.get_ident()


def test_what_never_waits_stays_in_the_calling_thread_and_in_order() -> None:
    seen = list(in_batches(lambda item: (item, threading.get_ident()), range(1000), size=32, workers=4))
    assert seen == [(item, MAIN) for item in range(1000)]


def test_a_core_that_others_take_is_no_reason_for_threads() -> None:
    clocks = {"perf_counter": itertools.count(step=1.0), "thread_time": itertools.count(step=0.001)}
    with pytest.MonkeyPatch.context() as patch:
        for name, ticks in clocks.items():
            patch.setattr(batches.time, name, lambda ticks=ticks: next(ticks))
        seen = list(in_batches(lambda _item: threading.get_ident(), range(100), size=4, workers=4))
    assert seen == [MAIN] * 100


def test_what_waits_goes_on_in_threads_after_the_first_batch() -> None:
    workers = 4
    together = threading.Barrier(workers, timeout=60)
    wait = threading.Event()

    def work(item: int) -> tuple[int, bool]:
        if item == 0:
            wait.wait(0.05)  # as storage that answers late
        else:
            together.wait()  # which ends only if all threads are here at once
        return item, threading.get_ident() == MAIN

    seen = list(in_batches(work, range(1 + 2 * workers), size=1, workers=workers))
    assert [item for item, _ in seen] == list(range(1 + 2 * workers))
    assert [in_main for _, in_main in seen] == [True] + [False] * (2 * workers)


@pytest.mark.parametrize("bad", [0, 5, 99])
def test_an_error_passes_through(bad: int) -> None:
    def work(item: int) -> int:
        if item == bad:
            msg = f"{item} is bad"
            raise ValueError(msg)
        return item

    with pytest.raises(ValueError, match=f"{bad} is bad"):
        list(in_batches(work, range(100), size=4, workers=2))


def test_nothing_gives_nothing() -> None:
    assert list(in_batches(str, [], size=4, workers=2)) == []
