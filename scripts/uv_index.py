# ruff: noqa: INP001  (a program for setup.sh, not a module)
"""Print shell assignments that make uv ask the same package index as pip.

Sites that mirror PyPI set pip up for it, in PIP_* variables or pip.conf; uv reads neither. What is set for uv
already, by UV_* variables or a uv.toml, wins.
"""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from pathlib import Path

# pip's option → uv's variable, and what separates its values there
OPTIONS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
}
# uv's older names for the same things: whoever sets one has set uv up
OLDER_NAMES = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
# pip reads a command's own section over [global], and the environment over both
SECTIONS = ("global", "install", ":env:")


def pip_settings(listing: str) -> dict[str, list[str]]:
    """Return the values that `pip install` would use, from the output of `pip config list`."""
    found: dict[str, list[str]] = {}
    for section in SECTIONS:
        for line in listing.splitlines():
            key, _, value = line.partition("=")
            name = key.removeprefix(section).removeprefix(".")
            if key.startswith(f"{section}.") and name in OPTIONS:
                found[name] = str(ast.literal_eval(value)).split()
    return found


def uv_variables(settings: dict[str, list[str]], environment: dict[str, str]) -> dict[str, str]:
    """Return the variables that uv needs and does not have."""
    wanted = {}
    for name, values in settings.items():
        variable, separator = OPTIONS[name]
        if values and not (environment.get(variable) or environment.get(OLDER_NAMES.get(variable, ""))):
            wanted[variable] = separator.join(values)
    if "UV_INDEX" in wanted and not environment.get("UV_INDEX_STRATEGY"):
        wanted["UV_INDEX_STRATEGY"] = (
            "unsafe-best-match"  # pip looks in all its indexes; uv stops at the first
        )
    return wanted


def uv_is_set_up(environment: dict[str, str]) -> bool:
    """Say whether a uv.toml of the user or the machine names an index."""
    user = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = (user / "uv" / "uv.toml", Path("/etc/uv/uv.toml"))
    return any("index" in file.read_text(encoding="utf-8") for file in files if file.is_file())


def main() -> None:
    """Print `export NAME=VALUE` lines for the shell's eval."""
    environment = dict(os.environ)
    if uv_is_set_up(environment):
        return
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for name, value in uv_variables(pip_settings(listing.stdout), environment).items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


if __name__ == "__main__":
    main()
