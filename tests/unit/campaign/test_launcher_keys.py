"""The keys of a stage that is submitted by the experiment's own program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from include.campaign.plan import CampaignPlan, LauncherPlan
from tests.unit.campaign.conftest import GOOD

if TYPE_CHECKING:
    from tests.unit.campaign.conftest import Specs

DEFAULTS = (
    'defaults:\n  launcher: launch.sh\n  launcher_arguments: ["--for", "{campaign}", "{run:06d}", "{jobs}"]\n'
)


def with_keys(*, defaults: str = "", gen: str = "") -> str:
    """Return the good campaign with further keys, and the merge without any."""
    text = GOOD.replace("stages:\n", f"{defaults}stages:\n", 1)
    return text.replace("  gen:\n", f"  gen:\n{gen}", 1)


def test_none_is_the_default(specs: Specs) -> None:
    assert [stage.launcher for stage in specs.load().stages] == [None, None, None]


def test_defaults_reach_stages_and_merges_and_a_stage_may_do_without(specs: Specs) -> None:
    script = specs.script("launch.sh")
    plan = specs.load(with_keys(defaults=DEFAULTS, gen="    launcher: null\n"))
    launcher = LauncherPlan(script=str(script), arguments=("--for", "z", "{run:06d}", "{jobs}"))
    assert [stage.launcher for stage in plan.stages] == [None, launcher, launcher]
    assert CampaignPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert str(script) not in plan.stage("reco").files


def test_a_stage_has_its_own(specs: Specs) -> None:
    specs.script("launch.sh")
    own = specs.script("own.sh")
    plan = specs.load(
        with_keys(defaults=DEFAULTS, gen="    launcher: own.sh\n    launcher_arguments: [a b]\n")
    )
    assert plan.stage("gen").launcher == LauncherPlan(script=str(own), arguments=("a b",))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("    launcher: gone.sh\n", "does not exist"),
        ("    launcher: plain.sh\n", "is not executable (chmod +x plain.sh)"),
        ("    launcher_arguments: [x]\n", "'launcher_arguments' goes with 'launcher' only"),
        ("    launcher: launch.sh\n    launcher_arguments: ['{subrun}']\n", "no variable {subrun} here"),
        ("    launcher: launch.sh\n    launcher_arguments: ['{job}']\n", "jobs"),
        ("    launcher: [a]\n", "launcher"),
        ("    luncher: launch.sh\n", "launcher"),
    ],
)
def test_what_is_wrong_is_said_where(specs: Specs, keys: str, says: str) -> None:
    specs.script("launch.sh")
    specs.script("plain.sh", mode=0o644)
    (error,) = specs.errors(with_keys(gen=keys))
    assert error.startswith(("demo/z.yaml:9:", "demo/z.yaml:10:"))
    assert says in error
