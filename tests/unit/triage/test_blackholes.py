"""Which nodes are suspected, how often wrongly, and how soon; by simulation with fixed seeds."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from include.batch.pool import NodeCounts
from include.bookkeeping.records import NodeTally
from include.triage.blackholes import Suspect, columns_of, suspected_live, suspects

if TYPE_CHECKING:
    from collections.abc import Iterable

TRIALS = 400
FALSE_ALARM = 0.01
MOST_ALARMS = 10
"""Of so many trials at 1 % there are more than this in one of 300 series."""


def tally(
    host: str, good: int, bad: int, fast: int = 0, *, stage: str = "gen", dag: str = "a.b"
) -> NodeTally:
    return NodeTally(dag_id=dag, stage=stage, host=host, site=None, good=good, bad=bad, bad_fast=fast)


def pool(
    rng: np.random.Generator, rates: Iterable[float], jobs: int = 20, *, fast: float = 0.3, stage: str = "gen"
) -> list[NodeTally]:
    """Return nodes wn0, wn1, … that fail at the rates, a share of them fast, in a random number of jobs."""
    found = []
    for number, rate in enumerate(rates):
        ended = int(rng.poisson(jobs))
        bad = int(rng.binomial(ended, rate))
        quick = int(rng.binomial(bad, fast))
        found.append(tally(f"wn{number}", ended - bad, bad, quick, stage=stage))
    return found


def hosts(found: list[Suspect]) -> list[str]:
    return [each.host for each in found]


# Nobody is flagged


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("jobs", [3, 30])
def test_ordinary_fluctuations_flag_nobody(rate: float, jobs: int) -> None:
    rng = np.random.default_rng(7)
    alarms = sum(bool(suspects(pool(rng, [rate] * 100, jobs))) for _ in range(TRIALS))
    assert alarms <= MOST_ALARMS


def test_nodes_that_differ_a_little_flag_nobody() -> None:
    """Rates spread by a beta distribution about 5 %, as wide as `spread` allows."""
    rng, alarms = np.random.default_rng(8), 0
    for _ in range(TRIALS):
        rates = rng.beta(0.05 * 49, 0.95 * 49, 100)
        alarms += bool(suspects(pool(rng, rates, 50), false_alarm=FALSE_ALARM))
    assert alarms <= MOST_ALARMS


def test_without_the_spread_they_would_be_flagged() -> None:
    """The last test can fail: the allowance is what keeps those nodes from being flagged."""
    rng, alarms = np.random.default_rng(8), 0
    for _ in range(50):
        rates = rng.beta(0.05 * 49, 0.95 * 49, 100)
        alarms += bool(suspects(pool(rng, rates, 500), spread=1e-5))
    assert alarms > 25


@pytest.mark.parametrize("rate", [0.4, 0.9, 1.0])
def test_bad_code_flags_nobody(rate: float) -> None:
    """It fails on all nodes alike, fast, beside a good stage on the same nodes."""
    rng, alarms = np.random.default_rng(9), 0
    for _ in range(TRIALS // 4):
        table = pool(rng, [rate] * 60, 10, fast=1.0, stage="broken") + pool(rng, [0.02] * 60, 20)
        alarms += bool(suspects(table))
    assert alarms <= 4


def test_bad_code_that_has_reached_few_nodes_flags_nobody() -> None:
    good = [tally(f"wn{n}", 50, 1) for n in range(40)]
    assert suspects([*good, tally("wn0", 0, 200, 200, stage="broken")]) == []
    reached = [tally("wn0", 0, 200, 200, stage="broken"), tally("wn1", 0, 3, 3, stage="broken")]
    assert suspects([*good, *reached]) == []


def test_a_node_that_had_mostly_the_bad_code_is_not_flagged() -> None:
    table = [tally(f"wn{n}", 50, 1) for n in range(40)]
    table += [tally(f"wn{n}", 1, 2, 2, stage="broken") for n in range(1, 40)]
    assert suspects([*table, tally("wn0", 20, 60, 60, stage="broken")]) == []


def test_bad_code_with_one_black_hole_among_them_flags_only_that_in_its_good_stage() -> None:
    table = [tally(f"wn{n}", 0, 20, 20, stage="broken") for n in range(40)]
    table += [tally(f"wn{n}", 19, 1) for n in range(1, 40)]
    assert hosts(suspects([*table, tally("wn0", 0, 20, 20)])) == ["wn0"]


def test_nothing_to_compare_with_flags_nobody() -> None:
    assert suspects([]) == []
    assert suspects([tally("wn0", 0, 500, 500)]) == []
    assert suspects([tally("wn0", 0, 500, 500), tally("wn1", 0, 0)]) == []
    assert suspects([tally("wn0", 0, 2, 2), *(tally(f"x{n}", 90, 0) for n in range(100))]) == []


# Black holes are


@pytest.mark.parametrize("nodes", [10, 5000])
def test_a_node_that_fails_all_of_six_jobs_is_flagged(nodes: int) -> None:
    rng = np.random.default_rng(10)
    for _ in range(10):
        table = [*pool(rng, [0.05] * (nodes - 1)), tally("hole", 0, 6)]
        (found,) = suspects(table)
        assert (found.host, found.bad, found.good, found.fast_bad) == ("hole", 6, 0, 0)
        assert found.q_value <= FALSE_ALARM
        assert found.ratio == pytest.approx(6 / found.expected_bad)
        assert found.ratio > 10
        assert found.reason.startswith("all 6 jobs failed on hole; at the rate of the same stages on other ")


def test_fast_failures_weigh_more() -> None:
    rest = [tally(f"wn{n}", 16, 4, 0) for n in range(50)]
    slow, fast = ([*rest, tally("hole", 3, 6, quick)] for quick in (0, 6))
    assert suspects(slow) == []
    (found,) = suspects(fast)
    assert "6 of 9 jobs failed on hole, 6 of them fast; " in found.reason


def test_jobs_of_many_stages_count_together() -> None:
    table = [
        tally(f"wn{n}", 19, 1, stage=f"s{stage}", dag=f"a.{campaign}")
        for n in range(100) for stage in range(3) for campaign in "bc"
    ]  # fmt: skip
    table += [tally("hole", 0, 1, stage=f"s{stage}", dag=f"a.{c}") for stage in range(3) for c in "bc"]
    assert hosts(suspects(table)) == ["hole"]


def test_several_black_holes_do_not_hide_each_other() -> None:
    healthy = [tally(f"wn{n}", 19, 1) for n in range(30)]
    holes = [tally(f"hole{n}", 0, 400, 400) for n in range(3)]
    assert sorted(hosts(suspects([*healthy, *holes]))) == ["hole0", "hole1", "hole2"]
    eaten = [*healthy, tally("worst", 0, 4000, 4000), tally("also", 0, 9, 9)]
    assert sorted(hosts(suspects(eaten))) == ["also", "worst"]


def test_the_worst_come_first_and_columns_do_as_well() -> None:
    table = [
        *(tally(f"wn{n}", 19, 1) for n in range(50)),
        tally("b", 0, 8),
        tally("c", 0, 20),
        tally("a", 0, 8),
    ]
    assert hosts(suspects(table)) == ["c", "a", "b"]
    assert suspects(columns_of(table)) == suspects(table)
    twice = [*table, tally("c", 0, 20)]
    assert suspects(twice)[0].bad == 40


# While a cluster runs


def counts(bad: int, good: int = 0, *, outlasted: int = 9, failed: int = 0, nodes: int = 3) -> NodeCounts:
    return NodeCounts(
        machine="wn3",
        good=good,
        bad=bad,
        bad_slowest_s=2.0,
        peers_outlasted=outlasted,
        peers_failed_fast=failed,
        peer_nodes=nodes,
    )


def test_a_black_hole_is_seen_after_three_failures() -> None:
    (found,) = suspected_live([counts(3)], nodes_seen=4)
    assert (found.host, found.bad, found.good, found.fast_bad) == ("wn3", 3, 0, 3)
    assert found.reason == (
        "all 3 jobs failed on wn3 within 2 s, while 9 jobs on 3 other nodes ran longer and 0 failed as fast "
        "(10 times as much; chance 0.02 among 4 nodes)"
    )
    assert suspected_live([counts(2, outlasted=10_000)], nodes_seen=4) == []


def test_fewer_jobs_that_lasted_longer_need_a_failure_more() -> None:
    assert suspected_live([counts(3, outlasted=6)], nodes_seen=4) == []
    assert hosts(suspected_live([counts(4, outlasted=6)], nodes_seen=4)) == ["wn3"]


@pytest.mark.parametrize("bad", [3, 30, 300])
def test_never_while_others_fail_as_fast_or_nobody_ran_longer(bad: int) -> None:
    assert suspected_live([counts(bad, outlasted=0)], nodes_seen=4) == []
    assert suspected_live([counts(bad, outlasted=0, failed=9)], nodes_seen=4) == []
    assert suspected_live([counts(bad, outlasted=90, failed=30)], nodes_seen=4) == []
    assert suspected_live([counts(bad, 10 * bad)], nodes_seen=4) == []
    assert suspected_live([], nodes_seen=0) == []


def test_more_nodes_need_more_failures() -> None:
    needed = [
        next(bad for bad in range(3, 100) if suspected_live([counts(bad, outlasted=30)], nodes_seen=nodes))
        for nodes in (4, 100, 5000)
    ]
    assert all(few <= more for few, more in pairwise(needed))
    assert (needed[0], needed[-1]) == (3, 5)


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.4, 0.9])
def test_bad_code_that_fails_fast_flags_nobody_at_any_moment(rate: float) -> None:
    """4 nodes of 3 slots; a job fails at once with `rate`, else it runs on to the end."""
    rng = np.random.default_rng(11)
    alarms = sum(_flagged_at_some_moment(rng, rate) for _ in range(300))
    assert alarms <= 12  # 4 %; it looks after each failure, so more than once, and 3 % is usual


def _flagged_at_some_moment(rng: np.random.Generator, rate: float) -> bool:
    failed, running = np.zeros(4, dtype=int), np.zeros(4, dtype=int)
    for node in rng.permutation(np.repeat(np.arange(4), 3)):
        for _ in range(20):  # jobs that one slot gets until one of them runs on
            if rng.random() > rate:
                running[node] += 1
                break
            failed[node] += 1
            found = [
                NodeCounts(
                    machine=f"wn{n}",
                    good=0,
                    bad=int(failed[n]),
                    bad_slowest_s=1.0,
                    peers_outlasted=int(running.sum() - running[n]),
                    peers_failed_fast=int(failed.sum() - failed[n]),
                    peer_nodes=3,
                )
                for n in range(4)
            ]
            if suspected_live(found, nodes_seen=4):
                return True
    return False
