"""The shell scripts behind make, in a copy of the checkout whose path has a space."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "dirname", "id", "cat", "df", "awk", "mkdir", "stat", "flock", "apt-get")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with the scripts and nothing set up."""
    folder = tmp_path / "check out"
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(checkout: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the copy, from another folder."""
    return subprocess.run(
        [checkout / "scripts" / script, *arguments],
        cwd="/", env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_python_that_does_not_run_is_named(checkout: Path) -> None:
    done = run(checkout, "setup.sh", "demo", PYTHON="/nowhere/python3")
    assert done.returncode == 1
    assert done.stderr == "setup: PYTHON=/nowhere/python3 is no Python 3.11 to 3.13 with ssl and sqlite3\n"
    assert not (checkout / ".prodsys").exists()


def test_no_python_is_told_with_the_command(checkout: Path, tmp_path: Path) -> None:
    """PATH holds the tools that every machine has, and a python3 that is no good."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found is not None:
            (programs / tool).symlink_to(found)
    (programs / "python3").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (programs / "python3").chmod(0o755)
    script = checkout / "scripts" / "setup.sh"
    script.write_text(
        script.read_text(encoding="utf-8").replace(" /usr/bin/python3; do", "; do"), encoding="utf-8"
    )
    done = run(checkout, "setup.sh", "demo", PATH=str(programs), PYTHON="")
    assert done.returncode == 1
    assert done.stderr.startswith("setup: no Python 3.11, 3.12 or 3.13 on PATH. Install one: ")
    assert "python3-venv" in done.stderr


def test_the_first_failing_step_ends_the_tests_and_is_named(checkout: Path) -> None:
    done = run(checkout, "run-tests.sh", "lint", "types")  # nothing is set up, so lint fails
    assert done.returncode == 1
    assert "==> lint FAILED (exit code 127)" in done.stderr
    assert "types" not in done.stdout


def test_an_unknown_step_runs_nothing(checkout: Path) -> None:
    done = run(checkout, "run-tests.sh", "lint", "integraton")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no step is called integraton" in done.stderr


def test_clean_removes_nothing_under_a_running_process(checkout: Path, tmp_path: Path) -> None:
    program = checkout / ".prodsys" / "condor" / "sleep"
    program.parent.mkdir(parents=True)
    shutil.copy("/bin/sleep", program)
    link = tmp_path / "short"
    link.symlink_to(program.parent)
    with subprocess.Popen([link / "sleep", "60"]) as process:
        refused = run(checkout, "clean.sh")
        process.kill()
    assert refused.returncode == 1
    assert str(process.pid) in refused.stderr
    assert program.exists()
    assert run(checkout, "clean.sh").returncode == 0
    assert not (checkout / ".prodsys").exists()
