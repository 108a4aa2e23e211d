"""What must be made from an output before it may be removed."""

from __future__ import annotations

import pytest

from include.bookkeeping.ledger_removal import finished, reaches_merge
from tests.ledger_records import CHAIN, campaign_plan, input_plan, output_plan, stage_plan

ALL = frozenset(range(4))


def accepted(**stages: set[int]) -> dict[tuple[str, str], set[int]]:
    return {(stage, "default"): subruns for stage, subruns in stages.items()}


@pytest.mark.parametrize(
    ("made", "gen_finished", "reco_finished"),
    [
        ({}, set(), set()),
        ({"reco": {0, 1, 2, 3}}, set(), set()),
        ({"reco": {0, 1, 2, 3}, "merge_reco": {0, 1}}, {0, 1}, {0, 1}),
        ({"reco": {0, 1, 3}, "merge_reco": {0, 1, 3}}, {0, 1, 3}, {0, 1, 3}),
        ({"reco": {0}, "merge_reco": {0, 1}}, {0}, {0, 1}),
    ],
)
def test_chain(made, gen_finished, reco_finished):
    plan = campaign_plan(stages=CHAIN)
    assert finished(plan, accepted(**made), stage="gen", output="default", subruns=ALL) == gen_finished
    assert finished(plan, accepted(**made), stage="reco", output="default", subruns=ALL) == reco_finished


def test_every_branch_must_be_made():
    branch = stage_plan("calib", inputs=(input_plan("gen"),), outputs=(output_plan(keep="forever"),))
    plan = campaign_plan(stages=(*CHAIN, branch))
    done = accepted(reco={0, 1}, merge_reco={0, 1}, calib={1, 2})
    assert finished(plan, done, stage="gen", output="default", subruns=ALL) == {1}


def test_an_input_that_all_jobs_read_is_needed_until_the_last_is_made():
    stages = (
        stage_plan("minbias"),
        stage_plan("mix", inputs=(input_plan("minbias", select="all"),)),
        stage_plan("merge_mix", merge_of="mix"),
    )
    plan = campaign_plan(stages=stages)
    three = accepted(mix={0, 1, 2}, merge_mix={0, 1, 2})
    four = accepted(mix={0, 1, 2, 3}, merge_mix={0, 1, 2, 3})
    assert finished(plan, three, stage="minbias", output="default", subruns=ALL) == set()
    assert finished(plan, four, stage="minbias", output="default", subruns=ALL) == ALL


def test_a_stage_with_two_outputs_must_have_made_both():
    two = stage_plan(
        "reco", inputs=(input_plan("gen"),), outputs=(output_plan(), output_plan("hist", "forever"))
    )
    plan = campaign_plan(stages=(stage_plan("gen"), two, stage_plan("merge_reco", merge_of="reco")))
    done = {**accepted(reco={0, 1}, merge_reco={0, 1}), ("reco", "hist"): {1}}
    assert finished(plan, done, stage="gen", output="default", subruns=ALL) == {1}


def test_what_is_never_merged_does_not_reach_a_merge():
    plan = campaign_plan(stages=(stage_plan("gen"), stage_plan("reco", inputs=(input_plan("gen"),))))
    assert not reaches_merge(plan, stage="gen", output="default")
    assert reaches_merge(campaign_plan(stages=CHAIN), stage="gen", output="default")
    assert not reaches_merge(campaign_plan(stages=CHAIN), stage="gen", output="another")
