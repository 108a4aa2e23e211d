"""The import contracts refuse what they are for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = """
import sys
sys.path[:0] = [".", "plugins"]
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename="pyproject.toml", no_cache=True))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the packages and of the contracts."""
    for package in ("include", "embedded", "plugins/prodsys_operators"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken(checkout: Path) -> list[str]:
    """Return the contracts that are broken."""
    command = [sys.executable, "-c", LINT]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=120, check=False)
    assert "Contracts:" in done.stdout, done.stdout + done.stderr
    return re.findall(r"^(.+?) BROKEN\b", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("file", ["include/commands/specs.py", "plugins/prodsys_operators/settings.py"])
def test_only_the_command_line_imports_embedded(checkout: Path, file: str) -> None:
    assert broken(checkout) == []
    with (checkout / file).open("a", encoding="utf-8") as source:
        source.write("\nimport embedded.pool\n")
    assert broken(checkout) == ["Only the command line knows the embedded default"]
