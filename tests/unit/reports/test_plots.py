"""Plots of a report."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from include.reports import plots
from include.reports.figures import TimeLine

if TYPE_CHECKING:
    import pytest


def test_two_threads_do_not_draw_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """matplotlib's settings are the process's: each would take the other's for those to go back to."""
    together, met = threading.Barrier(2), []
    dress = plots._dress

    def wait_for_the_other(axes: Any) -> None:
        try:
            together.wait(timeout=0.5)
            met.append(1)
        except threading.BrokenBarrierError:
            pass
        dress(axes)

    monkeypatch.setattr(plots, "_dress", wait_for_the_other)
    before = dict(mpl.rcParams)
    line = TimeLine(start=0.0, width_s=60.0, good=(1, 2), bad=(0, 1), lines=())
    with ThreadPoolExecutor(2) as pool:
        svgs = list(pool.map(plots.ended_over_time, [line, line]))
    assert not met
    assert svgs[0] == svgs[1]
    assert dict(mpl.rcParams) == before
