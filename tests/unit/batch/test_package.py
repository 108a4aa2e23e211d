"""job.json and the request made from a plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from include.batch.jobsub import JobsubSubmitter
from include.batch.package import Beside, LogTarget, build_job, request_preview
from include.bookkeeping.records import RequestChanges, Unit
from include.campaign.plan import (
    CampaignPlan,
    InputPlan,
    MergePlan,
    NodePlan,
    OutputPlan,
    ResourcesPlan,
    StagePlan,
)
from include.errors import SpecError, SubmissionRefused

TAG = "demo.z/t1/001000/gen/recovery-0"
UNITS = tuple(
    Unit(process=n, first_subrun=n + 5, last_subrun=n + 5, inputs=(("signal", (f"/in/{n}.root",)),))
    for n in range(3)
)


def stage(**changes: object) -> StagePlan:
    plain = StagePlan(
        name="gen",
        parents=(),
        script="/specs/it's a demo/gen.py",
        arguments=("--seed", "{seed}", 'a "b" c\\d'),
        files=("/specs/table.txt",),
        events=100,
        environment=(("TEXT", 'any "value"; $HOME\n'),),
        resources=ResourcesPlan(memory_mb=500, disk_kb=2048, cpus=1, lifetime_s=600),
        inputs=(
            InputPlan(
                name="signal", stage=None, output=None, select="same", files=("/in/0.root",), per_job=1
            ),
        ),
        outputs=(
            OutputPlan(
                name="default", file_name="o.{subrun:08d}.root", tree="events", events=100, keep="forever"
            ),
        ),
        checks=("exit",),
        success_threshold=0.9,
        hold_limit_s=3600,
        unknown_limit_s=1800,
        jobsub_options=("--onsite",),
        merge=None,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def plan(*stages: StagePlan) -> CampaignPlan:
    return CampaignPlan(
        version=1,
        experiment="demo",
        campaign="z",
        description="",
        owner="demo",
        phase="commissioning",
        tags=(),
        schedule=None,
        group="demo",
        role=None,
        first_run=1000,
        last_run=1999,
        slices=3,
        subruns=8,
        first_subrun=0,
        stages=stages,
        outstage="/out",
        logs="/logs",
        cleanup_script=None,
        spec_file="campaign_specs/demo/z.yaml",
        spec_sha256="0",
    )


def test_job_file_follows_the_contract(tmp_path: Path) -> None:
    request = build_job(
        plan(stage()), stage(), slice_run=1000, units=UNITS, tag=TAG, work_dir=tmp_path / 'w "o" rk'
    )
    JobsubSubmitter().command(request)
    text = Path(request.files[0]).read_text()
    job = json.loads(text)
    lines = text.splitlines()
    first = lines.index(' "units": [') + 1
    assert [json.loads(line.rstrip(",")) for line in lines[first:-2]] == job["units"], "a line each, and last"
    assert set(job) == {
        *("version", "tag", "experiment", "campaign", "stage", "run", "script", "arguments", "environment"),
        *("events", "units", "outputs", "outstage", "logs", "merge", "node", "log_server"),
    }
    assert job["script"] == "gen.py"
    assert job["arguments"] == ["--seed", "{seed}", 'a "b" c\\d']
    assert job["environment"] == {"TEXT": 'any "value"; $HOME\n'}
    inputs = {"signal": ["/in/2.root"]}
    assert job["units"][2] == {"first_subrun": 7, "last_subrun": 7, "inputs": inputs, "sums": {}}
    assert job["node"] is None
    assert job["outputs"] == [
        {"name": "default", "file_name": "o.{subrun:08d}.root", "tree": "events", "events": 100}
    ]
    assert job["events"] == 100
    assert job["outstage"].startswith("/out/gen/001000/")
    assert job["merge"] is None
    assert request.arguments == ("run", "job.json")
    assert request.jobs == 3
    assert Path(request.executable).name == "prodsys_job.py"
    assert request.files[1:] == ("/specs/it's a demo/gen.py", "/specs/table.txt")


def test_a_recovery_s_changes_and_what_is_known_of_inputs_are_sent(tmp_path: Path) -> None:
    beside = Beside(
        changes=RequestChanges(memory_mb=1234, machines=("wn1.x",)),
        sums={"/in/2.root": (10, "0a0b0c0d"), "/elsewhere": (1, "00000001")},
        excluded_machines=("wn1.x",),
    )
    node = NodePlan(cvmfs=(("demo.example.org", 7),), scratch_mb=500, guard_s=60)
    request = build_job(
        plan(),
        replace(stage(), node=node),
        slice_run=1000,
        units=UNITS,
        tag=TAG,
        work_dir=tmp_path,
        beside=beside,
    )
    job = json.loads(Path(request.files[0]).read_text())
    assert job["units"][2]["sums"] == {"/in/2.root": [10, "0a0b0c0d"]}
    assert job["node"] == {"cvmfs": {"demo.example.org": 7}, "scratch_mb": 500, "guard_s": 60}
    assert (request.memory_mb, request.disk_kb) == (1234, stage().resources.disk_kb)
    assert request.excluded_machines == ("wn1.x",)


def test_sent_job_file_is_never_changed(tmp_path: Path) -> None:
    first = build_job(plan(), stage(), slice_run=1000, units=UNITS, tag=TAG, work_dir=tmp_path)
    text = Path(first.files[0]).read_text()
    assert build_job(plan(), stage(), slice_run=1000, units=UNITS, tag=TAG, work_dir=tmp_path) == first
    other = build_job(plan(), stage(), slice_run=1000, units=UNITS[:2], tag=TAG, work_dir=tmp_path)
    assert other.files[0] != first.files[0]
    assert Path(other.files[0]).name == "job.json"
    assert Path(first.files[0]).read_text() == text
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("clash", ["/elsewhere/gen.py", "/elsewhere/job.json"])
def test_equal_base_names_are_refused_before_anything_is_written(tmp_path: Path, clash: str) -> None:
    with pytest.raises(SpecError, match=r"demo/z\.yaml: stage gen: 2 files are all called") as error:
        build_job(plan(), stage(files=(clash,)), slice_run=1000, units=UNITS, tag=TAG, work_dir=tmp_path)
    assert clash in str(error.value)
    assert not list(tmp_path.iterdir())


def test_the_script_may_also_be_listed_as_a_file(tmp_path: Path) -> None:
    twice = stage(files=(stage().script,))
    request = build_job(plan(), twice, slice_run=1000, units=UNITS, tag=TAG, work_dir=tmp_path)
    assert len(request.files) == 2


def test_preview_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    merge = stage(
        name="merge_gen",
        script="",
        files=(),
        merge=MergePlan(of_stage="gen", of_output="default", target_bytes=10, method="hadd"),
    )
    campaign = plan(stage(), merge)
    request = request_preview(campaign, stage())
    assert (request.jobs, request.tag) == (8, "demo.z/DAG_RUN/001000/gen/recovery-0")
    assert request_preview(campaign, merge).files == ("/WORK_DIR/job.json",)
    assert not list(tmp_path.iterdir())


def test_folder_that_jobsub_would_change_is_refused_by_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "work of 'one' submission"
    request = build_job(plan(stage()), stage(), slice_run=1000, units=UNITS, tag=TAG, work_dir=folder)
    with pytest.raises(SubmissionRefused, match="single quotes"):
        JobsubSubmitter().command(request)


def test_jobs_are_told_where_their_log_goes(tmp_path: Path) -> None:
    for number, target in enumerate((None, LogTarget(url="https://logs", token=TAG))):
        request = build_job(
            plan(stage()), stage(), slice_run=1000, units=UNITS, tag=TAG, work_dir=tmp_path / str(number),
            beside=Beside(log_target=target),
        )  # fmt: skip
        job = json.loads(Path(request.files[0]).read_text())
        assert job["log_server"] == (target and {"url": "https://logs", "token": TAG})
