"""The node is looked at before anything else runs, and a bad one does not become a black hole."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

EXPERIMENT = "demo.opensciencegrid.org"
OTHER = "other.opensciencegrid.org"


@pytest.fixture
def repository(job: Any) -> Callable[..., Path]:
    """Return a function that makes a folder that looks like a mounted repository."""
    root = job.base / "cvmfs"
    job.environment["PRODSYS_CVMFS_ROOT"] = str(root)

    def make(name: str, revision: int | None = None) -> Path:
        folder = root / name
        (folder / "products").mkdir(parents=True)
        (folder / "new_repository").write_text("x")
        if revision is not None:
            os.setxattr(folder, "user.revision", str(revision).encode())
        return folder

    return make


def failed(job: Any, *, guard_s: float = 0.0, options: tuple[str, ...] = ()) -> tuple[str, float]:
    """Run a job whose node is not fit; return the error and the seconds that it took."""
    job.document["node"] = {"scratch_mb": None, **job.document.get("node", {}), "guard_s": guard_s}
    job.good_script(f'touch "{job.base}/ran"\n')
    begun = time.monotonic()
    code, text = job.run(*options)
    took = time.monotonic() - begun
    report = job.report()
    assert code == 85, text
    assert (report["failed_at"], report["exit_code"], report["exit_signal"]) == ("node", None, None)
    assert (report["first_subrun"], report["outputs"]) == (3, [])
    assert job.published() == []
    assert not (job.base / "ran").exists()
    assert took >= guard_s
    return report["error"], took


@pytest.mark.parametrize("least", [0, 41, 42])
def test_fit_node(job: Any, repository: Callable[..., Path], least: int) -> None:
    repository(EXPERIMENT, 42)
    job.document["node"] = {"cvmfs": {EXPERIMENT: least}, "scratch_mb": 1, "guard_s": 600}
    job.good_script()
    code, text = job.run()
    assert code == 0, text
    facts = job.report()["node"]
    assert facts["cvmfs"] == {EXPERIMENT: {"revision": 42, "problem": None}}
    assert facts["scratch_free_mb"] >= 1


def test_stale_revision(job: Any, repository: Callable[..., Path]) -> None:
    folder = repository(EXPERIMENT, 41)
    repository(OTHER, 7)
    job.document["node"] = {"cvmfs": {EXPERIMENT: 42, OTHER: 7}}
    error, _ = failed(job)
    host = os.uname().nodename
    assert error == f"node {host} is not fit: {folder} is at revision 41, at least 42 is wanted"
    assert job.report()["node"]["cvmfs"][EXPERIMENT] == {"revision": 41, "problem": None}


def test_revision_that_is_not_told(job: Any, repository: Callable[..., Path]) -> None:
    folder = repository(EXPERIMENT)
    job.document["node"] = {"cvmfs": {EXPERIMENT: 1}}
    assert f"{folder} does not tell its revision, at least 1 is wanted" in failed(job)[0]
    job.document["node"]["cvmfs"][EXPERIMENT] = 0
    assert job.run()[0] == 0


def test_missing_repositories_are_all_named(job: Any, repository: Callable[..., Path]) -> None:
    root = repository(EXPERIMENT, 1).parent
    (root / OTHER).mkdir()
    job.document["node"] = {"cvmfs": {"no.such.org": 0, OTHER: 0, EXPERIMENT: 0}}
    error, _ = failed(job)
    assert f"{root}/no.such.org is not mounted: there is no such folder" in error
    assert f"{root}/{OTHER} is not mounted: the folder is empty" in error
    assert EXPERIMENT not in error


def test_repository_that_cannot_be_read(job: Any, repository: Callable[..., Path]) -> None:
    folder = repository(EXPERIMENT, 3)
    link = folder.parent / OTHER
    link.symlink_to(link)
    job.document["node"] = {"cvmfs": {OTHER: 0}}
    assert f"{link} cannot be read: Too many levels of symbolic links" in failed(job)[0]


def test_hung_repository_is_given_up(job: Any, repository: Callable[..., Path]) -> None:
    # Opening a pipe that nobody writes to hangs as reading from a dead FUSE does.
    folder = repository(EXPERIMENT, 3)
    (folder / "new_repository").unlink()
    os.mkfifo(folder / "new_repository")
    repository(OTHER, 8)
    job.document["node"] = {"cvmfs": {EXPERIMENT: 0, OTHER: 0}}
    error, took = failed(job, options=("--look", "2"))
    assert error.endswith(f"is not fit: {folder} did not answer within 2 s")
    assert 2 <= took < 15
    assert job.report()["node"]["cvmfs"][OTHER] == {"revision": 8, "problem": None}


def test_told_to_stop_while_a_repository_hangs(job: Any, repository: Callable[..., Path]) -> None:
    folder = repository(EXPERIMENT, 3)
    (folder / "new_repository").unlink()
    os.mkfifo(folder / "new_repository")
    job.document["node"] = {"cvmfs": {EXPERIMENT: 0}, "guard_s": 600}
    job.good_script()
    process = job.start("--look", "500")
    job.wait_until(lambda: any(job.scratch.glob("prodsys-*/job.log")))
    process.terminate()
    process.communicate(timeout=30)
    report = job.report()
    assert process.returncode == 128 + signal.SIGTERM
    assert (report["failed_at"], report["node"]["cvmfs"][EXPERIMENT]["problem"]) == (
        "script",
        "was not looked at to the end",
    )
    assert "before the script started" in report["error"]


def test_too_little_scratch(job: Any) -> None:
    job.document["node"] = {"cvmfs": {}, "scratch_mb": 10**9}
    error, _ = failed(job)
    assert f"the scratch area {job.scratch} has " in error
    assert error.endswith(" MB free, 1000000000 are wanted")


def test_scratch_that_cannot_be_written(job: Any) -> None:
    job.environment["_CONDOR_SCRATCH_DIR"] = str(job.base / "gone")
    job.document["node"] = {}
    error, _ = failed(job, guard_s=1.0)
    assert f"scratch area failed: No such file or directory: {job.base}/gone/prodsys-" in error
    assert job.report()["log"] is None
    del job.document["node"]
    job.logs = job.document["logs"] = job.base / "logs2"
    job.document["logs"] = str(job.logs)
    assert job.run()[0] == 81, "without the key it is as it was before there was one"
    assert job.report()["failed_at"] == "inputs"


def test_guard_holds_the_node(job: Any, repository: Callable[..., Path]) -> None:
    repository(EXPERIMENT, 1)
    job.document["node"] = {"cvmfs": {EXPERIMENT: 2}}
    _, took = failed(job, guard_s=1.5)
    assert took < 15
    report = job.report()
    assert report["ended"] - report["started"] >= 1.4
    log = Path(report["log"]).read_text()
    assert "prodsys_job: exit 85 looks like this node's fault: waiting " in log
    assert "1.5 s in all, so that it does not fail job after job" in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_guard_ends_on_a_signal(job: Any, number: signal.Signals) -> None:
    job.document["node"] = {"cvmfs": {}, "scratch_mb": 10**9, "guard_s": 600}
    process = job.start()
    job.wait_until(
        lambda: any("waiting" in path.read_text() for path in job.scratch.glob("prodsys-*/job.log"))
    )
    process.send_signal(number)
    process.communicate(timeout=30)
    report = job.report()
    assert process.returncode == 85
    assert report["failed_at"] == "node"
    assert f"told to stop by signal {number.value}: waiting no longer" in Path(report["log"]).read_text()


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 127", 127), ("exit 126", 126), ("kill -BUS $$", 135), ("kill -ILL $$", 132), (None, 127)],
)
def test_guard_after_a_script_that_the_node_fails(job: Any, script: str | None, code: int) -> None:
    job.document["node"] = {"cvmfs": {}, "scratch_mb": None, "guard_s": 1}
    if script:
        job.script(script)
    assert job.run()[0] == code
    report = job.report()
    assert report["failed_at"] == "script"
    assert report["ended"] - report["started"] >= 0.9


def test_no_guard_for_what_the_script_does(job: Any) -> None:
    job.document["node"] = {"cvmfs": {}, "scratch_mb": None, "guard_s": 600}
    job.script("exit 85\n")
    assert job.run()[0] == 85, "a script's own 85 is its own affair"
    assert job.report()["failed_at"] == "script"


def test_no_guard_without_the_key(job: Any) -> None:
    job.document["node"] = None
    assert job.run()[0] == 127
    report = job.report()
    assert "waiting" not in Path(report["log"]).read_text()
    assert report["ended"] - report["started"] < 60


def test_missing_job_file_in_a_job(job: Any) -> None:
    job.write_job_file()
    (job.sent / "job.json").rename(job.sent / "job.jsn")
    process = job.start_only("--guard", "1.2")
    begun = time.monotonic()
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 84
    assert time.monotonic() - begun >= 1.0
    assert b"nothing was brought to this node: waiting 1 s, 1.2 s in all" in text


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        ([], "node of the file is []"),
        ({"cvmfs": ["x.org"]}, "cvmfs of node is ['x.org']"),
        ({"cvmfs": {"x.org": "7"}}, "cvmfs of node: 'x.org': '7' is no repository with a revision"),
        ({"cvmfs": {"../etc": 7}}, "'../etc': 7 is no repository"),
        ({"cvmfs": {"x.org": True}}, "'x.org': True is no repository"),
        ({"scratch_mb": "1"}, "scratch_mb of node is '1'"),
        ({"guard_s": None}, "guard_s of node is None"),
        ({"guard_s": -1}, "guard_s of node is -1, it should be seconds, 0 or more"),
        ({"guard_s": float("nan")}, "guard_s of node is nan"),
        ({"guard_s": float("inf")}, "guard_s of node is inf"),
        ({"guard_s": 10**400}, "guard_s of node is 1000"),
    ],
)
def test_wrong_node_is_a_wrong_job_file(job: Any, node: Any, sentence: str) -> None:
    job.document["node"] = node
    job.good_script()
    assert job.run()[0] == 84
    assert sentence in job.report()["error"]


def test_facts(job: Any, repository: Callable[..., Path]) -> None:
    repository(EXPERIMENT, 5)
    (job.base / "job.ad").write_text('ClusterId = 77\nProcId = 0\nMATCH_GLIDEIN_Site = "FNAL"\n')
    machine = 'Name = "slot1_2@glidein_7@wn1"\nGLIDEIN_Entry_Name = "entry"\nGLIDEIN_Factory = undefined\n'
    (job.base / "machine.ad").write_text(machine)
    job.environment.update(_CONDOR_JOB_AD=str(job.base / "job.ad"), GLIDEIN_Name="gfactory")
    job.environment.update(_CONDOR_MACHINE_AD=str(job.base / "machine.ad"), GLIDEIN_Site="other")
    job.document["node"] = {"cvmfs": {EXPERIMENT: 5}}
    job.good_script()
    assert job.run()[0] == 0
    report = job.report()
    facts = report["node"]
    assert set(facts) == {
        "host", "kernel", "python", "cpus", "memory_mb", "load_1min", "scratch_free_mb", "site", "slot",
        "glidein", "entry", "factory", "cvmfs", "cvmfs_left_out",
    }  # fmt: skip
    assert {key: facts[key] for key in ("site", "slot", "glidein", "entry", "factory")} == {
        "site": "FNAL",
        "slot": "slot1_2@glidein_7@wn1",
        "glidein": "gfactory",
        "entry": "entry",
        "factory": None,
    }
    assert report["site"] == "FNAL"
    assert report["host"] == facts["host"] == "wn1", "as the pool names it, in its queue and history"


def test_facts_are_bounded(job: Any, repository: Callable[..., Path]) -> None:
    repository(EXPERIMENT, 5)
    names = [f"{number:03d}{'x' * 150}.org" for number in range(90)]
    job.document["node"] = {"cvmfs": dict.fromkeys([EXPERIMENT, *names], 0), "guard_s": 0}
    job.environment["GLIDEIN_Name"] = "g" * 100_000
    assert job.run()[0] == 85
    facts = job.report()["node"]
    assert len(json.dumps(facts)) <= 8000
    assert len(facts["cvmfs"]) + facts["cvmfs_left_out"] == 91
    assert len(facts["cvmfs"]) > 20
    assert EXPERIMENT not in facts["cvmfs"], "those with a problem come first"
