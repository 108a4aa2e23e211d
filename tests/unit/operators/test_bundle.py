"""One DAG file a campaign: what the bundle writes, keeps and removes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from airflow.dag_processing.dagbag import DagBag

from prodsys_operators.bundle import CampaignBundle

if TYPE_CHECKING:
    from pathlib import Path

    from prodsys_operators.settings import Settings

BROKEN = 7


@pytest.fixture
def bundle(specs: Path, tmp_path: Path) -> CampaignBundle:
    return CampaignBundle(name="campaigns", specs=str(specs), dags=str(tmp_path / "dags"))


def test_a_changed_spec_changes_its_file_and_no_other(bundle: CampaignBundle, specs: Path) -> None:
    spec = specs / "unit" / "three.yaml"
    (specs / "unit" / "other.yaml").write_text(spec.read_text())
    bundle.refresh()
    before = {file.name: file.stat().st_mtime_ns for file in bundle.path.glob("*/*.py")}
    spec.write_text(spec.read_text().replace("Three", "3"))
    bundle.refresh()
    after = {file.name: file.stat().st_mtime_ns for file in bundle.path.glob("*/*.py")}
    assert after["three.py"] != before["three.py"]
    assert after["other.py"] == before["other.py"]


def test_the_dag_processor_imports_once_what_every_dag_file_imports(specs: Path, tmp_path: Path) -> None:
    # In a process of its own: this one has imported it long ago.
    program = (
        "import sys\n"
        "from prodsys_operators.bundle import CampaignBundle\n"
        "bundle = CampaignBundle(name='campaigns', specs=sys.argv[1], dags=sys.argv[2])\n"
        "bundle.initialize()\n"
        "print('prodsys_operators.campaign_dag' in sys.modules)\n"
        "bundle.refresh()\n"
        "print('prodsys_operators.campaign_dag' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(specs), str(tmp_path / "dags")],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-2:] == ["False", "True"]


def test_a_removed_spec_takes_its_file_along_but_nothing_that_is_not_ours(
    bundle: CampaignBundle, specs: Path
) -> None:
    (specs / "unit" / "other.yaml").write_text("version: 1")
    bundle.refresh()
    mine = bundle.path / "unit" / "by_hand.py"
    mine.write_text("# not generated")
    (specs / "unit" / "other.yaml").unlink()
    bundle.refresh()
    assert {file.name for file in bundle.path.glob("*/*.py")} == {"three.py", "by_hand.py"}


def test_an_empty_folder_of_specs_removes_nothing(bundle: CampaignBundle, specs: Path) -> None:
    bundle.refresh()
    (specs / "unit" / "three.yaml").unlink()
    bundle.refresh()
    assert (bundle.path / "unit" / "three.py").exists()


def test_a_task_neither_changes_nor_removes_files(bundle: CampaignBundle, specs: Path) -> None:
    bundle.refresh()
    before = (bundle.path / "unit" / "three.py").read_text()
    (specs / "unit" / "three.yaml").write_text("version: 1")
    bundle.initialize()
    assert (bundle.path / "unit" / "three.py").read_text() == before


def test_specs_that_cannot_be_listed_leave_everything_as_it_is(
    bundle: CampaignBundle, specs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle.refresh()
    os.rename(specs, specs.with_name("away"))  # noqa: PTH104
    bundle.refresh()
    bundle.initialize()
    assert (bundle.path / "unit" / "three.py").exists()
    assert "cannot be listed" in caplog.text


@pytest.mark.usefixtures("deployment")
def test_of_fifty_campaigns_the_broken_one_alone_is_missing(bundle: CampaignBundle, specs: Path) -> None:
    text = (specs / "unit" / "three.yaml").read_text()
    (specs / "unit" / "three.yaml").unlink()
    for number in range(50):
        broken = text.replace("stages:", "stagse:") if number == BROKEN else text
        (specs / "unit" / f"c{number:02d}.yaml").write_text(broken)
    bundle.initialize()
    bag = DagBag(dag_folder=str(bundle.path), bundle_path=bundle.path, bundle_name="campaigns")
    campaigns = [f"unit.c{number:02d}" for number in range(50) if number != BROKEN]
    assert sorted(bag.dag_ids) == ["prodsys_truth", *campaigns]
    (error,) = bag.import_errors.items()
    assert error[0].endswith("c07.py")
    assert "stagse" in error[1]


def test_the_dag_is_the_campaign(deployment: Settings) -> None:
    from prodsys_operators.campaign_dag import compile_campaign

    dag = compile_campaign("unit/three.yaml")
    assert dag.dag_id == "unit.three"
    assert dag.get_task("slice.reco.submit").upstream_task_ids == {"slice.gen.recover", "reserve"}
    assert dag.get_task("slice.merge_reco.plan").upstream_task_ids == {"slice.reco.recover", "reserve"}
    assert dag.get_task("slice.merge_reco.plan").after == {"gen", "reco"}
    assert dag.get_task("slice.gen.submit").after == frozenset()
    assert dag.get_task("slice.cleanup").upstream_task_ids == {"slice.merge_reco.recover", "reserve"}
    assert dag.leaves == [dag.get_task("report")]
    assert {str(task.weight_rule) for task in dag.tasks if task.task_id.startswith("slice")} == {"upstream"}
    assert deployment.specs


def test_a_hostile_file_name_is_text_and_a_pipe_is_not_opened(bundle: CampaignBundle, specs: Path) -> None:
    name = 'x\nraise SystemExit("ran") #.yaml'
    (specs / "unit" / name).write_text("version: 1")
    (specs / "unit" / os.fsdecode(b"\xff.yaml")).write_text("version: 1")
    os.mkfifo(specs / "unit" / "pipe.yaml")
    bundle.refresh()
    written = [file.read_text(encoding="ascii") for file in bundle.path.glob("*/*.py")]
    assert len(written) == 4
    assert not any(line.startswith("raise") for text in written for line in text.splitlines())
