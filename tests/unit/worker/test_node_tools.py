"""cvmfs-check, node-probe and stage-out, as an experiment's own script calls them."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def cvmfs(tmp_path: Path) -> Path:
    """A folder that looks like /cvmfs, with one good repository at revision 42."""
    folder = tmp_path / "cvmfs" / "demo.org"
    folder.mkdir(parents=True)
    (folder / "new_repository").write_text("x")
    os.setxattr(folder, "user.revision", b"42")
    return folder.parent


class TestCvmfsCheck:
    @pytest.mark.parametrize("wanted", ["demo.org", "demo.org:0", "demo.org:42"])
    def test_good(self, job: Any, cvmfs: Path, wanted: str) -> None:
        code, text = job.tool("cvmfs-check", wanted, PRODSYS_CVMFS_ROOT=str(cvmfs))
        assert (code, text) == (0, f"prodsys_job: {cvmfs}/demo.org is fit, at revision 42\n")

    def test_stale_and_missing(self, job: Any, cvmfs: Path) -> None:
        begun = time.monotonic()
        code, text = job.tool(
            "cvmfs-check", "demo.org:43", "none.org", "--guard", 1, PRODSYS_CVMFS_ROOT=str(cvmfs)
        )
        assert code == 85
        assert time.monotonic() - begun >= 1
        first, second, third = text.splitlines()
        assert first == f"prodsys_job: {cvmfs}/demo.org is at revision 42, at least 43 is wanted"
        assert second == f"prodsys_job: {cvmfs}/none.org is not mounted: there is no such folder"
        assert third.startswith(
            f"prodsys_job: node {os.uname().nodename} is not fit: waiting 1 s, 1 s in all"
        )

    def test_json(self, job: Any, cvmfs: Path) -> None:
        options = ("--json", "--guard", 0, "--look", 0.3)
        os.mkfifo(cvmfs / "demo.org" / "pipe")
        (cvmfs / "demo.org" / "new_repository").unlink()
        code, text = job.tool("cvmfs-check", "demo.org:42", *options, PRODSYS_CVMFS_ROOT=str(cvmfs))
        assert code == 85
        problem = f"{cvmfs}/demo.org did not answer within 0.3 s"
        assert json.loads(text) == {
            "fit": False,
            "host": os.uname().nodename,
            "cvmfs": {"demo.org": {"revision": None, "wanted": 42, "problem": problem}},
        }

    def test_signal_ends_the_pause(self, job: Any, cvmfs: Path) -> None:
        process = subprocess.Popen(
            [*job.program, "cvmfs-check", "demo.org:43"],
            stdout=subprocess.PIPE,
            env={**os.environ, "PRODSYS_CVMFS_ROOT": str(cvmfs)},
        )
        assert process.stdout is not None
        while b"waiting" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 85

    @pytest.mark.parametrize("wanted", ["../etc", "demo.org:new", "a/b", ""])
    def test_wrong_usage(self, job: Any, wanted: str) -> None:
        done = subprocess.run(
            [*job.program, "cvmfs-check", wanted], capture_output=True, check=False, timeout=60
        )
        assert done.returncode == 2
        assert b"is not REPO or REPO:MIN_REVISION" in done.stderr


def test_node_probe(job: Any, cvmfs: Path) -> None:
    for arguments in (["--json", "demo.org"], ["demo.org"]):
        code, text = job.tool("node-probe", *arguments, PRODSYS_CVMFS_ROOT=str(cvmfs), GLIDEIN_Site="FNAL")
        assert code == 0
        facts = json.loads(text)
        assert facts["cvmfs"] == {"demo.org": {"revision": 42, "problem": None}}
        assert facts["site"] == "FNAL"
        assert facts["load_1min"] >= 0


class TestStageOut:
    @pytest.fixture
    def made(self, tmp_path: Path) -> list[Path]:
        """Two files."""
        paths = [tmp_path / "a b.root", tmp_path / "b.root"]
        for path in paths:
            path.write_bytes(path.name.encode() * 500_000)
        return paths

    def test_into_a_folder(self, job: Any, made: list[Path], tmp_path: Path) -> None:
        for _ in range(2):  # again: what is there with the same content is good
            code, text = job.tool("stage-out", *made, tmp_path / "out" / "x")
            assert code == 0
            lines = [line.split(" ", 2) for line in text.splitlines()]
            for (size, adler, path), source in zip(lines, made, strict=True):
                assert path == str(tmp_path / "out" / "x" / source.name)
                assert Path(path).read_bytes() == source.read_bytes()
                assert int(size) == source.stat().st_size
                assert adler == f"{zlib.adler32(source.read_bytes()):08x}"
            assert len(list((tmp_path / "out" / "x").iterdir())) == 2

    def test_under_another_name(self, job: Any, made: list[Path], tmp_path: Path) -> None:
        code, text = job.tool("stage-out", made[0], tmp_path / "c.root")
        assert code == 0
        assert text.endswith(f" {tmp_path}/c.root\n")
        assert (tmp_path / "c.root").read_bytes() == made[0].read_bytes()

    def test_nothing_is_overwritten(self, job: Any, made: list[Path], tmp_path: Path) -> None:
        target = tmp_path / "out" / made[0].name
        target.parent.mkdir()
        target.write_text("older")
        code, text = job.tool("stage-out", *made, target.parent)
        assert code == 83
        assert f"{target} is there with another content, and nothing is overwritten" in text
        assert target.read_text() == "older"
        assert sorted(path.name for path in target.parent.iterdir()) == ["a b.root", "b.root"]

    def test_urls_are_refused(self, job: Any, made: list[Path]) -> None:
        code, text = job.tool("stage-out", made[0], "root://door//pnfs/x")
        assert code == 2
        assert "root://door//pnfs/x is a URL" in text
        assert "use ifdh cp, xrdcp" in text

    def test_missing_source_and_folder(self, job: Any, made: list[Path], tmp_path: Path) -> None:
        code, text = job.tool("stage-out", tmp_path / "none", made[0], tmp_path / "out")
        assert code == 83
        assert "none was not staged out: No such file or directory" in text
        assert (tmp_path / "out" / made[0].name).exists()
        code, text = job.tool("stage-out", made[0], tmp_path / "no" / "folder")
        assert code == 83
        assert list(tmp_path.glob("no*")) == []

    def test_full_disk_leaves_nothing(self, job: Any, made: list[Path], tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        limited = "trap '' XFSZ; ulimit -f 100; exec \"$@\""
        command = ["bash", "-c", limited, "bash", *job.program, "stage-out", made[0], tmp_path / "out"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert done.returncode == 83
        assert b"File too large" in done.stdout
        assert list((tmp_path / "out").iterdir()) == []

    def test_stopped_in_the_middle(self, job: Any, tmp_path: Path) -> None:
        source, target = tmp_path / "endless", tmp_path / "out"
        os.mkfifo(source)
        target.mkdir()
        process = subprocess.Popen([*job.program, "stage-out", source, target])
        with source.open("wb", buffering=0) as stream:
            stream.write(b"x")
            job.wait_until(lambda: any(target.iterdir()))

            process.terminate()
        # A signal between Python's look for one and its read waits for the read's end, which is here.
        assert process.wait(30) == 128 + signal.SIGTERM
        assert list(target.iterdir()) == []

    def test_folder_that_is_a_file(self, job: Any, made: list[Path], tmp_path: Path) -> None:
        target = tmp_path / "out"
        target.write_text("a file")
        code, text = job.tool("stage-out", made[0], f"{target}/")
        assert code == 1
        assert str(target) in text
        assert stat.S_ISREG(target.stat().st_mode)


@pytest.mark.parametrize(
    "command", ["run", "cvmfs-check", "node-probe", "stage-out", "manifest-check", "adler32"]
)
def test_each_command_has_a_help(job: Any, command: str) -> None:
    code, text = job.tool(command, "--help")
    assert code == 0
    assert text.startswith(f"usage: prodsys_job.py {command}")
    assert command in job.tool("--help")[1]
    page = Path(job.program[1]).parents[2] / "docs" / "worker-tools.md"
    options = {word.strip(",[]") for word in text.split() if word.strip(",[]").startswith("--")}
    for option in options - {"--help"}:
        assert option in page.read_text(encoding="utf-8")
    assert f"`{command}" in page.read_text(encoding="utf-8")


OCCUPY = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (2200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for number in range(3, 1100):
    os.dup2(0, number)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_pipes_above_file_number_1023(job: Any, cvmfs: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2200:
        pytest.skip("this machine allows too few open files")
    command = [sys.executable, "-c", OCCUPY, *job.program, "cvmfs-check", "demo.org:42"]
    environment = {**os.environ, "PRODSYS_CVMFS_ROOT": str(cvmfs)}
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60, env=environment
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"is fit, at revision 42" in done.stdout


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "1e10", "soon"])
@pytest.mark.parametrize(
    "command",
    [["run", "job.json", "--least"], ["run", "job.json", "--grace"], ["cvmfs-check", "x.org", "--look"]],
)
def test_impossible_seconds_are_wrong_usage(job: Any, command: list[str], value: str) -> None:
    done = subprocess.run(
        [*job.program, *command[:-1], f"{command[-1]}={value}"], capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert f"argument {command[-1]}: ".encode() in done.stderr
    assert b"Traceback" not in done.stderr
