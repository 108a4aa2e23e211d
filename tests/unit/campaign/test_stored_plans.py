"""Plans that the ledger holds for dag_runs in flight: every version that was ever pinned can be read.

A file in stored_plans/ is as its version was written, and is never changed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from include.campaign import plan as plans
from include.campaign.plan import PLAN_VERSION, CampaignPlan
from include.errors import PlanError

if TYPE_CHECKING:
    from tests.unit.campaign.conftest import Specs

STORED = Path(__file__).parent / "stored_plans"
VERSIONS = range(1, PLAN_VERSION + 1)


def stored(version: int) -> dict[str, Any]:
    """Return a plan as that version wrote it."""
    data: dict[str, Any] = json.loads((STORED / f"version-{version}.json").read_text(encoding="utf-8"))
    return data


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stored_plan_means_what_it_meant(version: int) -> None:
    plan = CampaignPlan.from_dict(stored(version))
    assert (plan.version, plan.dag_id, plan.first_run, plan.last_run) == (PLAN_VERSION, "demo.z", 1000, 1999)
    assert (plan.slices, plan.subruns, plan.first_subrun) == (2, 3, 1)
    assert [stage.name for stage in plan.stages] == ["gen", "reco", "merge_hits", "merge_reco"]
    gen, reco, hits, merged = plan.stages
    assert (gen.events, gen.success_threshold, gen.hold_limit_s, gen.unknown_limit_s) == (
        100,
        0.95,
        1800,
        1200,
    )
    assert (gen.resources.memory_mb, gen.resources.disk_kb, gen.resources.lifetime_s) == (1500, 2**20, 7200)
    assert (gen.environment, gen.jobsub_options) == ((("CARD", "card.txt"),), ("--site", "Fermigrid"))
    (flux,) = gen.inputs
    assert (flux.files, flux.per_job, flux.reuse) == (("/data/flux/1.root", "/data/flux/2.root"), 2, True)
    assert [(item.name, item.output, item.select) for item in reco.inputs] == [
        ("signal", "hits", "same"),
        ("pileup", "hits", "all"),
    ]
    assert [(item.name, item.tree, item.keep) for item in gen.outputs] == [
        ("hits", "events", "until-merged"),
        ("text", None, "forever"),
    ]
    assert reco.checks == ("exit", "outputs", "size", "root")
    assert hits.merge is not None
    assert merged.merge is not None
    assert (hits.merge.target_bytes, merged.merge.method, merged.script) == (
        100 * 2**20, "command", "/specs/demo/gen.sh",
    )  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_that_was_stored_is_lost_on_the_way_back(version: int) -> None:
    plan = CampaignPlan.from_dict(stored(version))
    assert CampaignPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_every_version_is_stored_and_can_be_brought_to_the_next() -> None:
    assert sorted(path.name for path in STORED.iterdir()) == [f"version-{each}.json" for each in VERSIONS]
    assert set(plans._UPGRADES) == set(range(1, PLAN_VERSION))


def test_a_field_that_was_added_later_has_its_default() -> None:
    data = stored(1)
    del data["stages"][0]["inputs"][0]["reuse"], data["stages"][0]["events"]
    gen = CampaignPlan.from_dict(data).stage("gen")
    assert (gen.inputs[0].reuse, gen.events) == (False, None)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            PLAN_VERSION + 1,
            r"is of version \d+, and this prodsys reads versions up to \d+: finish this dag_run",
        ),
        (0, "version is 0, not a number from 1"),
        ("1", "version is '1', not a number"),
        (None, "version is None, not a number"),
    ],
)
def test_a_version_that_nobody_knows_is_refused(version: object, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        CampaignPlan.from_dict({**stored(1), "version": version, "of_the_future": 1})


def test_older_plans_are_upgraded_one_version_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "PLAN_VERSION", 3)
    renamed = {1: lambda data: {**data, "owner": "two"}, 2: lambda data: {**data, "group": data["owner"]}}
    monkeypatch.setattr(plans, "_UPGRADES", renamed)
    plan = CampaignPlan.from_dict(stored(1))
    assert (plan.version, plan.owner, plan.group) == (3, "two", "two")
    assert CampaignPlan.from_dict(replace(plan, owner="me").to_dict()).owner == "me"


def test_a_stage_that_the_plan_has_not_is_named_with_what_to_do(specs: Specs) -> None:
    with pytest.raises(PlanError) as caught:
        specs.load().stage("calib")
    assert str(caught.value).startswith(
        "demo.z: this dag_run's plan has no stage 'calib', only gen, reco, merge_reco. The stages in "
    )
    assert str(caught.value).endswith(
        "were changed after the dag_run began, and it keeps its plan: "
        "finish it with the stages that it has, or start a new dag_run"
    )
