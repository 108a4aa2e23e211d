"""What a dag_run may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.campaign.cost import cost_of

if TYPE_CHECKING:
    from tests.unit.campaign.conftest import Specs

CHAIN = """\
version: 1
runs: {first: 1, last: 9}
slices: 2
subruns: 10
defaults: {tree: t}
stages:
  gen: {script: gen.sh, lifetime: 8 h, output: "g.{run}_{subrun}.root"}
  pile: {script: gen.sh, lifetime: 1 h, cpus: 4, recovery: {attempts: 0}, output: "p.{run}_{subrun}.root"}
  reco:
    script: gen.sh
    lifetime: 6 h
    inputs: {signal: gen, extra: pile}
    recovery: {attempts: 1, max_lifetime: 7 h}
    output: "r.{run}_{subrun}.root"
merge:
  reco: {lifetime: 30 min, output: "m.{run}_{subrun}.root"}
"""


def test_cost_is_of_all_slices_and_the_longest_chain_is_of_one(specs: Specs) -> None:
    cost = cost_of(specs.load(CHAIN))
    assert cost.jobs == 60
    assert cost.cpu_h == 20 * (8 + 4 * 1 + 6)
    assert cost.recovered_cpu_h == 20 * (8 + 2 * 16 + 4 + 6 + 7)
    assert cost.chain_h == pytest.approx(8 + 6 + 0.5)
    assert cost.dag_runs == 4
    assert str(cost) == (
        "60 jobs and their merges; up to 360 CPU-hours (whole lifetimes), 1,140 with all recoveries; "
        "longest chain of lifetimes 14 h; run numbers for 4 dag_runs"
    )


def test_small_figures_keep_their_digits(specs: Specs) -> None:
    small = (
        CHAIN.replace("8 h", "1 min").replace("6 h", "1 min").replace("7 h", "1 min").replace("1 h", "1 s")
    )
    assert "up to 0.69 CPU-hours" in str(cost_of(specs.load(small)))
