"""scripts/uv_index.py: uv asks the index that pip is set up for."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "uv_index.py"


def variables(tmp_path: Path, pip_conf: str = "", **environment: str) -> dict[str, str]:
    """Run the script with this pip.conf and these variables alone; return what it exports."""
    conf = tmp_path / "pip.conf"
    conf.write_text(pip_conf, encoding="utf-8")
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "SSL_"))
    }
    # PIP_CONFIG_FILE is read besides the machine's own files, and its values win over theirs.
    given = (
        clean
        | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PIP_CONFIG_FILE": str(conf)}
        | environment
    )
    done = subprocess.run(
        [sys.executable, SCRIPT], env=given, capture_output=True, text=True, check=True, timeout=120
    )
    words = [shlex.split(line) for line in done.stdout.splitlines()]
    assert all(word[0] == "export" for word in words)
    return dict(word[1].split("=", 1) for word in words)


def test_pip_conf_is_followed(tmp_path: Path) -> None:
    found = variables(
        tmp_path,
        "[global]\nindex-url = https://mirror.invalid/simple\nextra-index-url =\n  https://a.invalid/simple\n"
        "  https://b.invalid/simple\nfind-links = /wheels\n",
    )
    assert found["UV_DEFAULT_INDEX"] == "https://mirror.invalid/simple"
    assert found["UV_INDEX"] == "https://a.invalid/simple https://b.invalid/simple"
    assert found["UV_FIND_LINKS"] == "/wheels"
    assert found["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_a_section_of_install_wins_over_global(tmp_path: Path) -> None:
    found = variables(
        tmp_path, "[install]\nindex-url = https://mine.invalid\n[global]\nindex-url = https://all.invalid\n"
    )
    assert found["UV_DEFAULT_INDEX"] == "https://mine.invalid"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    found = variables(
        tmp_path,
        "[global]\nindex-url = https://file.invalid\n",
        PIP_INDEX_URL="https://user:a'b@env.invalid/simple",
    )
    assert found["UV_DEFAULT_INDEX"] == "https://user:a'b@env.invalid/simple"


def test_what_is_set_for_uv_wins(tmp_path: Path) -> None:
    conf = "[global]\nindex-url = https://pip.invalid\n"
    assert "UV_DEFAULT_INDEX" not in variables(tmp_path, conf, UV_DEFAULT_INDEX="https://uv.invalid")
    assert "UV_DEFAULT_INDEX" not in variables(tmp_path, conf, UV_INDEX_URL="https://uv.invalid")


def test_a_uv_toml_with_an_index_wins(tmp_path: Path) -> None:
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "uv.toml").write_text('index-url = "https://uv.invalid"\n', encoding="utf-8")
    assert variables(tmp_path, "[global]\nindex-url = https://pip.invalid\n") == {}
