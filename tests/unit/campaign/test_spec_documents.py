"""The spec's documentation, its JSON Schema and the campaigns that come with prodsys are up to date."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from include.campaign import identifiers, spec, spec_jobs
from include.campaign.catalogue import check_all
from include.campaign.json_schema import SCHEMA_FILE, schema_text
from include.campaign.plan import CampaignPlan
from include.campaign.spec_types import Keep
from include.campaign.template import JOB_VARIABLES, PLAN_VARIABLES
from include.campaign.units import SIZE_UNITS, TIME_UNITS

if TYPE_CHECKING:
    from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[3]
SPECS = ROOT / "campaign_specs"
PAGE = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "The campaign": spec.CampaignSpec,
    "`runs`": spec.RunsSpec,
    "`limits`": spec.LimitsSpec,
    "`storage`": spec.StorageSpec,
    "`cleanup`": spec.CleanupSpec,
    "A stage": spec.StageSpec,
    "An input": spec.InputSpec,
    "An output": spec.OutputSpec,
    "A merge": spec.MergeSpec,
    "What a job asks for": spec_jobs.JobKeys,
    "`recovery`": spec_jobs.RecoverySpec,
    "`node`": spec_jobs.NodeSpec,
    "Checks": spec_jobs.CheckSpec,
}


def section(title: str) -> str:
    """Return the part of the page under a heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/spec.md has no section {title}"
    return found[1]


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_is_documented(title: str) -> None:
    keys = set(SECTIONS[title].model_fields)
    if title in ("A stage", "A merge"):
        keys -= set(spec_jobs.JobKeys.model_fields)  # they have their own section
    documented = set(re.findall(r"^\| `(\w+)`", section(title), re.MULTILINE))
    assert documented == keys


def test_every_unit_check_variable_and_reserved_name_is_documented() -> None:
    words = [*SIZE_UNITS, *TIME_UNITS, *spec.BASE_CHECKS, *identifiers.RESERVED_STAGES, *get_args(Keep)]
    words += [f"{{{name}}}" for name in (*PLAN_VARIABLES, *JOB_VARIABLES)]
    assert [word for word in words if f"`{word}`" not in PAGE] == []


def test_every_key_has_a_description() -> None:
    models = {*SECTIONS.values(), spec.StageDefaults}
    bare = [
        f"{model.__name__}.{key}"
        for model in models
        for key, info in model.model_fields.items()
        if not info.description
    ]
    assert bare == []


def test_the_schema_file_is_up_to_date() -> None:
    assert (SPECS / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text(), "run: prodsys schema --write"


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    def walk(node: Any) -> list[dict[str, Any]]:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        own = [node] if isinstance(node, dict) and isinstance(node.get("properties"), dict) else []
        return own + [found for item in inner for found in walk(item)]

    objects = walk(json.loads(schema_text()))
    assert len(objects) >= len(SECTIONS)
    assert [item for item in objects if item.get("additionalProperties") is not False] == []


def test_the_campaigns_that_come_with_prodsys_are_good() -> None:
    found = check_all(SPECS, "/area")
    assert [str(item) for _, item in found if not isinstance(item, CampaignPlan)] == []
    assert {"demo", "mu2e"} <= {item.experiment for _, item in found if isinstance(item, CampaignPlan)}


def test_the_mu2e_campaign() -> None:
    plans = {item.dag_id: item for _, item in check_all(SPECS, "/area") if isinstance(item, CampaignPlan)}
    plan = plans["mu2e.ce-endpoint-mix"]
    assert [stage.name for stage in plan.stages] == ["primary", "mix", "reco", "merge_dig", "merge_mcs"]
    assert [stage.parents for stage in plan.stages] == [(), ("primary",), ("mix",), ("mix",), ("reco",)]
    primary, mix = plan.stage("primary"), plan.stage("mix")
    assert (
        primary.outputs[0].file_name == "dts.mu2e.CeEndpoint.MDC2025ab_best_v1_3.{run:06d}_{subrun:08d}.art"
    )
    assert primary.events == 5000
    assert {item.name: len(item.files) for item in mix.inputs} == {"signal": 0, "mubeam": 8, "elebeam": 8}
    assert all(item.reuse for item in (*primary.inputs, *mix.inputs) if item.stage is None)
    assert ("MU2E_RELEASE", "MDC2025ab") in plan.stage("merge_mcs").environment
    for stage in plan.stages:
        assert os.access(stage.script, os.X_OK)
    assert CampaignPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
