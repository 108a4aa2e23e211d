"""What README and CONTRIBUTING tell people to do is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md")
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
PRODSYS = Path(sys.executable).parent / "prodsys"


def test_the_example_campaign_is_valid(tmp_path: Path) -> None:
    (example,) = YAML_BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "example.yaml").write_text(example, encoding="utf-8")
    for script in re.findall(r"^ +script: (\S+)", example, re.MULTILINE):
        (folder / script).write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / script).chmod(0o755)
    command = [PRODSYS, "validate", "--specs", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_has_every_target_that_is_named() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(" ".join(re.findall(r"^([a-z][a-z ]*):(?!=)", makefile, re.MULTILINE)).split())
    named = {
        target
        for page in PAGES
        for target in re.findall(
            r"(?:`|^)make ([a-z]+)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert {"demo", "test", "setup", "clean"} <= named
    assert named - targets == set()


def test_prodsys_has_every_command_that_is_named() -> None:
    named = {
        command
        for page in (*PAGES, "airflow.cfg.template")
        for command in re.findall(r"(?:bin/|`)prodsys ([a-z]+)", (ROOT / page).read_text(encoding="utf-8"))
    }
    done = subprocess.run([PRODSYS, "--help"], capture_output=True, text=True, timeout=120, check=True)
    commands = set(re.findall(r"^\W*([a-z]+) ", done.stdout, re.MULTILINE))  # first words of its table
    assert named - commands == set()
