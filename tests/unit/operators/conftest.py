"""A deployment without Airflow's processes: settings, a SQLite ledger, a pool and a submitter that count."""

from __future__ import annotations

import textwrap
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FakePool
from include.campaign.states import SubrunState
from prodsys_operators import recover as recover_module
from prodsys_operators import settings as settings_module
from prodsys_operators.scope import Scope
from prodsys_operators.submit import SubmitOperator
from tests.unit.operators.recovering import ITEM, SCHEDD, Submitter, context, judged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPEC = """
version: 1
description: Three subruns
owner: tests
runs: {first: 10, last: 19}
slices: 2
subruns: 3
defaults: {memory: 100 MB, disk: 100 MB, lifetime: 10 min, success_threshold: 0.6}
stages:
  gen:
    script: job.sh
    output: "dts.tests.three.v1.{run:06d}_{subrun:08d}.root"
    tree: events
    events: 5
  reco:
    script: job.sh
    inputs: {signal: gen}
    output: "mcs.tests.three.v1.{run:06d}_{subrun:08d}.root"
    tree: events
    events: 5
merge:
  reco:
    output: "mcs.tests.merged.v1.{run:06d}_{subrun:08d}.root"
    target_size: 1 GB
"""


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """A folder with one campaign, `unit.three`."""
    folder = tmp_path / "specs" / "unit"
    folder.mkdir(parents=True)
    (folder / "three.yaml").write_text(textwrap.dedent(SPEC), encoding="utf-8")
    script = folder / "job.sh"
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o755)
    return folder.parent


@pytest.fixture
def deployment(
    specs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[settings_module.Settings]:
    """The settings of a deployment in a temporary folder, its ledger made."""
    values = {
        "SPECS": str(specs),
        "AREA": str(tmp_path / "area"),
        "WORK_DIR": str(tmp_path / "work"),
        "LEDGER": f"sqlite:///{tmp_path / 'ledger.db'}",
        "SUBMIT_GRACE": "0",
    }
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    for name, value in values.items():
        monkeypatch.setenv(f"AIRFLOW__PRODSYS__{name}", value)
    settings_module.settings.cache_clear()
    made = settings_module.settings()
    with made.open_ledger() as ledger:
        ledger.upgrade()
    yield made
    settings_module.settings.cache_clear()


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePool:
    fake = FakePool(str(tmp_path / "pool.json"), (SCHEDD,))
    monkeypatch.setattr(settings_module.Settings, "open_pool", lambda _self: nullcontext(fake))
    monkeypatch.setattr(settings_module.Settings, "open_submitter", lambda _self: Submitter(fake))
    return fake


@pytest.fixture
def scope(deployment: settings_module.Settings, pool: FakePool) -> Iterator[Scope]:
    """The first slice of a dag_run of `unit.three`."""
    from prodsys_operators.campaign_dag import load_plan, spec_path

    plan = load_plan(spec_path("unit/three.yaml"), specs=spec_path("."), area=deployment.area)
    with deployment.open_ledger() as ledger:
        (first,) = ledger.reserve(plan, tranche="t", dag_run_id="t", slices=1, now=1.0)
        yield Scope(settings=deployment, ledger=ledger, plan=plan, slice=first)


@pytest.fixture
def first_failed(scope: Scope) -> None:
    """Its first submission of gen has failed in all three subruns."""
    SubmitOperator(task_id="submit", stage="gen", slice_item=ITEM).execute(context())
    judged(scope, 0, SubrunState.MISSING)


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of what was asked."""
    asked: list[str] = []
    monkeypatch.setattr(recover_module, "upsert_hitl_detail", lambda **words: asked.append(words["body"]))
    return asked
