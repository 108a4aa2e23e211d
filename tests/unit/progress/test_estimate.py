"""The end of some work, from how it went so far."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from include.progress.estimate import (
    FARTHEST_S,
    Estimate,
    Outlook,
    after_parents,
    estimate,
    latest_of,
    value_at,
)

NOW = 1_800_000_000.0
HOUR = 3600.0


def steady(rate: float, hours: float = 2.0, step_s: float = 60.0) -> list[tuple[float, float]]:
    """Return points of work that goes at `rate` an hour up to now."""
    steps = int(hours * HOUR / step_s)
    return [(NOW - (steps - n) * step_s, rate * n * step_s / HOUR) for n in range(steps + 1)]


def test_a_steady_rate_tells_the_end() -> None:
    found = estimate(steady(100), remaining=300, now=NOW)
    assert found.outlook is Outlook.KNOWN
    assert found.rate == pytest.approx(100)
    assert found.end == pytest.approx(NOW + 3 * HOUR)
    assert found.early is not None
    assert found.late is not None
    assert NOW < found.early < NOW + 3 * HOUR < found.late < NOW + 4 * HOUR


def test_nothing_remaining_is_done_whatever_the_rate() -> None:
    assert estimate([], remaining=0, now=NOW) == Estimate(outlook=Outlook.DONE)


def test_without_points_nothing_was_sent() -> None:
    assert estimate([], remaining=5, now=NOW).outlook is Outlook.WAITING


@pytest.mark.parametrize(
    "points",
    [[(NOW, 0.0)], [(NOW + 5, 3.0)], [(NOW - 60, 0.0), (NOW, 3.0)], [(NOW - 60, 0.0), (NOW, 0.0)]],
    ids=["one-point", "future", "three-ends", "no-end-yet"],
)
def test_too_little_says_nothing(points: list[tuple[float, float]]) -> None:
    found = estimate(points, remaining=50, now=NOW)
    assert found.outlook is Outlook.EARLY
    assert found.end is None


def test_a_small_rest_needs_no_more_ends_than_it_has() -> None:
    assert estimate([(NOW - 600, 0.0), (NOW, 2.0)], remaining=2, now=NOW).outlook is Outlook.KNOWN


def test_an_absurdly_far_end_is_none() -> None:
    points = [(NOW - 3 * HOUR, 0.0), (NOW, 4.0)]
    assert estimate(points, remaining=10**9, now=NOW) == Estimate(outlook=Outlook.EARLY)
    told = estimate(points, remaining=FARTHEST_S / HOUR, now=NOW)
    assert told.late is not None
    assert datetime.fromtimestamp(told.late, tz=UTC).year < 2200


def test_what_stood_still_all_the_time_is_stalled() -> None:
    found = estimate([(NOW - HOUR, 40.0), (NOW, 40.0)], remaining=10, now=NOW)
    assert (found.outlook, found.rate, found.end) == (Outlook.STALLED, 0.0, None)


def test_the_time_since_the_last_point_counts() -> None:
    """A watcher that died an hour ago must not keep the rate up."""
    points = [(at - HOUR, done) for at, done in steady(100, hours=1)]
    found = estimate(points, remaining=100, now=NOW)
    assert found.rate == pytest.approx(50)


def test_bursts_widen_the_band() -> None:
    even = estimate(steady(400), remaining=400, now=NOW)
    burst = estimate(
        [(NOW - 2 * HOUR, 0.0), (NOW - 1.0 * HOUR, 0.0), (NOW - 0.99 * HOUR, 800.0), (NOW, 800.0)],
        remaining=400,
        now=NOW,
    )
    assert burst.end == pytest.approx(even.end)
    assert burst.late is not None
    assert even.late is not None
    assert burst.late - NOW > 2 * (even.late - NOW)
    assert burst.late < NOW + 11 * HOUR, "the late end stays a number"


def test_the_band_holds_for_independent_ends() -> None:
    """Of 400 simulated campaigns with a constant true rate about nine in ten end inside the band."""
    chance = random.Random(5)
    inside = 0
    for _ in range(400):
        at, ends = NOW - 2 * HOUR, []
        while at < NOW:
            at += chance.expovariate(60 / HOUR)
            ends.append(at)
        points = [(NOW - 2 * HOUR, 0.0), *((at, n + 1.0) for n, at in enumerate(ends[:-1]))]
        found = estimate(points, remaining=120, now=NOW)
        assert found.early is not None
        assert found.late is not None
        truth = NOW + sum(chance.expovariate(60 / HOUR) for _ in range(120))
        inside += found.early <= truth <= found.late
    # The end itself scatters as well, which the rate's error does not know of.
    assert 300 <= inside <= 396


def test_values_between_points_lie_on_the_line() -> None:
    points = [(0.0, 0.0), (10.0, 100.0), (10.0, 110.0), (20.0, 110.0)]
    assert [value_at(points, at) for at in (-5, 5, 15, 99)] == [0, 50, 110, 110]


def known(end: float) -> Estimate:
    return Estimate(outlook=Outlook.KNOWN, rate=1.0, end=end, early=end - 1, late=end + 1)


def test_a_stage_ends_no_earlier_than_its_parents() -> None:
    assert after_parents(known(5.0), [known(9.0)]) == known(9.0)
    assert after_parents(known(9.0), [known(5.0), Estimate(outlook=Outlook.DONE)]) == known(9.0)
    assert after_parents(known(9.0), [Estimate(outlook=Outlook.STALLED)]).outlook is Outlook.EARLY
    done = Estimate(outlook=Outlook.DONE)
    assert after_parents(done, [known(9.0)]) is done
    stalled = Estimate(outlook=Outlook.STALLED, rate=0.0)
    assert after_parents(stalled, [known(9.0)]) == stalled


def test_nobody_waits_for_what_is_over() -> None:
    over = Estimate(outlook=Outlook.OVER)
    assert after_parents(known(9.0), [over]) == known(9.0)
    assert after_parents(over, [known(9.0)]) == over
    assert latest_of([over, known(5.0)]).end == 5.0
    assert latest_of([over, Estimate(outlook=Outlook.DONE)]) == over


def test_what_is_held_or_not_judged_has_no_end_and_gives_none() -> None:
    incomplete = Estimate(outlook=Outlook.INCOMPLETE)
    child = after_parents(known(9.0), [known(5.0), incomplete])
    assert (child.outlook, child.rate, child.end) == (Outlook.INCOMPLETE, 1.0, None)
    assert after_parents(incomplete, [known(9.0)]) == incomplete
    assert latest_of([known(5.0), incomplete]) == incomplete


def test_all_is_done_when_the_last_is() -> None:
    assert latest_of([known(5.0), known(9.0)]).end == 9.0
    assert latest_of([]).outlook is Outlook.DONE
    assert latest_of([known(5.0), Estimate(outlook=Outlook.STALLED)]).outlook is Outlook.STALLED
