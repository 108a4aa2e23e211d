"""The example campaigns' scripts, run by the real job program in the physics environment."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
PHYSICS = Path(os.environ.get("PRODSYS_PHYSICS", CHECKOUT / ".prodsys" / "physics"))
JOB = CHECKOUT / "include" / "worker" / "prodsys_job.py"
SPECS = CHECKOUT / "campaign_specs" / "demo"
RUN = 1234


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Runs single jobs of one example campaign, with what its spec says of the stage."""

    spec: dict[str, Any]
    base: Path

    def job(self, stage: str, subruns: tuple[int, int], inputs: dict[str, list[str]], tag: str = "") -> str:
        """Run one job, and return the path of its output."""
        merge = self.spec["merge"]["reco"] if stage == "merge_reco" else None
        keys = merge or self.spec["stages"][stage]
        folder = self.base / f"{stage}{subruns[0]}{tag}"
        folder.mkdir()
        document = {
            "version": 1,
            "tag": f"test/{stage}",
            "experiment": "demo",
            "campaign": "test",
            "stage": stage,
            "run": RUN,
            "script": keys.get("script"),
            "arguments": [str(item) for item in keys.get("arguments", [])],
            "environment": {},
            "events": keys.get("events"),
            "units": [{"first_subrun": subruns[0], "last_subrun": subruns[1], "inputs": inputs}],
            "outputs": [{"name": "default", "file_name": stage + "{run:06d}_{subrun:08d}.root"}],
            "outstage": str(folder / "out"),
            "logs": str(folder / "logs"),
            "merge": {"method": merge["method"]} if merge else None,
        }
        (folder / "job.json").write_text(json.dumps(document))
        environment = {
            "PATH": f"{PHYSICS / 'bin'}:/usr/bin:/bin",
            "CONDOR_DIR_INPUT": str(SPECS),
            "_CONDOR_SCRATCH_DIR": str(folder),
        }
        done = subprocess.run(
            [sys.executable, str(JOB), "run", str(folder / "job.json")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout
        (report,) = (json.loads(path.read_text()) for path in folder.glob("logs/*/report.json"))
        (output,) = report["outputs"]
        if not (merge and merge["method"] == "hadd"):
            assert output["events"] == len(read(output["path"])["run"])
        return str(output["path"])


def campaign(name: str, base: Path) -> Campaign:
    if not (PHYSICS / "bin" / "python3").exists():
        pytest.fail(f"there is no physics environment in {PHYSICS}: run make setup, or set PRODSYS_PHYSICS")
    return Campaign(spec=yaml.safe_load((SPECS / f"{name}.yaml").read_text()), base=base)


def read(path: str) -> dict[str, Any]:
    """Return every branch of the tree."""
    with uproot.open(path) as file:
        tree = file["events"]
        return {name: tree[name].array(library="np") for name in tree.keys()}  # noqa: SIM118  not a dict


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two trees have the same content, jagged branches included."""
    if set(first) != set(second):
        return False
    pairs = ((first[name], second[name]) for name in first)
    return all(
        len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
        for one, other in pairs
    )


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Outputs of the Pythia campaign for two subruns, merged; and its campaign."""
    pythia = campaign("pythia", tmp_path_factory.mktemp("pythia"))
    files: dict[str, Any] = {"campaign": pythia}
    for stage in ("gen", "minbias"):
        files[stage] = [pythia.job(stage, (subrun, subrun), {}) for subrun in (0, 1)]
    files["mix"] = [
        pythia.job("mix", (subrun, subrun), {"signal": [files["gen"][subrun]], "pileup": files["minbias"]})
        for subrun in (0, 1)
    ]
    files["reco"] = [
        pythia.job("reco", (subrun, subrun), {"crossings": [files["mix"][subrun]]}) for subrun in (0, 1)
    ]
    files["merged"] = pythia.job("merge_reco", (0, 1), {"files": files["reco"]})
    return files


@pytest.mark.parametrize("stage", ["gen", "minbias", "mix", "reco"])
def test_events_are_numbered_without_gaps(chain: dict[str, Any], stage: str) -> None:
    wanted = chain["campaign"].spec["stages"][stage]["events"]
    for subrun, path in enumerate(chain[stage]):
        tree = read(path)
        assert tree["event"].tolist() == list(range(1, wanted + 1))
        assert set(tree["subrun"].tolist()) == {subrun}
        assert set(tree["run"].tolist()) == {RUN}
        assert {tree[name].dtype for name in ("run", "subrun", "event")} == {np.dtype("int32")}


def test_the_same_seed_gives_the_same_content(chain: dict[str, Any]) -> None:
    pythia = chain["campaign"]
    again = {stage: pythia.job(stage, (0, 0), {}, tag="again") for stage in ("gen", "minbias")}
    inputs = {"signal": [again["gen"]], "pileup": [again["minbias"], chain["minbias"][1]]}
    again["mix"] = pythia.job("mix", (0, 0), inputs, tag="again")
    again["reco"] = pythia.job("reco", (0, 0), {"crossings": [again["mix"]]}, tag="again")
    for stage, path in again.items():
        assert same(read(path), read(chain[stage][0])), stage
        assert not same(read(path), read(chain[stage][1])), stage


def test_particles_are_physical(chain: dict[str, Any]) -> None:
    for path in (*chain["gen"], *chain["minbias"]):
        tree = read(path)
        px, py, pz, energy = (
            np.concatenate(list(tree[f"particle_{name}"])) for name in ("px", "py", "pz", "e")
        )
        assert (energy > 0).all()
        assert (energy < 6800).all()
        mass2 = energy.astype("f8") ** 2 - px.astype("f8") ** 2 - py.astype("f8") ** 2 - pz.astype("f8") ** 2
        assert (mass2 > -1e-5 * energy.astype("f8") ** 2).all()
        assert (np.hypot(px, py) > 0.19).all()
    assert 13 in np.abs(np.concatenate(list(read(chain["gen"][0])["particle_pdg"])))


def test_mixing_adds_the_mean_and_keeps_the_signal(chain: dict[str, Any]) -> None:
    mean = float(chain["campaign"].spec["stages"]["mix"]["arguments"][-1])
    numbers = np.concatenate([read(path)["npileup"] for path in chain["mix"]])
    assert abs(numbers.mean() - mean) < 5 * math.sqrt(mean / len(numbers))
    assert numbers.std() > 1
    for signal_path, mixed_path in zip(chain["gen"], chain["mix"], strict=True):
        signal, mixed = read(signal_path), read(mixed_path)
        for index in range(len(signal["event"])):
            origin = mixed["particle_origin"][index]
            assert origin.max() <= mixed["npileup"][index]
            for name in ("px", "py", "pz", "e", "pdg"):
                kept = mixed[f"particle_{name}"][index][origin == 0]
                assert np.array_equal(kept, signal[f"particle_{name}"][index])
        assert np.array_equal(mixed["weight"], signal["weight"])


def test_jets_and_muons_are_sane(chain: dict[str, Any]) -> None:
    trees = [read(path) for path in chain["reco"]]
    jets = {
        name: np.concatenate([np.concatenate(list(tree[f"jet_{name}"])) for tree in trees])
        for name in ("pt", "eta", "phi", "m", "area", "pt_raw")
    }
    assert len(jets["pt"]) > 50
    assert (jets["pt"] > 20).all()
    assert (jets["pt"] < jets["pt_raw"]).all()
    assert (np.abs(jets["eta"]) < 4).all()
    assert (np.abs(jets["phi"]) <= math.pi + 1e-4).all()
    assert abs(np.median(jets["area"]) - math.pi * 0.4**2) < 0.08
    mass = np.concatenate([tree["dimuon_m"] for tree in trees])
    found = mass[mass > 0]
    assert len(found) > 20
    assert abs(np.median(found) - 91.2) < 2
    for tree in trees:
        assert (tree["rho"] > 1).all()
        for pts, leading in zip(tree["jet_pt"], tree["leading_jet_pt"], strict=True):
            assert list(pts) == sorted(pts, reverse=True)
            assert leading == (pts[0] if len(pts) else -1)


def test_hadd_keeps_every_event_in_order(chain: dict[str, Any]) -> None:
    parts, merged = [read(path) for path in chain["reco"]], read(chain["merged"])
    for name in merged:
        one_by_one = [entry for part in parts for entry in part[name]]
        assert len(one_by_one) == len(merged[name])
        assert all(np.array_equal(a, b) for a, b in zip(one_by_one, merged[name], strict=True)), name


def test_the_quick_campaign_and_its_own_merge_script(tmp_path: Path) -> None:
    quick = campaign("quick", tmp_path)
    reco = []
    for subrun in (0, 1, 2):
        source = quick.job("gen", (subrun, subrun), {})
        reco.append(quick.job("reco", (subrun, subrun), {"signal": [source]}))
    merged = read(quick.job("merge_reco", (0, 2), {"files": reco}))
    events = quick.spec["stages"]["reco"]["events"]
    assert merged["subrun"].tolist() == [subrun for subrun in (0, 1, 2) for _ in range(events)]
    assert merged["event"].tolist() == list(range(1, events + 1)) * 3
    assert abs(merged["mass"].mean() - 91.2) < 3
    with pytest.raises(AssertionError, match="subruns from 0 after 1"):
        quick.job("merge_reco", (0, 1), {"files": reco[1::-1]}, tag="wrong")
