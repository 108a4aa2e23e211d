"""`prodsys validate`, `prodsys plan`, `prodsys schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from include.campaign.plan import CampaignPlan
from include.cli import app

if TYPE_CHECKING:
    from pathlib import Path

SPEC = """\
version: 1
runs: {first: 1, last: 9}
slices: 2
subruns: 4
stages:
  gen:
    script: gen.sh
    output: "g.{run:06d}_{subrun:08d}.root"
    tree: t
    jobsub_options: [--site, Fermigrid]
merge:
  gen:
    output: "m.{run:06d}_{subrun:08d}.root"
"""


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """A folder with two campaigns."""
    folder = tmp_path / "my specs" / "demo"
    folder.mkdir(parents=True)
    (folder / "gen.sh").write_text("#!/bin/sh\n")
    (folder / "gen.sh").chmod(0o755)
    (folder / "a.yaml").write_text(SPEC)
    (folder / "b.yaml").write_text(SPEC.replace("first: 1, last: 9", "first: 11, last: 19"))
    return folder.parent


def prodsys(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_validate_all(specs: Path) -> None:
    result = prodsys("validate", "--specs", specs)
    assert result.exit_code == 0
    assert "a.yaml: good, stages: 1, merges: 1, 2 x 4 subruns, runs 1..9; a dag_run: 8 jobs" in result.stdout
    assert result.stdout.endswith("2 good, 0 broken\n")


def test_validate_shows_every_error_of_every_file(specs: Path) -> None:
    (specs / "demo" / "a.yaml").write_text(SPEC.replace("slices", "slcies").replace("tree: t", "memory: 5"))
    (specs / "demo" / "c.yaml").write_bytes(b"\xff")
    result = prodsys("validate", "--specs", specs)
    assert result.exit_code == 1
    assert [line.partition(str(specs) + "/demo/")[2][:20] for line in result.stderr.splitlines()[:-1]] == [
        "a.yaml:3:1: unknown ", "a.yaml:9:13: stages.", "a.yaml:12:3: hadd me", "c.yaml:1:1: not UTF-",
    ]  # fmt: skip
    assert result.stderr.endswith("1 good, 2 broken\n")
    assert "b.yaml: good" in result.stdout


def test_validate_sees_clashes_between_campaigns(specs: Path) -> None:
    (specs / "demo" / "b.yaml").write_text(SPEC)
    result = prodsys("validate", specs / "demo" / "b.yaml")
    assert result.exit_code == 1
    assert "b.yaml:2:1: runs 1..9 overlap runs 1..9 of demo.a" in result.stderr
    assert "a.yaml:2:1: runs 1..9 overlap" not in result.stderr


@pytest.mark.parametrize("what", ["demo/a.yaml", "demo", "."])
def test_validate_a_file_or_folder(specs: Path, what: str) -> None:
    result = prodsys("validate", specs / what)
    assert result.exit_code == 0, result.output
    assert "a.yaml: good" in result.stdout


def test_specs_and_area_from_the_environment(specs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODSYS_SPECS", str(specs))
    monkeypatch.setenv("PRODSYS_AREA", "/data/area")
    assert prodsys("validate").exit_code == 0
    assert "/data/area/outstage/demo/a" in prodsys("plan", "demo.a").stdout


def test_plan_table(specs: Path) -> None:
    result = prodsys("plan", "demo.a", "--specs", specs, "--run", 3)
    assert result.exit_code == 0, result.output
    for text in ("g.000003_00000000.root", "m.000003_00000000.root", "merge_gen", "by size", "8 jobs a stage",
                 "a dag_run: 8 jobs and their merges; up to",
                 "-N 4", "--site Fermigrid", "demo.a/DAG_RUN/000003/gen/recovery-0",
                 "up to 2 recoveries, then asks"):  # fmt: skip
        assert text in result.stdout


def test_plan_json(specs: Path) -> None:
    result = prodsys("plan", "demo/a", "--json", "--specs", specs)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    plan = CampaignPlan.from_dict(found["plan"])
    assert (plan.dag_id, found["run"]) == ("demo.a", 1)
    assert (found["cost"]["jobs"], found["cost"]["dag_runs"]) == (8, 4)
    gen, merge = found["stages"]
    assert (gen["jobs"], merge["jobs"]) == (4, None)
    assert gen["outputs"] == ["g.000001_00000000.root"]
    assert gen["command"][0] == "jobsub_submit"
    assert gen["command"][-4:] == ["Fermigrid", "file://WORK_DIR/prodsys_job.py", "run", "job.json"]


def test_plan_of_a_broken_campaign(specs: Path) -> None:
    (specs / "demo" / "a.yaml").write_text(SPEC.replace("subruns: 4", "subruns: four"))
    result = prodsys("plan", specs / "demo" / "a.yaml")
    assert result.exit_code == 1
    assert "a.yaml:4:10: subruns must be a whole number, not 'four'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["plan", "demo.aa"], "did you mean"), (["plan", "none/x.yaml"], "does not exist"),
     (["plan", "demo.a", "--run", "99"], "is not in 1..9"), (["validate", "none"], "does not exist"),
     (["plan"], "Missing argument"), (["validate", "--specs", "none"], "cannot be read")],
)  # fmt: skip
def test_wrong_usage_exits_with_2(
    specs: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], text: str
) -> None:
    monkeypatch.setenv("PRODSYS_SPECS", str(specs))
    monkeypatch.chdir(specs.parent)
    result = prodsys(*arguments)
    assert result.exit_code == 2
    assert text in " ".join(result.stderr.replace("│", " ").split())  # typer draws a box round it


def test_schema(specs: Path) -> None:
    shown = prodsys("schema")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["title"] == "prodsys campaign"
    assert prodsys("schema", "--write", "--specs", specs).exit_code == 0
    assert (specs / "schema.json").read_text() == shown.stdout
    assert prodsys("schema", "--write", "--specs", specs / "none").exit_code == 2
