"""Plans for tests of data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from include.bookkeeping.records import OutputRecord
from include.campaign.plan import CampaignPlan, InputPlan, OutputPlan, ResourcesPlan, StagePlan
from include.campaign.states import OutputState

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stage() -> StagePlan:
    """A stage with one output and no inputs."""
    output = OutputPlan(
        name="default", file_name="a_{subrun}.root", tree=None, events=None, keep="until-merged"
    )
    return StagePlan(
        name="mix",
        parents=(),
        script="/spec/mix.py",
        arguments=(),
        files=(),
        environment=(),
        resources=ResourcesPlan(memory_mb=1, disk_kb=1, cpus=1, lifetime_s=1),
        inputs=(),
        outputs=(output,),
        checks=(),
        success_threshold=1.0,
        hold_limit_s=1,
        unknown_limit_s=1,
        jobsub_options=(),
        merge=None,
    )


@pytest.fixture
def plan(stage: StagePlan, tmp_path: Path) -> CampaignPlan:
    """A plan of that stage, its areas below the temporary folder."""
    return CampaignPlan(
        version=1,
        experiment="demo",
        campaign="z",
        description="",
        owner="demo",
        phase="production",
        tags=(),
        schedule=None,
        group="demo",
        role=None,
        first_run=7,
        last_run=7,
        slices=1,
        subruns=4,
        first_subrun=0,
        stages=(stage,),
        outstage=str(tmp_path / "outstage"),
        logs=str(tmp_path / "logs"),
        cleanup_script=None,
        spec_file="z.yaml",
        spec_sha256="0" * 64,
    )


@pytest.fixture
def make_record(tmp_path: Path):
    """Return a function that makes the record of a subrun's accepted output."""

    def make(subrun: int, **changes: object) -> OutputRecord:
        record = OutputRecord(
            execution=f"1.{subrun}.1-00000000",
            stage="mix",
            name="default",
            run=7,
            first_subrun=subrun,
            last_subrun=subrun,
            path=str(tmp_path / "outstage" / f"a_{subrun}.root"),
            size=5,
            sha256="0" * 64,
            adler32="0" * 8,
            events=None,
            state=OutputState.ACCEPTED,
        )
        return replace(record, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_input():
    """Return a function that makes an input: of a stage unless files are given."""

    def make(name: str, **changes: object) -> InputPlan:
        given = InputPlan(name=name, stage="gen", output="default", select="same", files=(), per_job=1)
        return replace(given, **changes)  # type: ignore[arg-type]

    return make
